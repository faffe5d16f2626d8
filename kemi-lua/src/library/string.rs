//! The functions of Lua's `string` library that can run for long, made anew so that they check the budget.
//!
//! They follow `lstrlib.c` of Lua 5.4 and `lib_string.c` of LuaJIT 2.1 (both MIT licence; Lua.org, PUC-Rio, and Mike
//! Pall); the results and the errors are the same.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ptr;

use super::args::{self, check_machine_stack, text};
use super::budget;
use super::pattern::{self, Capture, Matcher, Stop};
use crate::call::CallState;
use crate::ffi::{self, LuaThread};
use crate::terminate::terminate;

/// Whether the rules are those of LuaJIT, which has Lua 5.1's.
const LUAJIT: bool = cfg!(luajit);

/// The number of bytes that `string.rep` copies between two checks of the budget.
const CHUNK: usize = 1 << 20;

/// Replaces them in the table at the top of the stack.
///
/// # Safety
/// The call is protected.
pub(crate) unsafe fn replace(l: LuaThread, call: &CallState) {
    let functions: &[(&std::ffi::CStr, ffi::lua_CFunction)] = &[
        (c"find", find),
        (c"match", match_),
        (c"gmatch", gmatch),
        (c"gsub", gsub),
        (c"rep", rep),
        #[cfg(not(luajit))]
        (c"byte", short::byte),
        #[cfg(not(luajit))]
        (c"len", short::len),
        #[cfg(not(luajit))]
        (c"lower", short::lower),
        #[cfg(not(luajit))]
        (c"reverse", short::reverse),
        #[cfg(not(luajit))]
        (c"sub", short::sub),
        #[cfg(not(luajit))]
        (c"upper", short::upper),
    ];
    // SAFETY: as the caller's.
    unsafe { super::set_functions(l, call, functions) };
}

/// Raises what stops a match.
///
/// # Safety
/// As for [`terminate`]; called in a C function.
unsafe fn stop(l: LuaThread, call: &CallState, stop: Stop) -> ! {
    // SAFETY: as the caller's; the texts are static.
    unsafe {
        match stop {
            Stop::Budget => terminate(l, call),
            Stop::Fault(text) => ffi::luaL_error(l, c"%s".as_ptr(), text.as_ptr()),
            Stop::NoCapture(number) => {
                let number = c_int::try_from(number).unwrap_or(c_int::MAX);
                ffi::luaL_error(l, c"invalid capture index %%%d".as_ptr(), number)
            }
        };
        ffi::never(l)
    }
}

/// Returns from where on to search, counted from 0, or `None` if that is behind the end.
fn begin(position: i64, length: usize) -> Option<usize> {
    let start = if position > 0 {
        usize::try_from(position - 1).unwrap_or(usize::MAX)
    } else if position == 0 {
        0
    } else {
        let back = usize::try_from(position.unsigned_abs()).unwrap_or(usize::MAX);
        length.saturating_sub(back)
    };
    if start <= length {
        Some(start)
    } else if LUAJIT {
        Some(length)
    } else {
        None
    }
}

/// Pushes a capture.
///
/// # Safety
/// As for [`terminate`]; called in a C function with a free slot.
unsafe fn push_capture<B: FnMut() -> bool>(
    l: LuaThread,
    call: &CallState,
    subject: &[u8],
    matcher: &Matcher<'_, B>,
    index: usize,
    (start, end): (usize, usize),
) {
    // SAFETY: as the caller's.
    unsafe {
        match matcher.capture(index, start, end) {
            Ok(Capture::Text(at, length)) => {
                let text = subject.get(at..at + length).unwrap_or_default();
                ffi::lua_pushlstring(l, text.as_ptr().cast(), text.len());
            }
            Ok(Capture::Position(at) | Capture::Unfinished(at)) => {
                ffi::lua_pushinteger(l, i64::try_from(at + 1).unwrap_or(i64::MAX));
            }
            Err(fault) => stop(l, call, fault),
        }
    }
}

