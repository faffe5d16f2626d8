//! The functions of Lua's `table` library that can run for long, made anew so that they check the budget.
//!
//! They follow `ltablib.c` of Lua 5.4 and `lib_table.c` of LuaJIT 2.1 (both MIT licence; Lua.org, PUC-Rio, and Mike Pall);
//! the results and the errors are the same. LuaJIT's `remove` and `move` are bytecode, which is interrupted like any.

use std::ffi::{CStr, c_int};
use std::mem::MaybeUninit;
use std::ptr;

use super::args::{self, check_machine_stack};
use super::budget::{self, Steps};
use crate::call::CallState;
use crate::error_object;
use crate::ffi::{self, LuaThread};

/// Replaces them in the table at the top of the stack.
///
/// # Safety
/// The call is protected.
pub(crate) unsafe fn replace(l: LuaThread, call: &CallState) {
    let functions: &[(&CStr, ffi::lua_CFunction)] = &[
        (c"insert", insert),
        (c"concat", concat),
        (c"sort", sort),
        #[cfg(not(luajit))]
        (c"remove", remove),
        #[cfg(not(luajit))]
        (c"move", move_),
    ];
    // SAFETY: as the caller's.
    unsafe { super::set_functions(l, call, functions) };
}

/// Which metamethods a value that is no table needs to be taken for one.
#[cfg(not(luajit))]
const READ: &CStr = c"__index";
#[cfg(not(luajit))]
const WRITE: &CStr = c"__newindex";
#[cfg(not(luajit))]
const LENGTH: &CStr = c"__len";

/// Checks that an argument is a table or behaves like one.
///
/// # Safety
/// As for [`Steps::take`]; called in a C function.
#[cfg(not(luajit))]
unsafe fn check(l: LuaThread, index: c_int, needed: &[&CStr]) {
    // SAFETY: as the caller's.
    unsafe {
        if ffi::lua_type(l, index) == ffi::LUA_TTABLE {
            return;
        }
        let top = ffi::lua_gettop(l);
        let has = |name: &CStr| {
            ffi::lua_pushstring(l, name.as_ptr());
            ffi::lua_rawget(l, top + 1);
            let has = ffi::lua_type(l, -1) != ffi::LUA_TNIL;
            ffi::lua_settop(l, top + 1);
            has
        };
        if ffi::lua_getmetatable(l, index) == 0 || !needed.iter().all(|name| has(name)) {
            ffi::luaL_checktype(l, index, ffi::LUA_TTABLE);
        }
        ffi::lua_settop(l, top);
    }
}

#[cfg(luajit)]
mod raw {
    use super::{LuaThread, c_int, ffi};

    /// The length of a table, without metamethods.
    pub(super) unsafe fn length(l: LuaThread, index: c_int) -> i64 {
        // SAFETY: as the caller's.
        unsafe {
            ffi::luaL_checktype(l, index, ffi::LUA_TTABLE);
            i64::try_from(ffi::lua_rawlen(l, index)).unwrap_or(i64::MAX)
        }
    }
}

/// Pushes an element of the table at index 1.
///
/// # Safety
/// As for [`Steps::take`]; called in a C function with a free slot.
#[inline]
unsafe fn get(l: LuaThread, table: c_int, index: i64) {
    // SAFETY: as the caller's.
    unsafe {
        #[cfg(not(luajit))]
        ffi::lua_geti(l, table, index);
        #[cfg(luajit)]
        ffi::lua_rawgeti(l, table, index);
    }
}

/// Sets an element of a table to the value at the top.
///
/// # Safety
/// As for [`Steps::take`].
#[inline]
unsafe fn set(l: LuaThread, table: c_int, index: i64) {
    // SAFETY: as the caller's.
    unsafe {
        #[cfg(not(luajit))]
        ffi::lua_seti(l, table, index);
        #[cfg(luajit)]
        ffi::lua_rawseti(l, table, index);
    }
}

/// Returns the length of the table at index 1, to be read and perhaps written to.
///
/// # Safety
/// As for [`Steps::take`]; called in a C function.
unsafe fn length(l: LuaThread, write: bool) -> i64 {
    // SAFETY: as the caller's.
    unsafe {
        #[cfg(not(luajit))]
        {
            check(l, 1, if write { &[READ, WRITE, LENGTH] } else { &[READ, LENGTH] });
            ffi::luaL_len(l, 1)
        }
        #[cfg(luajit)]
        {
            let _ = write;
            raw::length(l, 1)
        }
    }
}

