//! What `#[kemi_export]` leaves behind: a static description of one native function and two ways to call it.

use std::any::TypeId;
use std::fmt;

use crate::convert::FromArg;
use crate::error::{BadArgument, ErrorCode, Fault, ScriptError};
use crate::runtime::Script;
use crate::types::{Kind, Type};
use crate::value::{Arg, Value};

/// All exports linked into this program, in no stable order; [`Registry`](crate::Registry) sorts them.
#[linkme::distributed_slice]
pub static EXPORTS: [ExportDef];

/// One exported function, as the attribute describes it.
#[derive(Debug)]
pub struct ExportDef {
    /// The module; empty for the root.
    pub module: &'static str,
    /// The name in scripts.
    pub name: &'static str,
    /// The doc comment.
    pub doc: &'static str,
    /// The parameters, without the context.
    pub params: &'static [Param],
    /// The result.
    pub returns: Type,
    /// The version that brought it.
    pub since: Option<&'static str>,
    /// Set when scripts should stop using it.
    pub deprecated: Option<Deprecated>,
    /// The routes it may be called in; empty for all.
    pub callbacks: &'static [&'static str],
    /// What one call costs, in units of a plain call.
    pub cost: u32,
    /// The host's context type it belongs to.
    pub context: ContextType,
    /// Whether it takes the context, and so cannot be called without one.
    pub needs_context: bool,
    /// The source file of the function.
    pub file: &'static str,
    /// Its line.
    pub line: u32,
    /// The generic entry.
    pub thunk: Thunk,
    /// The typed entry, if the signature has a shape.
    pub typed: Option<Typed>,
}

impl ExportDef {
    /// Returns how many arguments must be given.
    #[must_use]
    pub fn min_args(&self) -> usize {
        self.params.iter().rposition(|p| !p.optional && !p.variadic).map_or(0, |i| i + 1)
    }

    /// Returns how many arguments may be given; `None` when the last parameter is variadic.
    #[must_use]
    pub fn max_args(&self) -> Option<usize> {
        match self.params.last() {
            Some(last) if last.variadic => None,
            _ => Some(self.params.len()),
        }
    }
}

/// One parameter of an export.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Param {
    /// The name in the Rust function.
    pub name: &'static str,
    /// The type.
    #[serde(rename = "type")]
    pub ty: Type,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it takes all remaining arguments.
    pub variadic: bool,
}

/// What to use instead of a deprecated export.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Deprecated {
    /// The version since which it is.
    pub since: &'static str,
    /// The replacement.
    #[serde(rename = "use")]
    pub instead: &'static str,
}

/// The host's context type of an export; [`NoContext`] for functions that belong to any host.
#[derive(Clone, Copy)]
pub struct ContextType {
    id: TypeId,
    name: fn() -> &'static str,
}

impl ContextType {
    /// Describes the type `C`.
    #[must_use]
    pub const fn of<C: 'static>() -> ContextType {
        ContextType { id: TypeId::of::<C>(), name: std::any::type_name::<C> }
    }

    /// Returns the type's identity.
    #[must_use]
    pub fn id(&self) -> TypeId {
        self.id
    }

    /// Returns the type's name, for messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        (self.name)()
    }
}

impl fmt::Debug for ContextType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The context of an export that takes none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoContext;

/// The generic entry of an export: any signature, arguments as a slice.
#[derive(Clone, Copy)]
pub struct Thunk {
    function: unsafe fn(),
    context: ContextType,
}

