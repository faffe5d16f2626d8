//! Logging: what scripts write goes to `tracing` with the target `script`.
//!
//! The functions need no message, so that a script may log while it is loaded. `log_prefix` is expanded when a callback
//! begins, as Kamailio does it, and its worker keeps the text for the lines that follow.

use std::cell::RefCell;
use std::sync::Arc;

use kemi_macros::kemi_export;
use tracing::Level;
use tracing::level_filters::LevelFilter;

use crate::modules::pv::expand;
use crate::proxy::Cx;

macro_rules! loggers {
    ($($(#[$doc:meta])* $name:ident => $level:ident $(, $priority:literal)?;)*) => {$(
        $(#[$doc])*
        #[kemi_export(module = "", context = Cx)]
        pub fn $name(text: &[u8]) {
            if tracing::enabled!(target: "script", Level::$level) {
                let line = line(text);
                tracing::event!(target: "script", Level::$level, $(priority = $priority,)? "{line}");
            }
        }
    )*};
}
loggers! {
    /// Logs a text at debug level.
    dbg => DEBUG;
    /// Logs a text at info level.
    info => INFO;
    /// Logs a text at notice level, which is info with `priority="notice"`.
    notice => INFO, "notice";
    /// Logs a text at warning level.
    warn => WARN;
    /// Logs a text at error level.
    err => ERROR;
    /// Logs a text at critical level, which is error with `priority="crit"`.
    crit => ERROR, "crit";
}

/// Logs a text at the level of that name: `dbg`, `info`, `notice`, `warn`, `err` or `crit`; any other name is `err`.
#[kemi_export(module = "", context = Cx)]
pub fn log(level: &[u8], text: &[u8]) {
    let write = match level {
        b"dbg" => dbg,
        b"info" => info,
        b"notice" => notice,
        b"warn" => warn,
        b"crit" => crit,
        _ => err,
    };
    write(text);
}

/// Returns how much is logged, in Kamailio's numbers: -1 errors, 0 warnings too, 2 info too, 3 debug too, -5 nothing.
#[kemi_export(module = "", context = Cx)]
pub fn get_debug() -> i64 {
    match LevelFilter::current() {
        LevelFilter::OFF => -5,
        LevelFilter::ERROR => -1,
        LevelFilter::WARN => 0,
        LevelFilter::INFO => 2,
        _ => 3,
    }
}

thread_local! {
    /// `log_prefix` with the values of the message that a callback works on.
    static PREFIX: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Runs a callback, whose lines get `log_prefix` with the values that the message has now.
pub(crate) fn prefixed<R>(cx: &mut Cx, run: impl FnOnce(&mut Cx) -> R) -> R {
    /// Puts the text of the callback around this one back, however this one ends.
    struct Back(Vec<u8>);
    impl Drop for Back {
        fn drop(&mut self) {
            PREFIX.set(std::mem::take(&mut self.0));
        }
    }
    if cx.shared.settings.log_prefix.is_none() {
        return run(cx);
    }
    let shared = Arc::clone(&cx.shared);
    let mut text = Vec::new();
    expand(cx, shared.settings.log_prefix.as_deref().unwrap_or_default().as_bytes(), &mut text);
    let _back = Back(PREFIX.replace(text));
    run(cx)
}

/// The line to log: the prefix, then the text up to a NUL, without the line end scripts give it.
///
/// Whoever writes the log sees to it that an event is one line, whatever it holds: headers get into other events, too.
fn line(text: &[u8]) -> String {
    let text = text.split(|b| *b == 0).next().unwrap_or_default();
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let mut line = PREFIX.with_borrow(Clone::clone);
    line.extend_from_slice(text);
    match String::from_utf8(line) {
        Ok(line) => line,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::sync::Mutex;

    use kemi_core::Registry;
    use tracing::field::{Field, Visit};
    use tracing::span;

    use super::*;
    use crate::modules::testing::{INVITE, cx_with, receive};
    use crate::proxy::{ProxySettings, RouteNames, Routes};

    /// Keeps what is logged up to a level.
    struct Keep {
        level: Level,
        lines: Arc<Mutex<Vec<String>>>,
    }

    impl tracing::Subscriber for Keep {
        fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
            metadata.target() == "script" && *metadata.level() <= self.level
        }

        fn event(&self, event: &tracing::Event<'_>) {
            struct Text(String);
            impl Visit for Text {
                fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                    write!(self.0, " {field}={value:?}").unwrap();
                }
            }
            let mut text = Text(event.metadata().level().to_string());
            event.record(&mut text);
            self.lines.lock().unwrap().push(text.0);
        }

        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    fn logged(level: Level, run: impl FnOnce()) -> Vec<String> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        tracing::subscriber::with_default(Keep { level, lines: Arc::clone(&lines) }, run);
        lines.lock().unwrap().clone()
    }

    #[test]
    fn each_function_has_its_level() {
        let lines = logged(Level::INFO, || {
            for write in [dbg, info, notice, warn, err, crit] {
                write(b"x\n");
            }
            for level in ["dbg", "notice", "other"] {
                log(level.as_bytes(), b"y");
            }
        });
        let expected = [
            "INFO message=x",
            "INFO message=x priority=\"notice\"",
            "WARN message=x",
            "ERROR message=x",
            "ERROR message=x priority=\"crit\"",
            "INFO message=y priority=\"notice\"",
            "ERROR message=y",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_line_ends_at_a_nul_or_its_line_end_and_any_bytes_can_be_logged() {
        for (text, expected) in [
            (&b"a\0b\n"[..], "a"),
            (b"a\n", "a"),
            (b"a\r\n", "a"),
            (b"\xff\n", "\u{fffd}"),
            (b"", ""),
            (b"a\nb", "a\nb"),
        ] {
            assert_eq!(line(text), expected);
        }
    }

    #[test]
    fn the_prefix_is_expanded_for_each_callback() {
        let settings = ProxySettings { log_prefix: Some("{$rm $cs} ".to_owned()), ..ProxySettings::default() };
        let mut cx = cx_with(INVITE, settings, Default::default());
        assert_eq!(line(b"text\n"), "text");
        prefixed(&mut cx, |cx| {
            assert_eq!(line(b"text\n"), "{INVITE 7} text");
            receive(cx, &INVITE.replace("7 INVITE", "8 INVITE"));
            prefixed(cx, |_| assert_eq!(line(b"text\n"), "{INVITE 8} text"));
            assert_eq!(line(b"text\n"), "{INVITE 7} text");
        });
        assert_eq!(line(b"text\n"), "text");
    }

    #[test]
    fn logging_needs_no_message() {
        let (callbacks, _) = Routes::declare(&RouteNames::default());
        let registry = Registry::<Cx>::builder().root(crate::dialect::ROOT).module("").callbacks(callbacks).build();
        let registry = registry.unwrap();
        for name in ["dbg", "info", "notice", "warn", "err", "crit", "log", "get_debug"] {
            let export =
                registry.exports().iter().find(|export| export.def().module.is_empty() && export.def().name == name);
            assert!(!export.unwrap().def().needs_context, "{name}");
        }
    }
}