/// `table.insert`.
unsafe extern "C-unwind" fn insert(l: LuaThread) -> c_int {
    // SAFETY: called by Lua with the call state as the upvalue; what this frame has is without destructors.
    unsafe {
        let call = CallState::of(l);
        let end = length(l, true).wrapping_add(1);
        let position = match ffi::lua_gettop(l) {
            2 => end,
            3 => {
                let position = ffi::luaL_checkinteger(l, 2);
                // LuaJIT takes any position.
                if cfg!(not(luajit)) && position.wrapping_sub(1).cast_unsigned() >= end.cast_unsigned() {
                    ffi::luaL_argerror(l, 2, c"position out of bounds".as_ptr());
                }
                let mut steps = Steps::default();
                let mut at = end;
                while at > position {
                    steps.take(l, call);
                    get(l, 1, at - 1);
                    set(l, 1, at);
                    at -= 1;
                }
                position
            }
            _ => return ffi::luaL_error(l, c"wrong number of arguments to 'insert'".as_ptr()),
        };
        set(l, 1, position);
    }
    0
}

/// `table.remove`.
#[cfg(not(luajit))]
unsafe extern "C-unwind" fn remove(l: LuaThread) -> c_int {
    // SAFETY: called by Lua with the call state as the upvalue; what this frame has is without destructors.
    unsafe {
        let call = CallState::of(l);
        let size = length(l, true);
        let mut position = ffi::luaL_optinteger(l, 2, size);
        if position != size && position.wrapping_sub(1).cast_unsigned() > size.cast_unsigned() {
            ffi::luaL_argerror(l, 2, c"position out of bounds".as_ptr());
        }
        get(l, 1, position);
        let mut steps = Steps::default();
        while position < size {
            steps.take(l, call);
            get(l, 1, position + 1);
            set(l, 1, position);
            position += 1;
        }
        ffi::lua_pushnil(l);
        set(l, 1, position);
    }
    1
}

/// `table.move`.
#[cfg(not(luajit))]
unsafe extern "C-unwind" fn move_(l: LuaThread) -> c_int {
    // SAFETY: called by Lua with the call state as the upvalue; what this frame has is without destructors.
    unsafe {
        let call = CallState::of(l);
        let (first, last) = (ffi::luaL_checkinteger(l, 2), ffi::luaL_checkinteger(l, 3));
        let to = ffi::luaL_checkinteger(l, 4);
        let target = if args::is_given(l, 5) { 5 } else { 1 };
        check(l, 1, &[READ]);
        check(l, target, &[WRITE]);
        if last >= first {
            if first <= 0 && last >= i64::MAX.wrapping_add(first) {
                ffi::luaL_argerror(l, 3, c"too many elements to move".as_ptr());
            }
            let count = last - first + 1;
            if to > i64::MAX - count + 1 {
                ffi::luaL_argerror(l, 4, c"destination wrap around".as_ptr());
            }
            let mut steps = Steps::default();
            let forward =
                to > last || to <= first || (target != 1 && ffi::lua_compare(l, 1, target, ffi::LUA_OPEQ) == 0);
            let mut done = 0;
            while done < count {
                steps.take(l, call);
                let at = if forward { done } else { count - 1 - done };
                get(l, 1, first + at);
                set(l, target, to + at);
                done += 1;
            }
        }
        ffi::lua_pushvalue(l, target);
    }
    1
}

/// `table.concat`.
unsafe extern "C-unwind" fn concat(l: LuaThread) -> c_int {
    // SAFETY: called by Lua with the call state as the upvalue; what this frame has is without destructors, the buffer too.
    unsafe {
        let call = CallState::of(l);
        let length = length(l, false);
        let mut width = 0;
        let separator = ffi::luaL_optlstring(l, 2, c"".as_ptr(), &raw mut width);
        let mut at = ffi::luaL_optinteger(l, 3, 1);
        let last = ffi::luaL_optinteger(l, 4, length);
        let mut storage = MaybeUninit::uninit();
        let buffer: *mut ffi::luaL_Buffer = storage.as_mut_ptr();
        ffi::luaL_buffinit(l, buffer);
        let mut steps = Steps::default();
        while at <= last {
            steps.take(l, call);
            get(l, 1, at);
            if ffi::lua_isstring(l, -1) == 0 && !error_object::to_text(l, ffi::lua_gettop(l)) {
                invalid_element(l, at);
            }
            ffi::luaL_addvalue(buffer);
            if at == last {
                break;
            }
            ffi::luaL_addlstring(buffer, separator, width);
            at += 1;
        }
        ffi::luaL_pushresult(buffer);
    }
    1
}