impl Thunk {
    /// Wraps the function that the attribute generates.
    ///
    /// The entry remembers `C`: a [`Registry`](crate::Registry) takes an export only if its entries take the context that
    /// its description names, so which `ExportDef` the entry goes into needs no promise.
    ///
    /// # Safety
    /// Bytes that the function's result points to belong to the context it is given, to the arguments or are static.
    #[must_use]
    pub const unsafe fn new<C: 'static>(function: fn(&mut C, &Call<'_>) -> Result<Ret, Box<Fault>>) -> Thunk {
        // SAFETY: function pointers have one size; the type is restored before the call, in `call`.
        let function =
            unsafe { std::mem::transmute::<fn(&mut C, &Call<'_>) -> Result<Ret, Box<Fault>>, unsafe fn()>(function) };
        Thunk { function, context: ContextType::of::<C>() }
    }

    /// Returns the context that the function takes.
    pub(crate) fn context(&self) -> ContextType {
        self.context
    }

    /// Calls the function.
    ///
    /// # Safety
    /// `context` points to a live value of the type this thunk was made for (any non-null pointer for
    /// [`NoContext`]) that nothing else uses during the call.
    pub(crate) unsafe fn call(self, context: *mut (), call: &Call<'_>) -> Result<Ret, Box<Fault>> {
        // SAFETY: made by `new` from this type but for the context, a thin reference there and a thin pointer here,
        // which share one ABI; the caller vouches for the pointee.
        let function = unsafe {
            std::mem::transmute::<unsafe fn(), fn(*mut (), &Call<'_>) -> Result<Ret, Box<Fault>>>(self.function)
        };
        function(context, call)
    }
}

impl fmt::Debug for Thunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thunk({:?})", self.context)
    }
}

/// The arguments of one generic call, with the running script.
#[derive(Debug)]
pub struct Call<'a> {
    /// The arguments as given.
    pub args: &'a [Arg<'a>],
    /// The script that calls.
    pub script: &'a Script<'a>,
    /// The export called.
    pub export: &'static ExportDef,
}

impl<'a> Call<'a> {
    /// Converts the argument at an index; one that is missing counts as nil.
    ///
    /// # Errors
    /// [`ErrorCode::BadArgument`] with the position, what was expected and what was given.
    pub fn arg<T: FromArg<'a>>(&self, index: usize) -> Result<T, Box<Fault>> {
        let arg = self.args.get(index).copied().unwrap_or(Arg::Nil);
        T::from_arg(&arg).map_err(|mismatch| bad_argument(self.export, index, mismatch))
    }

    /// Returns the arguments from an index on.
    #[must_use]
    pub fn rest(&self, index: usize) -> crate::convert::Rest<'a> {
        crate::convert::Rest(self.args.get(index..).unwrap_or(&[]))
    }
}

/// Builds the error for an argument that does not fit; used by expansions.
#[doc(hidden)]
#[must_use]
#[cold]
pub fn bad_argument(export: &'static ExportDef, index: usize, mismatch: crate::convert::Mismatch) -> Box<Fault> {
    let name = export.params.get(index).map_or("", |p| p.name);
    let message = format!("argument {} '{name}': expected {}, got {}", index + 1, mismatch.expected, mismatch.got);
    let mut error = ScriptError::new(ErrorCode::BadArgument, message);
    error.argument = Some(BadArgument {
        position: index + 1,
        name: name.to_owned(),
        expected: mismatch.expected,
        got: mismatch.got,
    });
    error.into()
}

/// Whether parameters of these kinds can be passed by a typed trampoline; used by expansions.
#[doc(hidden)]
#[must_use]
pub const fn has_shape(params: &[Kind]) -> bool {
    let mut i = 0;
    while i < params.len() {
        if matches!(params[i], Kind::Any) {
            return false;
        }
        i += 1;
    }
    params.len() <= Shape::MAX_PARAMS
}

/// The result of a native call.
///
/// [`Ret::Bytes`] borrows from the context: it is valid until the context is used again.
#[derive(Debug)]
pub enum Ret {
    /// Nothing.
    Nil,
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A double.
    Float(f64),
    /// Bytes borrowed from the context or of static life.
    Bytes(RawOut),
    /// An owned value.
    Value(Value),
    /// Several results: multiple values in Lua, a tuple in Python, an array elsewhere.
    Tuple(Vec<Value>),
}

impl Ret {
    pub(crate) fn as_arg(&self) -> Arg<'_> {
        match self {
            Ret::Bool(b) => Arg::Bool(*b),
            Ret::Int(i) => Arg::Int(*i),
            Ret::Float(x) => Arg::Float(*x),
            Ret::Value(value) => value.into(),
            // No trampoline passes these as a parameter.
            Ret::Nil | Ret::Bytes(_) | Ret::Tuple(_) => Arg::Nil,
        }
    }
}