/// Pushes all captures, or the whole match if `or_whole` is set and there are none; returns how many.
///
/// # Safety
/// As for [`push_capture`], but for the slots.
unsafe fn push_captures<B: FnMut() -> bool>(
    l: LuaThread,
    call: &CallState,
    subject: &[u8],
    matcher: &Matcher<'_, B>,
    range: (usize, usize),
    or_whole: bool,
) -> c_int {
    let count = matcher.count(or_whole);
    let slots = c_int::try_from(count).unwrap_or(c_int::MAX);
    // SAFETY: as the caller's; the slots are made sure of.
    unsafe {
        ffi::luaL_checkstack(l, slots, c"too many captures".as_ptr());
        for index in 0..count {
            push_capture(l, call, subject, matcher, index, range);
        }
    }
    slots
}

/// Takes the `^` off a pattern that begins with one.
fn anchored(pattern: &[u8]) -> (bool, &[u8]) {
    match pattern.strip_prefix(b"^") {
        Some(rest) => (true, rest),
        None => (false, pattern),
    }
}

/// `string.find`.
unsafe extern "C-unwind" fn find(l: LuaThread) -> c_int {
    // SAFETY: as the other function's.
    unsafe { find_or_match(l, true) }
}

/// `string.match`.
unsafe extern "C-unwind" fn match_(l: LuaThread) -> c_int {
    // SAFETY: as the other function's.
    unsafe { find_or_match(l, false) }
}

/// `string.find` and `string.match`.
///
/// # Safety
/// Called by Lua; the upvalue is the call state.
unsafe fn find_or_match(l: LuaThread, find: bool) -> c_int {
    // SAFETY: as this function's contract; what it has is without destructors.
    unsafe {
        let call = CallState::of(l);
        let (subject, pattern) = (text(l, 1), text(l, 2));
        let Some(start) = begin(ffi::luaL_optinteger(l, 3, 1), subject.len()) else {
            ffi::lua_pushnil(l);
            return 1;
        };
        if find && (ffi::lua_toboolean(l, 4) != 0 || pattern::is_plain(pattern)) {
            return match find_text(subject.get(start..).unwrap_or_default(), pattern) {
                Some(at) => {
                    let first = i64::try_from(start + at).unwrap_or(i64::MAX);
                    ffi::lua_pushinteger(l, first + 1);
                    ffi::lua_pushinteger(l, first + i64::try_from(pattern.len()).unwrap_or(0));
                    2
                }
                None => {
                    ffi::lua_pushnil(l);
                    1
                }
            };
        }
        let (anchored, pattern) = anchored(pattern);
        let mut matcher = Matcher::new(subject, pattern, || budget::is_over(call, l));
        let last = if anchored { start } else { subject.len() };
        for at in start..=last {
            match matcher.at(at) {
                Ok(Some(end)) if find => {
                    ffi::lua_pushinteger(l, i64::try_from(at + 1).unwrap_or(i64::MAX));
                    ffi::lua_pushinteger(l, i64::try_from(end).unwrap_or(i64::MAX));
                    return push_captures(l, call, subject, &matcher, (at, end), false) + 2;
                }
                Ok(Some(end)) => return push_captures(l, call, subject, &matcher, (at, end), true),
                Ok(None) => {}
                Err(fault) => stop(l, call, fault),
            }
        }
        ffi::lua_pushnil(l);
    }
    1
}

/// Up to which length a text is searched without a searcher, whose making takes longer than most searches.
const SHORT: usize = 256;

/// Finds a text in another one, in time that is proportional to the lengths or bounded.
fn find_text(subject: &[u8], text: &[u8]) -> Option<usize> {
    let Some((first, rest)) = text.split_first().filter(|_| subject.len() <= SHORT) else {
        return memchr::memmem::find(subject, text);
    };
    let mut from = 0;
    while let Some(at) = memchr::memchr(*first, subject.get(from..)?) {
        let after = from + at + 1;
        if subject.get(after..)?.starts_with(rest) {
            return Some(from + at);
        }
        from = after;
    }
    None
}

/// The upvalues of [`next_match`] behind the call state.
mod upvalue {
    use std::ffi::c_int;