/// Raises the error for an element that is no text.
///
/// # Safety
/// As for [`Steps::take`]; called in `table.concat` with the element at the top.
unsafe fn invalid_element(l: LuaThread, at: i64) {
    // SAFETY: as the caller's.
    unsafe {
        let kind = ffi::luaL_typename(l, -1);
        #[cfg(not(luajit))]
        ffi::luaL_error(l, c"invalid value (%s) at index %I in table for 'concat'".as_ptr(), kind, at);
        #[cfg(luajit)]
        ffi::luaL_error(
            l,
            c"invalid value (%s) at index %d in table for 'concat'".as_ptr(),
            kind,
            c_int::try_from(at).unwrap_or(c_int::MAX),
        );
    }
}

/// `table.sort`.
unsafe extern "C-unwind" fn sort(l: LuaThread) -> c_int {
    // SAFETY: called by Lua with the call state as the upvalue; what this frame has is without destructors.
    unsafe {
        let call = CallState::of(l);
        check_machine_stack(l, call);
        let size = length(l, true);
        if size > 1 || cfg!(luajit) {
            if size >= c_int::MAX.into() {
                ffi::luaL_argerror(l, 1, c"array too big".as_ptr());
            }
            if args::is_given(l, 2) {
                ffi::luaL_checktype(l, 2, ffi::LUA_TFUNCTION);
            }
            ffi::lua_settop(l, 2);
            ffi::luaL_checkstack(l, 40, ptr::null());
            let mut sort = Sort { l, call, steps: Steps::default() };
            sort.range(1, size);
        }
    }
    0
}

/// A sort that runs, of the table at index 1 by the function or nil at index 2.
struct Sort<'a> {
    l: LuaThread,
    call: &'a CallState,
    steps: Steps,
}

/// From how many elements on the middle one is not what a range is divided by.
#[cfg(not(luajit))]
const LARGE: i64 = 100;

impl Sort<'_> {
    /// Tells whether one value on the stack is less than another. What is compared may be long, so each comparison counts.
    ///
    /// # Safety
    /// As for [`Steps::take`].
    unsafe fn is_less(&mut self, a: c_int, b: c_int) -> bool {
        let l = self.l;
        // SAFETY: as the caller's; room was made for what is pushed.
        unsafe {
            self.steps.take(l, self.call);
            if ffi::lua_type(l, 2) == ffi::LUA_TNIL {
                if ffi::lua_type(l, a) == ffi::LUA_TSTRING && ffi::lua_rawlen(l, a) > LONG {
                    budget::check(l, self.call);
                }
                #[cfg(not(luajit))]
                return ffi::lua_compare(l, a, b, ffi::LUA_OPLT) != 0;
                #[cfg(luajit)]
                return ffi::lua_lessthan(l, a, b) != 0;
            }
            ffi::lua_pushvalue(l, 2);
            ffi::lua_pushvalue(l, a - 1);
            ffi::lua_pushvalue(l, b - 2);
            ffi::lua_call(l, 2, 1);
            let less = ffi::lua_toboolean(l, -1) != 0;
            ffi::lua_settop(l, -2);
            less
        }
    }

    /// Sets two elements to the values at the top.
    ///
    /// # Safety
    /// As for [`Steps::take`].
    unsafe fn set_two(&self, i: i64, j: i64) {
        // SAFETY: as the caller's.
        unsafe {
            set(self.l, 1, i);
            set(self.l, 1, j);
        }
    }

    /// Takes values off the stack.
    ///
    /// # Safety
    /// As for [`Steps::take`].
    unsafe fn pop(&self, count: c_int) {
        // SAFETY: as the caller's.
        unsafe { ffi::lua_settop(self.l, -count - 1) };
    }

    /// Pushes an element.
    ///
    /// # Safety
    /// As for [`Steps::take`].
    unsafe fn get(&self, i: i64) {
        // SAFETY: as the caller's.
        unsafe { get(self.l, 1, i) };
    }

    /// Swaps the ends of a range if they are out of order.
    ///
    /// # Safety
    /// As for [`Steps::take`].
    unsafe fn order_ends(&mut self, low: i64, high: i64) {
        // SAFETY: as the caller's.
        unsafe {
            self.get(low);
            self.get(high);
            if self.is_less(-1, -2) { self.set_two(low, high) } else { self.pop(2) }
        }
    }

    /// Puts an element between the ends of its range, which are in order, in order with them.
    ///
    /// # Safety
    /// As for [`Steps::take`].
    unsafe fn order_middle(&mut self, low: i64, middle: i64, high: i64) {
        // SAFETY: as the caller's.
        unsafe {
            self.get(middle);
            self.get(low);
            if self.is_less(-2, -1) {
                self.set_two(middle, low);
            } else {
                self.pop(1);
                self.get(high);
                if self.is_less(-1, -2) { self.set_two(middle, high) } else { self.pop(2) }
            }
        }
    }

    /// Swaps the pivot with the last element but one of its range, and leaves a copy of it on the stack.
    ///
    /// # Safety
    /// As for [`Steps::take`].
    unsafe fn set_aside(&self, pivot: i64, high: i64) {
        // SAFETY: as the caller's; room was made for what is pushed.
        unsafe {
            self.get(pivot);
            ffi::lua_pushvalue(self.l, -1);
            self.get(high - 1);
            self.set_two(pivot, high - 1);
        }
    }

    /// Raises the error for a comparison that contradicts itself.
    ///
    /// # Safety
    /// As for [`Steps::take`].
    unsafe fn invalid_order(&self) {
        // SAFETY: as the caller's.
        unsafe { ffi::luaL_error(self.l, c"invalid order function for sorting".as_ptr()) };
    }
}