/// A result whose type is decided at run time, borrowed from the context where it can be.
#[derive(Clone, Debug)]
pub enum Out<'c> {
    /// Nothing.
    Nil,
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A double.
    Float(f64),
    /// Bytes of the context, of an argument or of static life.
    Bytes(&'c [u8]),
    /// An owned value.
    Value(Value),
}

/// The bytes of a string argument, lent by the interpreter for one call.
#[derive(Debug)]
pub struct RawBytes {
    pointer: *const u8,
    /// The length, with [`TEXT`](Self::TEXT) set if the bytes are known to be UTF-8: two words pass in registers.
    length: usize,
}

impl RawBytes {
    /// No slice is so long that its length needs this bit.
    const TEXT: usize = 1 << (usize::BITS - 1);

    /// Wraps bytes on the interpreter's own stack.
    ///
    /// # Safety
    /// The bytes stay alive and unchanged as long as this value.
    #[must_use]
    pub unsafe fn new(pointer: *const u8, length: usize) -> RawBytes {
        RawBytes { pointer, length: length & !Self::TEXT }
    }

    /// Wraps text on the interpreter's own stack, which needs no check any more.
    ///
    /// # Safety
    /// As [`new`](Self::new), and the bytes are UTF-8.
    #[must_use]
    pub unsafe fn text(pointer: *const u8, length: usize) -> RawBytes {
        RawBytes { pointer, length: length | Self::TEXT }
    }

    /// Returns the bytes.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        let length = self.length & !Self::TEXT;
        if length == 0 {
            return &[];
        }
        // SAFETY: `new` demands that the bytes outlive this value, and the result borrows this value.
        unsafe { std::slice::from_raw_parts(self.pointer, length) }
    }

    /// Returns the text if it is known to be such.
    #[inline]
    pub(crate) fn known_text(&self) -> Option<&str> {
        // SAFETY: only `text` sets the bit, and its caller vouches for the bytes.
        (self.length & Self::TEXT != 0).then(|| unsafe { std::str::from_utf8_unchecked(self.bytes()) })
    }
}

/// The bytes of a string result, which live in the context.
#[derive(Clone, Copy, Debug)]
pub struct RawOut {
    pointer: std::ptr::NonNull<u8>,
    length: usize,
}

impl RawOut {
    /// Notes where the bytes are.
    #[must_use]
    pub(crate) fn new(bytes: &[u8]) -> RawOut {
        RawOut { pointer: std::ptr::NonNull::from(bytes).cast(), length: bytes.len() }
    }

    /// Returns the bytes.
    ///
    /// # Safety
    /// The call that gave this value was the last use of the context, and the context lives at least as long as
    /// the result is used.
    #[must_use]
    pub unsafe fn bytes<'a>(self) -> &'a [u8] {
        // SAFETY: made from a slice that borrowed the context or is static; the caller vouches that the context is
        // still there and untouched.
        unsafe { std::slice::from_raw_parts(self.pointer.as_ptr(), self.length) }
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for () {}
    impl Sealed for bool {}
    impl Sealed for i64 {}
    impl Sealed for f64 {}
    impl Sealed for super::RawBytes {}
    impl Sealed for super::RawOut {}
    impl Sealed for super::Ret {}
}

/// A parameter as a typed trampoline passes it.
pub trait RawArg: sealed::Sealed + Sized {
    /// Its letter in a shape.
    const KIND: Kind;

    /// Takes it from an argument that is exactly of this type.
    ///
    /// # Safety
    /// What the argument borrows lives as long as the result is used.
    #[doc(hidden)]
    unsafe fn from_exact(arg: &Arg<'_>) -> Option<Self>;
}

/// A result as a typed trampoline receives it.
pub trait RawRet: sealed::Sealed + Sized {
    /// Its letter in a shape.
    const KIND: Kind;

    /// What a typed entry returns, in two registers where that is enough: what goes through memory is written in halves
    /// and read as a whole, which a processor waits for longer than such a call takes.
    #[doc(hidden)]
    type Wire;

    #[doc(hidden)]
    fn wire(result: Result<Self, Box<Fault>>) -> Self::Wire;

