//! The two entries of an export: one for any signature, one for a known shape.

use std::fmt;

use super::call::Call;
use super::def::ContextType;
use crate::abi::{RawArg, RawRet, Ret, Shape};
use crate::error::{ErrorCode, NativeError, ScriptError};
use crate::value::Arg;

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
    pub const unsafe fn new<C: 'static>(function: fn(&mut C, &Call<'_>) -> Result<Ret, Box<NativeError>>) -> Thunk {
        // SAFETY: function pointers have one size; the type is restored before the call, in `call`.
        let function = unsafe {
            std::mem::transmute::<fn(&mut C, &Call<'_>) -> Result<Ret, Box<NativeError>>, unsafe fn()>(function)
        };
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
    /// [`NoContext`](super::NoContext)) that nothing else uses during the call.
    pub(crate) unsafe fn call(self, context: *mut (), call: &Call<'_>) -> Result<Ret, Box<NativeError>> {
        // SAFETY: made by `new` from this type but for the context, a thin reference there and a thin pointer here,
        // which share one ABI; the caller vouches for the pointee.
        let function = unsafe {
            std::mem::transmute::<unsafe fn(), fn(*mut (), &Call<'_>) -> Result<Ret, Box<NativeError>>>(self.function)
        };
        function(context, call)
    }
}

impl fmt::Debug for Thunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thunk({:?})", self.context)
    }
}

/// The typed entry of an export: a function pointer, with the shape of its machine-level signature.
#[derive(Clone, Copy)]
pub struct Typed {
    shape: Shape,
    function: unsafe fn(),
    spread: DynCall,
    /// A function, since engines keep a copy of this value for each export.
    context: fn() -> ContextType,
}

/// Calls a typed entry, given first, with a list of arguments; `None` if they do not fit.
type DynCall = unsafe fn(unsafe fn(), *mut (), &[Arg<'_>]) -> Option<Result<Ret, Box<NativeError>>>;

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
    /// The error of the function, or arguments that do not match the shape exactly.
    ///
    /// # Safety
    /// As the calls with single arguments demand of the context, and what the arguments borrow outlives the result.
    #[inline]
    pub unsafe fn call(self, context: *mut (), args: &[Arg<'_>]) -> Result<Ret, Box<NativeError>> {
        // SAFETY: `spread` was made for the function's own type; the rest is the caller's.
        let result = unsafe { (self.spread)(self.function, context, args) };
        result.unwrap_or_else(|| Err(self.unfit()))
    }

    #[cold]
    fn unfit(self) -> Box<NativeError> {
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
        ) -> Option<Result<Ret, Box<NativeError>>> {
            let [$($arg),*] = args else { return None };
            // SAFETY: the caller vouches for what the arguments borrow.
            $(let $arg = unsafe { $ty::from_exact($arg) }?;)*
            // SAFETY: as in the call with single arguments.
            let function = unsafe {
                std::mem::transmute::<unsafe fn(), fn(*mut () $(, $ty)*) -> R::Abi>(function)
            };
            Some(R::from_abi(function(context $(, $arg)*)).map(R::into_ret))
        }

        impl Typed {
            /// Wraps a function of this many parameters after the context, which returns the form of [`RawRet::to_abi`].
            ///
            /// The entry remembers `C` and its shape: a [`Registry`](crate::Registry) takes an export only if its
            /// description agrees.
            ///
            /// # Safety
            /// The function does not panic, and bytes that its result points to belong to the context it is given, to the
            /// arguments or are static.
            #[must_use]
            pub const unsafe fn $new<C: 'static, $($ty: RawArg,)* R: RawRet>(
                function: fn(&mut C $(, $ty)*) -> R::Abi,
            ) -> Typed {
                // SAFETY: function pointers have one size; the type is restored before the call.
                let function = unsafe {
                    std::mem::transmute::<fn(&mut C $(, $ty)*) -> R::Abi, unsafe fn()>(function)
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
            ) -> Result<R, Box<NativeError>> {
                debug_assert_eq!(self.shape, Shape::of(&[$($ty::KIND),*], R::KIND));
                // SAFETY: each kind belongs to one raw type, so an equal shape means equal types; the context is a
                // thin reference there and a thin pointer here, which share one ABI.
                let function = unsafe {
                    std::mem::transmute::<unsafe fn(), fn(*mut () $(, $ty)*) -> R::Abi>(self.function)
                };
                R::from_abi(function(context $(, $arg)*))
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
    use crate::abi::{Kind, RawBytes};

    #[test]
    fn a_typed_call_passes_context_and_arguments() {
        fn add(cx: &mut i64, a: i64, b: RawBytes) -> <i64 as RawRet>::Abi {
            *cx += 1;
            i64::to_abi(Ok(a + b.bytes().len() as i64))
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
        assert!(matches!(&refused, Err(fault) if matches!(**fault, NativeError::Error(_))), "{refused:?}");
        assert_eq!(cx, 3);
    }
}