    pub(super) const SUBJECT: c_int = 2;
    pub(super) const PATTERN: c_int = 3;
    /// From where on to search, from 0.
    pub(super) const START: c_int = 4;
    /// Where the last match ended; -1 for none.
    pub(super) const LAST: c_int = 5;
}

/// `string.gmatch`.
unsafe extern "C-unwind" fn gmatch(l: LuaThread) -> c_int {
    // SAFETY: called by Lua with the call state as the upvalue; what this frame has is without destructors.
    unsafe {
        let call = CallState::of(l);
        let (subject, _) = (text(l, 1), text(l, 2));
        let start =
            if LUAJIT { 0 } else { begin(ffi::luaL_optinteger(l, 3, 1), subject.len()).unwrap_or(subject.len() + 1) };
        ffi::lua_settop(l, 2);
        ffi::push_context(l, call);
        ffi::lua_insert(l, 1);
        ffi::lua_pushinteger(l, i64::try_from(start).unwrap_or(i64::MAX));
        ffi::lua_pushinteger(l, -1);
        ffi::lua_pushcclosure(l, next_match, upvalue::LAST);
    }
    1
}

/// The iterator that `string.gmatch` gives.
unsafe extern "C-unwind" fn next_match(l: LuaThread) -> c_int {
    // SAFETY: made by `gmatch` with these upvalues, which nothing else changes; what this frame has is without
    // destructors.
    unsafe {
        let call = CallState::of(l);
        let upvalue = |index| ffi::lua_upvalueindex(index);
        let (subject, pattern) = (text(l, upvalue(upvalue::SUBJECT)), text(l, upvalue(upvalue::PATTERN)));
        let start = usize::try_from(ffi::lua_tointeger(l, upvalue(upvalue::START))).unwrap_or(usize::MAX);
        let last = usize::try_from(ffi::lua_tointeger(l, upvalue(upvalue::LAST))).ok();
        let mut matcher = Matcher::new(subject, pattern, || budget::is_over(call, l));
        for at in start..=subject.len() {
            let end = match matcher.at(at) {
                Ok(Some(end)) if LUAJIT || Some(end) != last => end,
                Ok(_) => continue,
                Err(fault) => stop(l, call, fault),
            };
            let next = if LUAJIT && end == at { end + 1 } else { end };
            ffi::lua_pushinteger(l, i64::try_from(next).unwrap_or(i64::MAX));
            ffi::lua_replace(l, upvalue(upvalue::START));
            ffi::lua_pushinteger(l, i64::try_from(end).unwrap_or(i64::MAX));
            ffi::lua_replace(l, upvalue(upvalue::LAST));
            return push_captures(l, call, subject, &matcher, (at, end), true);
        }
    }
    0
}

/// `string.gsub`.
unsafe extern "C-unwind" fn gsub(l: LuaThread) -> c_int {
    // SAFETY: called by Lua with the call state as the upvalue; what this frame has is without destructors, the buffer too.
    unsafe {
        let call = CallState::of(l);
        check_machine_stack(l, call);
        let (subject, pattern) = (text(l, 1), text(l, 2));
        args::accept_error_object(l, 3);
        let kind = ffi::lua_type(l, 3);
        let every = i64::try_from(subject.len() + 1).unwrap_or(i64::MAX);
        let most = ffi::luaL_optinteger(l, 4, every);
        if !matches!(kind, ffi::LUA_TNUMBER | ffi::LUA_TSTRING | ffi::LUA_TFUNCTION | ffi::LUA_TTABLE) {
            bad_replacement(l);
        }
        let (anchored, pattern) = anchored(pattern);
        let mut matcher = Matcher::new(subject, pattern, || budget::is_over(call, l));
        let mut storage = MaybeUninit::uninit();
        let buffer: *mut ffi::luaL_Buffer = storage.as_mut_ptr();
        ffi::luaL_buffinit(l, buffer);
        let add = |bytes: &[u8]| ffi::luaL_addlstring(buffer, bytes.as_ptr().cast(), bytes.len());
        let (mut at, mut last, mut count) = (0, None, 0);
        let (mut changed, mut copied) = (false, 0);
        while count < most {
            let found = match matcher.at(at) {
                Ok(found) => found,
                Err(fault) => stop(l, call, fault),
            };
            match found {
                Some(end) if LUAJIT || Some(end) != last => {
                    count += 1;
                    add(subject.get(copied..at).unwrap_or_default());
                    changed |= add_replacement(l, call, buffer, subject, &matcher, (at, end), kind);
                    copied = end;
                    if LUAJIT && end == at {
                        if at >= subject.len() {
                            break;
                        }
                        at += 1;
                    } else {
                        at = end;
                        last = Some(end);
                    }
                }
                _ if at < subject.len() => at += 1,
                _ => break,
            }
            if anchored {
                break;
            }
        }
        if changed || LUAJIT {
            add(subject.get(copied..).unwrap_or_default());
            ffi::luaL_pushresult(buffer);
        } else {
            ffi::lua_pushvalue(l, 1);
        }
        ffi::lua_pushinteger(l, count);
    }
    2
}