    #[doc(hidden)]
    fn unwire(wire: Self::Wire) -> Result<Self, Box<Fault>>;

    /// Converts into the general form.
    fn into_ret(self) -> Ret;
}

/// A number, or what went wrong.
#[doc(hidden)]
#[derive(Debug)]
pub struct WiredNumber {
    /// Owned; null for none.
    fault: *mut Fault,
    number: u64,
}

impl WiredNumber {
    #[inline]
    fn new(result: Result<u64, Box<Fault>>) -> WiredNumber {
        match result {
            Ok(number) => WiredNumber { fault: std::ptr::null_mut(), number },
            Err(fault) => WiredNumber { fault: Box::into_raw(fault), number: 0 },
        }
    }

    #[inline]
    fn take(self) -> Result<u64, Box<Fault>> {
        if self.fault.is_null() {
            return Ok(self.number);
        }
        // SAFETY: only `new` makes this value, from a box, and it is taken apart once.
        Err(unsafe { Box::from_raw(self.fault) })
    }
}

/// Bytes, or what went wrong.
#[doc(hidden)]
#[derive(Debug)]
pub struct WiredBytes {
    /// Null if something went wrong.
    pointer: *mut u8,
    /// The length as an address, or what went wrong, owned.
    rest: *mut Fault,
}

impl WiredBytes {
    #[inline]
    fn new(result: Result<RawOut, Box<Fault>>) -> WiredBytes {
        match result {
            Ok(RawOut { pointer, length }) => {
                WiredBytes { pointer: pointer.as_ptr(), rest: std::ptr::without_provenance_mut(length) }
            }
            Err(fault) => WiredBytes { pointer: std::ptr::null_mut(), rest: Box::into_raw(fault) },
        }
    }

    #[inline]
    fn take(self) -> Result<RawOut, Box<Fault>> {
        match std::ptr::NonNull::new(self.pointer) {
            Some(pointer) => Ok(RawOut { pointer, length: self.rest.addr() }),
            // SAFETY: only `new` makes this value, without a pointer from a box, and it is taken apart once.
            None => Err(unsafe { Box::from_raw(self.rest) }),
        }
    }
}

macro_rules! raw {
    ($($ty:ty, $kind:ident, $arg:pat => $raw:expr;)*) => {$(
        impl RawArg for $ty {
            const KIND: Kind = Kind::$kind;

            #[inline]
            unsafe fn from_exact(arg: &Arg<'_>) -> Option<$ty> {
                match *arg {
                    $arg => Some($raw),
                    _ => None,
                }
            }
        }
    )*};
}
raw! {
    bool, Bool, Arg::Bool(b) => b;
    i64, Int, Arg::Int(i) => i;
    f64, Float, Arg::Float(x) => x;
    // SAFETY: as the caller's.
    RawBytes, Bytes, Arg::Str(s) => unsafe { RawBytes::new(s.as_ptr(), s.len()) };
    // No parameter is passed in this form.
    Ret, Any, Arg::Nil => Ret::Nil;
}

macro_rules! raw_ret {
    ($($ty:ty, $kind:ident, |$v:ident| $ret:expr, $wire:ty, |$result:ident| $to:expr, |$wired:ident| $from:expr;)*) => {$(
        impl RawRet for $ty {
            const KIND: Kind = Kind::$kind;
            type Wire = $wire;

            #[inline]
            fn wire($result: Result<$ty, Box<Fault>>) -> $wire {
                $to
            }

            #[inline]
            fn unwire($wired: $wire) -> Result<$ty, Box<Fault>> {
                $from
            }

            #[inline]
            fn into_ret(self) -> Ret {
                let $v = self;
                $ret
            }
        }
    )*};
}
raw_ret! {
    (), Nil, |_v| Ret::Nil,
        WiredNumber, |r| WiredNumber::new(r.map(|()| 0)), |w| w.take().map(|_zero| ());
    bool, Bool, |v| Ret::Bool(v),
        WiredNumber, |r| WiredNumber::new(r.map(u64::from)), |w| w.take().map(|number| number != 0);
    i64, Int, |v| Ret::Int(v),
        WiredNumber, |r| WiredNumber::new(r.map(i64::cast_unsigned)), |w| w.take().map(u64::cast_signed);
    f64, Float, |v| Ret::Float(v),
        WiredNumber, |r| WiredNumber::new(r.map(f64::to_bits)), |w| w.take().map(f64::from_bits);
    RawOut, Bytes, |v| Ret::Bytes(v),
        WiredBytes, |r| WiredBytes::new(r), |w| w.take();
    Ret, Any, |v| v,
        Result<Ret, Box<Fault>>, |r| r, |w| w;
}

/// The shape of a signature: up to six parameter kinds and the result's kind, packed in a number.
///
/// Engines match on it to choose a trampoline: `match shape { s if s == Shape::of(&[Kind::Int], Kind::Bool) => … }`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape(u32);

impl Shape {
    /// The most parameters a shape has; functions with more are called by the generic path only.
    pub const MAX_PARAMS: usize = 6;

