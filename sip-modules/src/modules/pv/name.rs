//! The names of pseudo-variables.

use memchr::memchr;

/// A pseudo-variable, taken apart from its name.
///
/// Taking a name apart allocates nothing and costs less than looking it up in a table would, so there is no cache of
/// names: a script that puts values into names makes nothing grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pv<'n> {
    /// `$null`.
    Null,
    /// `$rm`.
    Method,
    /// `$rv`.
    Version,
    /// `$rs`.
    Status,
    /// `$rr`.
    Reason,
    /// `$ru`, `$fU`, `$nh(d)` and their like.
    Uri(Whose, Part),
    /// `$fn`, `$tn`.
    DisplayName(Party),
    /// `$ft`, `$tt`.
    Tag(Party),
    /// `$ci`.
    CallId,
    /// `$cs`.
    CSeqNumber,
    /// `$ct`.
    Contact,
    /// `$cT`.
    ContentType,
    /// `$cl`.
    ContentLength,
    /// `$ua`.
    UserAgent,
    /// `$aU`, the user name of the credentials as given.
    AuthUsername,
    /// `$au`, its part before an `@`.
    AuthUser,
    /// `$ar`.
    AuthRealm,
    /// `$si`.
    SourceIp,
    /// `$sp`.
    SourcePort,
    /// `$su`.
    SourceUri,
    /// `$sut`.
    SourceUriTransport,
    /// `$sas`.
    SourceSocket,
    /// `$Ri`.
    ReceivedIp,
    /// `$Rp`.
    ReceivedPort,
    /// `$Ru`.
    ReceivedUri,
    /// `$Rut`.
    ReceivedUriTransport,
    /// `$fs`.
    SendSocket,
    /// `$pr`, `$proto`.
    Transport,
    /// `$prid`.
    TransportId,
    /// `$mb`.
    Buffer,
    /// `$ml`.
    Length,
    /// `$mt`.
    Type,
    /// `$rb`.
    Body,
    /// `$bs`.
    BodySize,
    /// `$hdr(name)`.
    Header(&'n [u8], Index),
    /// `$var(name)`.
    Var(&'n [u8]),
    /// `$avp(name)`.
    Avp(&'n [u8], Index),
    /// `$T_branch_idx`.
    BranchIndex,
    /// `$T_reply_code`.
    ReplyCode,
    /// `$Ts`, `$TS`.
    Time,
    /// `$pp`.
    ProcessId,
}

/// Whose URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// The current R-URI.
    Request,
    /// The R-URI as received.
    Original,
    /// The destination set in place of the R-URI.
    Destination,
    /// The destination, or the R-URI where none is set.
    NextHop,
    /// The one of From or To.
    Party(Party),
}

/// One side of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Party {
    /// The From header.
    From,
    /// The To header.
    To,
}

/// What of a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// The user.
    User,
    /// The host.
    Host,
    /// The port.
    Port,
    /// The `transport` parameter.
    Transport,
}

/// Which of several values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Index {
    /// The one at a position; negative ones count from the end.
    At(i64),
    /// All.
    All,
}

/// All names, for "did you mean".
pub(super) fn names() -> impl Iterator<Item = &'static str> + Clone {
    NAMES.split(' ')
}

const NAMES: &str = "$null $rm $rv $rs $rr $ru $rU $rd $rp $rP $ou $oU $od $op $oP $du $dd $dp $dP $nh(u) $nh(U) $nh(d) \
    $nh(p) $nh(P) $fu $fU $fd $fn $ft $tu $tU $td $tn $tt $ci $cs $ct $cT $cl $ua $aU $au $ar $si $sp \
    $su $sut $sas $Ri $Rp $Ru $Rut $fs $pr $proto $prid $mb $ml $mt $rb $bs $hdr(name) $var(name) \
    $avp(name) $T_branch_idx $T_reply_code $Ts $TS $pp";