/// Raises the error for a replacement of a wrong type.
///
/// # Safety
/// As for [`terminate`]; called in `string.gsub`.
unsafe fn bad_replacement(l: LuaThread) -> ! {
    // SAFETY: as the caller's; the text is static.
    unsafe {
        #[cfg(not(luajit))]
        args::type_error(l, 3, c"string/function/table");
        #[cfg(luajit)]
        {
            ffi::luaL_argerror(l, 3, c"string/function/table expected".as_ptr());
            ffi::never(l)
        }
    }
}

/// Adds what a match is replaced by; returns whether that is anything but the match.
///
/// # Safety
/// As for [`terminate`]; called in `string.gsub`, with the buffer's values at the top.
unsafe fn add_replacement<B: FnMut() -> bool>(
    l: LuaThread,
    call: &CallState,
    buffer: *mut ffi::luaL_Buffer,
    subject: &[u8],
    matcher: &Matcher<'_, B>,
    range: (usize, usize),
    kind: c_int,
) -> bool {
    let whole = subject.get(range.0..range.1).unwrap_or_default();
    // SAFETY: as the caller's. What is pushed goes into the buffer, or is taken off.
    unsafe {
        match kind {
            ffi::LUA_TFUNCTION => {
                ffi::luaL_checkstack(l, 1, ptr::null());
                ffi::lua_pushvalue(l, 3);
                let count = push_captures(l, call, subject, matcher, range, true);
                ffi::lua_call(l, count, 1);
            }
            ffi::LUA_TTABLE => {
                ffi::luaL_checkstack(l, 1, ptr::null());
                push_capture(l, call, subject, matcher, 0, range);
                ffi::lua_gettable(l, 3);
            }
            _ => {
                add_template(l, call, buffer, subject, matcher, range);
                return true;
            }
        }
        if ffi::lua_toboolean(l, -1) == 0 {
            ffi::lua_settop(l, -2);
            ffi::luaL_addlstring(buffer, whole.as_ptr().cast(), whole.len());
            return false;
        }
        if ffi::lua_isstring(l, -1) == 0 {
            ffi::luaL_error(l, c"invalid replacement value (a %s)".as_ptr(), ffi::luaL_typename(l, -1));
        }
        ffi::luaL_addvalue(buffer);
    }
    true
}