/// From how many bytes on a text takes long to compare.
const LONG: usize = 1 << 16;

#[cfg(not(luajit))]
impl Sort<'_> {
    /// Sorts a range.
    ///
    /// # Safety
    /// As for [`Steps::take`], with room for what the recursion pushes, which is nothing.
    unsafe fn range(&mut self, mut low: i64, mut high: i64) {
        let mut uneven = false;
        // SAFETY: as the caller's.
        unsafe {
            while low < high {
                self.order_ends(low, high);
                if high - low == 1 {
                    break;
                }
                let mut pivot = low + (high - low) / 2;
                if high - low > LARGE && uneven {
                    // Another place than the middle, which has divided badly.
                    let quarter = (high - low) / 4;
                    pivot = low + quarter + (pivot.wrapping_mul(2_654_435_761) & i64::MAX) % (quarter * 2);
                }
                self.order_middle(low, pivot, high);
                if high - low == 2 {
                    break;
                }
                self.set_aside(pivot, high);
                let pivot = self.divide(low, high);
                let size = if pivot - low < high - pivot {
                    self.range(low, pivot - 1);
                    let size = pivot - low;
                    low = pivot + 1;
                    size
                } else {
                    self.range(pivot + 1, high);
                    let size = high - pivot;
                    high = pivot - 1;
                    size
                };
                uneven = (high - low) / 128 > size;
            }
        }
    }

    /// Divides a range by the value at the top, which is taken off.
    ///
    /// # Safety
    /// As for [`Steps::take`].
    unsafe fn divide(&mut self, low: i64, high: i64) -> i64 {
        let (mut i, mut j) = (low, high - 1);
        // SAFETY: as the caller's.
        unsafe {
            loop {
                i += 1;
                self.get(i);
                while self.is_less(-1, -2) {
                    if i == high - 1 {
                        self.invalid_order();
                    }
                    self.pop(1);
                    i += 1;
                    self.get(i);
                }
                j -= 1;
                self.get(j);
                while self.is_less(-3, -1) {
                    if j < i {
                        self.invalid_order();
                    }
                    self.pop(1);
                    j -= 1;
                    self.get(j);
                }
                if j < i {
                    self.pop(1);
                    self.set_two(high - 1, i);
                    return i;
                }
                self.set_two(i, j);
            }
        }
    }
}

#[cfg(luajit)]
impl Sort<'_> {
    /// Sorts a range.
    ///
    /// # Safety
    /// As for [`Steps::take`].
    unsafe fn range(&mut self, mut low: i64, mut high: i64) {
        // SAFETY: as the caller's.
        unsafe {
            while low < high {
                self.order_ends(low, high);
                if high - low == 1 {
                    break;
                }
                let mut i = (low + high) / 2;
                self.order_middle(low, i, high);
                if high - low == 2 {
                    break;
                }
                self.set_aside(i, high);
                i = low;
                let mut j = high - 1;
                loop {
                    i += 1;
                    self.get(i);
                    while self.is_less(-1, -2) {
                        if i >= high {
                            self.invalid_order();
                        }
                        self.pop(1);
                        i += 1;
                        self.get(i);
                    }
                    j -= 1;
                    self.get(j);
                    while self.is_less(-3, -1) {
                        if j <= low {
                            self.invalid_order();
                        }
                        self.pop(1);
                        j -= 1;
                        self.get(j);
                    }
                    if j < i {
                        self.pop(3);
                        break;
                    }
                    self.set_two(i, j);
                }
                self.get(high - 1);
                self.get(i);
                self.set_two(high - 1, i);
                if i - low < high - i {
                    self.range(low, i - 1);
                    low = i + 1;
                } else {
                    self.range(i + 1, high);
                    high = i - 1;
                }
            }
        }
    }
}