/// Takes a name apart: `$name`, `$name(inner)`, `$name(inner)[index]` or one of these as `$(…)`.
pub(super) fn parse(text: &[u8]) -> Option<Pv<'_>> {
    match text {
        [b'$', first, second] => short(*first, *second),
        [b'$', b'v', b'a', b'r', b'(', name @ .., b')'] => is_name(name).then_some(Pv::Var(name)),
        [b'$', b'(', inner @ .., b')'] => named(inner),
        [b'$', rest @ ..] => named(rest),
        _ => None,
    }
}

fn named(text: &[u8]) -> Option<Pv<'_>> {
    let Some(open) = memchr(b'(', text) else {
        return match text {
            [first, second] => short(*first, *second),
            _ => long(text),
        };
    };
    let (class, rest) = text.split_at(open);
    let (rest, index) = split_index(rest)?;
    let name = rest.strip_prefix(b"(")?.strip_suffix(b")")?;
    if !is_name(name) {
        return None;
    }
    match (class, index) {
        (b"var", None) => Some(Pv::Var(name)),
        (b"hdr", index) => Some(Pv::Header(name, index.unwrap_or(Index::At(0)))),
        // The prefix says that the name is text, which it is anyway.
        (b"avp", index) => Some(Pv::Avp(name.strip_prefix(b"s:").unwrap_or(name), index.unwrap_or(Index::At(0)))),
        (b"nh", None) => {
            let part = match name {
                b"u" => Part::Whole,
                b"U" => Part::User,
                b"d" => Part::Host,
                b"p" => Part::Port,
                b"P" => Part::Transport,
                _ => return None,
            };
            Some(Pv::Uri(Whose::NextHop, part))
        }
        _ => None,
    }
}

/// Splits `(name)[3]`; `None` when the brackets hold something else than a number or `*`.
fn split_index(text: &[u8]) -> Option<(&[u8], Option<Index>)> {
    let Some(inside) = text.strip_suffix(b"]") else { return Some((text, None)) };
    let open = inside.iter().rposition(|b| *b == b'[')?;
    let (rest, number) = inside.split_at(open);
    let index = match number.get(1..)? {
        b"*" => Index::All,
        digits => Index::At(std::str::from_utf8(digits).ok()?.parse().ok()?),
    };
    Some((rest, Some(index)))
}

/// Whether text may stand between the parentheses: names with pseudo-variables inside are not known here.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|b| *b > b' ' && !matches!(b, b'(' | b')' | b'$' | 0x7f))
}

fn short<'n>(first: u8, second: u8) -> Option<Pv<'n>> {
    use Part::{Host, Port, Transport, User, Whole};
    use Whose::{Destination, Original, Request};

    const FROM: Whose = Whose::Party(Party::From);
    const TO: Whose = Whose::Party(Party::To);
    Some(match [first, second] {
        [b'r', b'm'] => Pv::Method,
        [b'r', b'v'] => Pv::Version,
        [b'r', b's'] => Pv::Status,
        [b'r', b'r'] => Pv::Reason,
        [b'r', b'u'] => Pv::Uri(Request, Whole),
        [b'r', b'U'] => Pv::Uri(Request, User),
        [b'r', b'd'] => Pv::Uri(Request, Host),
        [b'r', b'p'] => Pv::Uri(Request, Port),
        [b'r', b'P'] => Pv::Uri(Request, Transport),
        [b'r', b'b'] => Pv::Body,
        [b'o', b'u'] => Pv::Uri(Original, Whole),
        [b'o', b'U'] => Pv::Uri(Original, User),
        [b'o', b'd'] => Pv::Uri(Original, Host),
        [b'o', b'p'] => Pv::Uri(Original, Port),
        [b'o', b'P'] => Pv::Uri(Original, Transport),
        [b'd', b'u'] => Pv::Uri(Destination, Whole),
        [b'd', b'd'] => Pv::Uri(Destination, Host),
        [b'd', b'p'] => Pv::Uri(Destination, Port),
        [b'd', b'P'] => Pv::Uri(Destination, Transport),
        [b'f', b'u'] => Pv::Uri(FROM, Whole),
        [b'f', b'U'] => Pv::Uri(FROM, User),
        [b'f', b'd'] => Pv::Uri(FROM, Host),
        [b'f', b'n'] => Pv::DisplayName(Party::From),
        [b'f', b't'] => Pv::Tag(Party::From),
        [b'f', b's'] => Pv::SendSocket,
        [b't', b'u'] => Pv::Uri(TO, Whole),
        [b't', b'U'] => Pv::Uri(TO, User),
        [b't', b'd'] => Pv::Uri(TO, Host),
        [b't', b'n'] => Pv::DisplayName(Party::To),
        [b't', b't'] => Pv::Tag(Party::To),
        [b'c', b'i'] => Pv::CallId,
        [b'c', b's'] => Pv::CSeqNumber,
        [b'c', b't'] => Pv::Contact,
        [b'c', b'T'] => Pv::ContentType,
        [b'c', b'l'] => Pv::ContentLength,
        [b'u', b'a'] => Pv::UserAgent,
        [b'a', b'U'] => Pv::AuthUsername,
        [b'a', b'u'] => Pv::AuthUser,
        [b'a', b'r'] => Pv::AuthRealm,
        [b's', b'i'] => Pv::SourceIp,
        [b's', b'p'] => Pv::SourcePort,
        [b's', b'u'] => Pv::SourceUri,
        [b'R', b'i'] => Pv::ReceivedIp,
        [b'R', b'p'] => Pv::ReceivedPort,
        [b'R', b'u'] => Pv::ReceivedUri,
        [b'p', b'r'] => Pv::Transport,
        [b'p', b'p'] => Pv::ProcessId,
        [b'm', b'b'] => Pv::Buffer,
        [b'm', b'l'] => Pv::Length,
        [b'm', b't'] => Pv::Type,
        [b'b', b's'] => Pv::BodySize,
        [b'T', b's' | b'S'] => Pv::Time,
        _ => return None,
    })
}