/// Adds the replacement text at index 3, with captures in the place of `%1` and the like.
///
/// # Safety
/// As [`add_replacement`].
unsafe fn add_template<B: FnMut() -> bool>(
    l: LuaThread,
    call: &CallState,
    buffer: *mut ffi::luaL_Buffer,
    subject: &[u8],
    matcher: &Matcher<'_, B>,
    range: (usize, usize),
) {
    // SAFETY: as the caller's; the text is on the stack.
    unsafe {
        let add = |bytes: &[u8]| ffi::luaL_addlstring(buffer, bytes.as_ptr().cast(), bytes.len());
        let mut rest = text(l, 3);
        while let Some(at) = memchr::memchr(b'%', rest) {
            let (plain, escape) = rest.split_at(at);
            add(plain);
            // At the end of the text it is the NUL that C strings have there.
            let which = escape.get(1).copied().unwrap_or(0);
            rest = escape.get(2..).unwrap_or_default();
            match which {
                b'0' => add(subject.get(range.0..range.1).unwrap_or_default()),
                digit if digit.is_ascii_digit() => {
                    let index = usize::from(digit - b'1');
                    match matcher.capture(index, range.0, range.1) {
                        Ok(Capture::Text(start, length)) => {
                            add(subject.get(start..start + length).unwrap_or_default());
                        }
                        Ok(Capture::Position(_) | Capture::Unfinished(_)) => {
                            ffi::luaL_checkstack(l, 1, ptr::null());
                            push_capture(l, call, subject, matcher, index, range);
                            ffi::luaL_addvalue(buffer);
                        }
                        Err(fault) => stop(l, call, fault),
                    }
                }
                other if LUAJIT || other == b'%' => add(&[other]),
                _ => {
                    ffi::luaL_error(l, c"invalid use of '%%' in replacement string".as_ptr());
                }
            }
        }
        add(rest);
    }
}

/// `string.rep`, which copies what it has in larger and larger pieces.
unsafe extern "C-unwind" fn rep(l: LuaThread) -> c_int {
    // SAFETY: called by Lua with the call state as the upvalue; what this frame has is without destructors. The block is as
    // large as the text that is written to it, and on the stack.
    unsafe {
        let call = CallState::of(l);
        let unit = text(l, 1);
        let count = ffi::luaL_checkinteger(l, 2);
        let mut separator: &[u8] = &[];
        if args::is_given(l, 3) {
            separator = text(l, 3);
        }
        let step = unit.len() + separator.len();
        if count <= 0 || step == 0 {
            ffi::lua_pushlstring(l, c"".as_ptr(), 0);
            return 1;
        }
        let most = if LUAJIT { 0x7fff_ff00 } else { usize::try_from(i64::MAX).unwrap_or(usize::MAX) };
        let total = usize::try_from(count).ok().and_then(|count| step.checked_mul(count)).filter(|&n| n <= most);
        let Some(total) = total.map(|total| total - separator.len()) else {
            let message = if LUAJIT { c"not enough memory" } else { c"resulting string too large" };
            return ffi::luaL_error(l, c"%s".as_ptr(), message.as_ptr());
        };
        ffi::luaL_checkstack(l, 2, ptr::null());
        let block = ffi::lua_newuserdata(l, total).cast::<u8>();
        let mut filled = unit.len();
        ptr::copy_nonoverlapping(unit.as_ptr(), block, unit.len());
        if count > 1 {
            ptr::copy_nonoverlapping(separator.as_ptr(), block.add(filled), separator.len());
            filled += separator.len();
        }
        // A whole number of units, so that what is copied begins where one does.
        let chunk = (CHUNK / step).max(1) * step;
        while filled < total {
            let length = filled.min(chunk).min(total - filled);
            ptr::copy_nonoverlapping(block, block.add(filled), length);
            filled += length;
            if length >= chunk {
                budget::check(l, call);
            }
        }
        ffi::lua_pushlstring(l, block.cast(), total);
    }
    1
}

/// Functions that take little time, made anew only so that they take error objects for text.
#[cfg(not(luajit))]
mod short {
    use super::{LuaThread, MaybeUninit, c_int, ffi, text};

    /// Turns a position of a script, from 1 or from behind by negative numbers, into one from 1 on.
    fn first(position: i64, length: i64) -> i64 {
        if position > 0 {
            position
        } else if position == 0 || position < -length {
            1
        } else {
            length + position + 1
        }
    }

    /// The same for where a range ends.
    fn last(position: i64, length: i64) -> i64 {
        if position > length {
            length
        } else if position >= 0 {
            position
        } else if position < -length {
            0
        } else {
            length + position + 1
        }
    }

    fn size(bytes: &[u8]) -> i64 {
        i64::try_from(bytes.len()).unwrap_or(i64::MAX)
    }