    /// Packs a signature.
    ///
    /// # Panics
    /// If there are more than [`MAX_PARAMS`](Self::MAX_PARAMS) parameters.
    #[must_use]
    pub const fn of(params: &[Kind], result: Kind) -> Shape {
        assert!(params.len() <= Self::MAX_PARAMS, "too many parameters for a shape");
        let mut code = (result as u32) | ((params.len() as u32) << 3);
        let mut i = 0;
        while i < params.len() {
            code |= (params[i] as u32) << (6 + 3 * i);
            i += 1;
        }
        Shape(code)
    }

    /// Returns the packed number.
    #[must_use]
    pub const fn code(self) -> u32 {
        self.0
    }

    /// Returns the parameters' kinds in order.
    pub fn params(self) -> impl ExactSizeIterator<Item = Kind> {
        (0..self.0 >> 3 & 7).map(move |i| kind(self.0 >> (6 + 3 * i)))
    }

    /// Returns the result's kind.
    #[must_use]
    pub fn result(self) -> Kind {
        kind(self.0)
    }
}

/// Reads the kind in the lowest three bits.
fn kind(bits: u32) -> Kind {
    match bits & 7 {
        0 => Kind::Nil,
        1 => Kind::Bool,
        2 => Kind::Int,
        3 => Kind::Float,
        4 => Kind::Bytes,
        _ => Kind::Any,
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LETTERS: [char; 8] = ['-', 'b', 'i', 'f', 's', 'a', '?', '?'];
        let letter = |bits: u32| LETTERS.get(bits as usize & 7).copied().unwrap_or('?');
        f.write_str("(")?;
        for i in 0..(self.0 >> 3) & 7 {
            write!(f, "{}", letter(self.0 >> (6 + 3 * i)))?;
        }
        write!(f, ")->{}", letter(self.0))
    }
}

/// The typed entry of an export: a function pointer whose machine-level signature is told by its shape.
#[derive(Clone, Copy)]
pub struct Typed {
    shape: Shape,
    function: unsafe fn(),
    spread: Spread,
    /// A function, since engines keep a copy of this value for each export.
    context: fn() -> ContextType,
}

/// Calls a typed entry, given first, with a list of arguments; `None` if they do not fit.
type Spread = unsafe fn(unsafe fn(), *mut (), &[Arg<'_>]) -> Option<Result<Ret, Box<Fault>>>;

impl Typed {
    /// Returns the context that the function takes.
    pub(crate) fn context(&self) -> ContextType {
        (self.context)()
    }

    /// Returns the shape.
    #[must_use]
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// Calls the function with a list of arguments: for shapes that an engine has no trampoline of its own for.
    ///
    /// # Errors
    /// What the function came to, or that the arguments are not exactly what the shape says.
    ///
    /// # Safety
    /// As the calls with single arguments demand of the context, and what the arguments borrow outlives the result.
    #[inline]
    pub unsafe fn call(self, context: *mut (), args: &[Arg<'_>]) -> Result<Ret, Box<Fault>> {
        // SAFETY: `spread` was made for the function's own type; the rest is the caller's.
        let result = unsafe { (self.spread)(self.function, context, args) };
        result.unwrap_or_else(|| Err(self.unfit()))
    }

    #[cold]
    fn unfit(self) -> Box<Fault> {
        let message = format!("the engine passes what does not fit {:?}", self.shape);
        ScriptError::new(ErrorCode::BadArgument, message).into()
    }
}

impl fmt::Debug for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Typed{:?}", self.shape)
    }
}

macro_rules! typed {
    ($($new:ident $call:ident $spread:ident ($($arg:ident : $ty:ident),*);)*) => {$(
        /// # Safety
        /// The function has this type; the rest as [`Typed::call`].
        unsafe fn $spread<$($ty: RawArg,)* R: RawRet>(
            function: unsafe fn(), context: *mut (), args: &[Arg<'_>]
        ) -> Option<Result<Ret, Box<Fault>>> {
            let [$($arg),*] = args else { return None };
            // SAFETY: the caller vouches for what the arguments borrow.
            $(let $arg = unsafe { $ty::from_exact($arg) }?;)*
            // SAFETY: as in the call with single arguments.
            let function = unsafe {
                std::mem::transmute::<unsafe fn(), fn(*mut () $(, $ty)*) -> R::Wire>(function)
            };
            Some(R::unwire(function(context $(, $arg)*)).map(R::into_ret))
        }

        impl Typed {
            /// Wraps a function of this many parameters after the context; [`RawRet::wire`] makes what it returns.
            ///
            /// The entry remembers `C` and its shape: a [`Registry`](crate::Registry) takes an export only if its
            /// description agrees.
            ///
            /// # Safety
            /// The function does not panic, and bytes that its result points to belong to the context it is given, to the
            /// arguments or are static.
            #[must_use]
            pub const unsafe fn $new<C: 'static, $($ty: RawArg,)* R: RawRet>(
                function: fn(&mut C $(, $ty)*) -> R::Wire,
            ) -> Typed {
                // SAFETY: function pointers have one size; the type is restored before the call.
                let function = unsafe {
                    std::mem::transmute::<fn(&mut C $(, $ty)*) -> R::Wire, unsafe fn()>(function)
                };
                Typed {
                    shape: Shape::of(&[$($ty::KIND),*], R::KIND),
                    function,
                    spread: $spread::<$($ty,)* R>,
                    context: ContextType::of::<C>,
                }
            }

            /// Calls a function of this many parameters after the context.
            ///
            /// # Safety
            /// The shape is the one of these types, and `context` points to a live value of the export's context
            /// type (any non-null pointer if it needs none) that nothing else uses during the call.
            #[inline]
            #[allow(clippy::too_many_arguments, reason = "one per parameter of the signature")]
            pub unsafe fn $call<$($ty: RawArg,)* R: RawRet>(
                self, context: *mut () $(, $arg: $ty)*
            ) -> Result<R, Box<Fault>> {
                debug_assert_eq!(self.shape, Shape::of(&[$($ty::KIND),*], R::KIND));
                // SAFETY: each kind belongs to one raw type, so an equal shape means equal types; the context is a
                // thin reference there and a thin pointer here, which share one ABI.
                let function = unsafe {
                    std::mem::transmute::<unsafe fn(), fn(*mut () $(, $ty)*) -> R::Wire>(self.function)
                };
                R::unwire(function(context $(, $arg)*))
            }
        }
    )*};
}
typed! {
    new0 call0 spread0 ();
    new1 call1 spread1 (a: A);
    new2 call2 spread2 (a: A, b: B);
    new3 call3 spread3 (a: A, b: B, c: D);
    new4 call4 spread4 (a: A, b: B, c: D, d: E);
    new5 call5 spread5 (a: A, b: B, c: D, d: E, e: F);
    new6 call6 spread6 (a: A, b: B, c: D, d: E, e: F, f: G);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_differ_by_parameters_order_and_result() {
        let shapes = [
            Shape::of(&[], Kind::Int),
            Shape::of(&[], Kind::Bool),
            Shape::of(&[Kind::Nil], Kind::Int),
            Shape::of(&[Kind::Int], Kind::Int),
            Shape::of(&[Kind::Int, Kind::Bytes], Kind::Int),
            Shape::of(&[Kind::Bytes, Kind::Int], Kind::Int),
            Shape::of(&[Kind::Bytes; 6], Kind::Any),
        ];
        for (i, a) in shapes.iter().enumerate() {
            for (j, b) in shapes.iter().enumerate() {
                assert_eq!(a == b, i == j, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn a_typed_call_passes_context_and_arguments() {
        fn add(cx: &mut i64, a: i64, b: RawBytes) -> WiredNumber {
            *cx += 1;
            i64::wire(Ok(a + b.bytes().len() as i64))
        }
        // SAFETY: the result is a number.
        let typed = unsafe { Typed::new2::<i64, i64, RawBytes, i64>(add) };
        assert_eq!(typed.shape(), Shape::of(&[Kind::Int, Kind::Bytes], Kind::Int));
        let mut cx = 1i64;
        // SAFETY: the bytes are static.
        let text = unsafe { RawBytes::new(b"abc".as_ptr(), 3) };
        // SAFETY: `add` has this shape, and `cx` is its context.
        let sum: i64 = unsafe { typed.call2((&raw mut cx).cast(), 39, text) }.unwrap();
        assert_eq!((sum, cx), (42, 2));
        let args = [Arg::Int(40), Arg::Str(b"ab")];
        // SAFETY: as above.
        let sum = unsafe { typed.call((&raw mut cx).cast(), &args) };
        assert!(matches!(sum, Ok(Ret::Int(42))), "{sum:?}");
        // SAFETY: as above.
        let refused = unsafe { typed.call((&raw mut cx).cast(), &args[..1]) };
        assert!(matches!(&refused, Err(fault) if matches!(**fault, Fault::Error(_))), "{refused:?}");
        assert_eq!(cx, 3);
    }

    #[test]
    fn results_and_faults_come_out_as_they_went_in() {
        fn back<R: RawRet + fmt::Debug>(result: R) -> String {
            format!("{:?}", R::unwire(R::wire(Ok(result))).map(R::into_ret).ok())
        }
        let bytes = |bytes: &'static [u8]| back(RawOut::new(bytes));
        assert_eq!(back(()), "Some(Nil)");
        assert_eq!([back(true), back(false)], ["Some(Bool(true))", "Some(Bool(false))"]);
        assert_eq!([back(i64::MIN), back(-1i64)], ["Some(Int(-9223372036854775808))", "Some(Int(-1))"]);
        assert_eq!([back(-0.5), back(f64::INFINITY)], ["Some(Float(-0.5))", "Some(Float(inf))"]);
        assert!(bytes(b"abc").contains("length: 3") && bytes(b"").contains("length: 0"));
        assert_eq!(back(Ret::Nil), "Some(Nil)");
        fn failed<R: RawRet>() -> bool {
            matches!(R::unwire(R::wire(Err(Box::new(Fault::Drop)))).map(R::into_ret), Err(fault) if matches!(*fault, Fault::Drop))
        }
        assert!(
            failed::<()>()
                && failed::<bool>()
                && failed::<i64>()
                && failed::<f64>()
                && failed::<RawOut>()
                && failed::<Ret>()
        );
    }

    #[test]
    fn a_shape_tells_its_parameters() {
        let kinds = [Kind::Bytes, Kind::Int, Kind::Bool, Kind::Float, Kind::Bytes, Kind::Int];
        for count in 0..=kinds.len() {
            assert!(Shape::of(&kinds[..count], Kind::Any).params().eq(kinds[..count].iter().copied()));
        }
    }

    #[test]
    fn text_that_is_known_to_be_such_keeps_its_bytes() {
        // SAFETY: static text.
        let (text, empty) = unsafe { (RawBytes::text("grüß".as_ptr(), 6), RawBytes::text("".as_ptr(), 0)) };
        assert_eq!((text.bytes(), text.known_text()), ("grüß".as_bytes(), Some("grüß")));
        assert_eq!((empty.bytes(), empty.known_text()), (&b""[..], Some("")));
        // SAFETY: as above.
        let unknown = unsafe { RawBytes::new("grüß".as_ptr(), 6) };
        assert_eq!((unknown.bytes(), unknown.known_text()), ("grüß".as_bytes(), None));
    }
}