fn long(name: &[u8]) -> Option<Pv<'_>> {
    Some(match name {
        b"null" => Pv::Null,
        b"sut" => Pv::SourceUriTransport,
        b"sas" => Pv::SourceSocket,
        b"Rut" => Pv::ReceivedUriTransport,
        b"proto" => Pv::Transport,
        b"prid" => Pv::TransportId,
        b"T_branch_idx" => Pv::BranchIndex,
        b"T_reply_code" => Pv::ReplyCode,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_name_is_known_and_different_but_for_synonyms() {
        for (i, name) in names().enumerate() {
            let pv = parse(name.as_bytes());
            assert!(pv.is_some(), "{name}");
            for other in names().take(i) {
                let synonym = matches!((other, name), ("$pr", "$proto") | ("$Ts", "$TS"));
                assert_eq!(parse(other.as_bytes()) == pv, synonym, "{other} {name}");
            }
            let grouped = format!("$({})", &name[1..]);
            assert_eq!(parse(grouped.as_bytes()), pv, "{grouped}");
        }
    }

    #[test]
    fn names_with_inner_names_and_indices() {
        for (text, expected) in [
            ("$hdr(Via)", Pv::Header(b"Via", Index::At(0))),
            ("$hdr(X-A)[2]", Pv::Header(b"X-A", Index::At(2))),
            ("$(hdr(X-A)[-1])", Pv::Header(b"X-A", Index::At(-1))),
            ("$(hdr(X-A)[*])", Pv::Header(b"X-A", Index::All)),
            ("$avp(s:x)", Pv::Avp(b"x", Index::At(0))),
            ("$avp(i:7)", Pv::Avp(b"i:7", Index::At(0))),
            ("$(avp(x)[*])", Pv::Avp(b"x", Index::All)),
            ("$var(x)", Pv::Var(b"x")),
            ("$(var(x))", Pv::Var(b"x")),
        ] {
            assert_eq!(parse(text.as_bytes()), Some(expected), "{text}");
        }
    }

    #[test]
    fn anything_else_is_unknown() {
        let words = "$ rm $rx $rmm $RM $() $(rm $rm) $var() $var $var(a)[0] $var($rm) \
            $var(a)b) $hdr(a $hdr(a)[] $hdr(a)[x] $hdr(a)x $nh(x) $(rm{s.len}) $sht(a=>b) $rm[0]";
        for text in words.split(' ').chain(["", "$var(a b)"]) {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