    fn range(bytes: &[u8], first: i64, last: i64) -> &[u8] {
        let start = usize::try_from(first - 1).unwrap_or(usize::MAX);
        bytes.get(start..usize::try_from(last).unwrap_or(0)).unwrap_or_default()
    }

    /// `string.sub`.
    ///
    /// # Safety
    /// Called by Lua.
    pub(super) unsafe extern "C-unwind" fn sub(l: LuaThread) -> c_int {
        // SAFETY: called by Lua; what this frame has is without destructors.
        unsafe {
            let bytes = text(l, 1);
            let start = first(ffi::luaL_checkinteger(l, 2), size(bytes));
            let end = last(ffi::luaL_optinteger(l, 3, -1), size(bytes));
            let part = range(bytes, start, end);
            ffi::lua_pushlstring(l, part.as_ptr().cast(), part.len());
        }
        1
    }

    /// `string.len`.
    ///
    /// # Safety
    /// Called by Lua.
    pub(super) unsafe extern "C-unwind" fn len(l: LuaThread) -> c_int {
        // SAFETY: called by Lua; what this frame has is without destructors.
        unsafe { ffi::lua_pushinteger(l, size(text(l, 1))) };
        1
    }

    /// `string.byte`.
    ///
    /// # Safety
    /// Called by Lua.
    pub(super) unsafe extern "C-unwind" fn byte(l: LuaThread) -> c_int {
        // SAFETY: called by Lua; what this frame has is without destructors.
        unsafe {
            let bytes = text(l, 1);
            let position = ffi::luaL_optinteger(l, 2, 1);
            let start = first(position, size(bytes));
            let end = last(ffi::luaL_optinteger(l, 3, start), size(bytes));
            let part = range(bytes, start, end);
            let count = c_int::try_from(part.len()).unwrap_or(c_int::MAX);
            ffi::luaL_checkstack(l, count, c"string slice too long".as_ptr());
            for &byte in part {
                ffi::lua_pushinteger(l, byte.into());
            }
            count
        }
    }

    /// `string.lower`.
    ///
    /// # Safety
    /// Called by Lua.
    pub(super) unsafe extern "C-unwind" fn lower(l: LuaThread) -> c_int {
        // SAFETY: as the other function's.
        unsafe { map(l, |bytes, at| bytes.get(at).map_or(0, u8::to_ascii_lowercase)) }
    }

    /// `string.upper`.
    ///
    /// # Safety
    /// Called by Lua.
    pub(super) unsafe extern "C-unwind" fn upper(l: LuaThread) -> c_int {
        // SAFETY: as the other function's.
        unsafe { map(l, |bytes, at| bytes.get(at).map_or(0, u8::to_ascii_uppercase)) }
    }

    /// `string.reverse`.
    ///
    /// # Safety
    /// Called by Lua.
    pub(super) unsafe extern "C-unwind" fn reverse(l: LuaThread) -> c_int {
        // SAFETY: as the other function's.
        unsafe { map(l, |bytes, at| bytes.get(bytes.len() - 1 - at).copied().unwrap_or(0)) }
    }

    /// Makes a text of the same length, byte by byte.
    ///
    /// # Safety
    /// Called by Lua.
    unsafe fn map(l: LuaThread, byte: impl Fn(&[u8], usize) -> u8) -> c_int {
        // SAFETY: as the caller's; the buffer has room for as many bytes as are written.
        unsafe {
            let bytes = text(l, 1);
            let mut storage = MaybeUninit::uninit();
            let buffer: *mut ffi::luaL_Buffer = storage.as_mut_ptr();
            let to = ffi::luaL_buffinitsize(l, buffer, bytes.len()).cast::<u8>();
            for at in 0..bytes.len() {
                to.add(at).write(byte(bytes, at));
            }
            ffi::luaL_pushresultsize(buffer, bytes.len());
        }
        1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_text_is_found_where_a_searcher_finds_it(subject in "[ab]{0,300}", text in "[ab]{0,4}") {
            prop_assert_eq!(
                find_text(subject.as_bytes(), text.as_bytes()),
                memchr::memmem::find(subject.as_bytes(), text.as_bytes())
            );
        }
    }
}
