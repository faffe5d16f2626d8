//! Parameters and results at the level of machine words.

use std::cell::RefCell;

use super::ret::Ret;
use super::shape::Kind;
use crate::error::NativeError;
use crate::value::{Arg, Object};

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

    /// Returns the text, if the bytes are known to be UTF-8.
    #[inline]
    pub(crate) fn known_text(&self) -> Option<&str> {
        // SAFETY: only `text` sets the bit, and its caller vouches for the bytes.
        (self.length & Self::TEXT != 0).then(|| unsafe { std::str::from_utf8_unchecked(self.bytes()) })
    }
}

/// The length from which a copy is not kept for the next one.
const LARGE: usize = 64 << 10;

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

    /// Copies the bytes to where they stay until this thread copies others.
    fn copied(self) -> RawOut {
        thread_local! {
            static COPY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        // SAFETY: a function of an object has just returned them, and the object is still in use.
        let bytes = unsafe { self.bytes() };
        COPY.with_borrow_mut(|copy| {
            if copy.capacity() > LARGE && bytes.len() <= LARGE {
                *copy = Vec::new();
            }
            copy.clear();
            copy.extend_from_slice(bytes);
            RawOut::new(copy)
        })
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

/// An object of the host as an argument, lent by the interpreter for one call.
#[derive(Clone, Copy, Debug)]
pub struct RawObject(std::ptr::NonNull<Object>);

impl RawObject {
    /// Wraps the object that a value of the script holds.
    ///
    /// # Safety
    /// The object stays where it is as long as this value.
    #[must_use]
    #[inline]
    pub unsafe fn new(object: &Object) -> RawObject {
        RawObject(std::ptr::NonNull::from(object))
    }

    /// Returns the object.
    #[must_use]
    #[inline]
    pub fn object(&self) -> &Object {
        // SAFETY: `new` demands that it outlives this value.
        unsafe { self.0.as_ref() }
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for () {}
    impl Sealed for bool {}
    impl Sealed for i64 {}
    impl Sealed for f64 {}
    impl Sealed for super::RawBytes {}
    impl Sealed for super::RawObject {}
    impl Sealed for super::RawOut {}
    impl Sealed for super::Ret {}
}

/// A parameter as a typed trampoline passes it.
pub trait RawArg: sealed::Sealed + Sized {
    /// Its letter in a shape.
    const KIND: Kind;

    /// Takes the parameter from an argument that is exactly of this type.
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

    /// The form in which a typed entry returns it, in two registers where that is enough. A result in memory is written in
    /// halves and read as a whole, and that stall takes longer than such a call.
    #[doc(hidden)]
    type Abi;

    #[doc(hidden)]
    fn to_abi(result: Result<Self, Box<NativeError>>) -> Self::Abi;

    #[doc(hidden)]
    fn from_abi(passed: Self::Abi) -> Result<Self, Box<NativeError>>;

    /// Converts into the general form.
    fn into_ret(self) -> Ret;

    /// Moves bytes that borrow from an object to where they stay until the thread keeps others.
    #[doc(hidden)]
    #[inline]
    fn kept(self) -> Self {
        self
    }
}

/// A number, or a native error.
#[doc(hidden)]
#[derive(Debug)]
pub struct AbiNumber {
    /// Owned; null for none.
    fault: *mut NativeError,
    number: u64,
}

impl AbiNumber {
    #[inline]
    fn new(result: Result<u64, Box<NativeError>>) -> AbiNumber {
        match result {
            Ok(number) => AbiNumber { fault: std::ptr::null_mut(), number },
            Err(fault) => AbiNumber { fault: Box::into_raw(fault), number: 0 },
        }
    }

    #[inline]
    fn take(self) -> Result<u64, Box<NativeError>> {
        if self.fault.is_null() {
            return Ok(self.number);
        }
        // SAFETY: only `new` makes this value, from a box, and it is taken apart once.
        Err(unsafe { Box::from_raw(self.fault) })
    }
}

/// Bytes, or a native error.
#[doc(hidden)]
#[derive(Debug)]
pub struct AbiBytes {
    /// Null for an error.
    pointer: *mut u8,
    /// The length as an address, or the error, owned.
    rest: *mut NativeError,
}

impl AbiBytes {
    #[inline]
    fn new(result: Result<RawOut, Box<NativeError>>) -> AbiBytes {
        match result {
            Ok(RawOut { pointer, length }) => {
                AbiBytes { pointer: pointer.as_ptr(), rest: std::ptr::without_provenance_mut(length) }
            }
            Err(fault) => AbiBytes { pointer: std::ptr::null_mut(), rest: Box::into_raw(fault) },
        }
    }

    #[inline]
    fn take(self) -> Result<RawOut, Box<NativeError>> {
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
    // SAFETY: as the caller's.
    RawObject, Object, Arg::Object(object) => unsafe { RawObject::new(object) };
    // No parameter is passed in this form.
    Ret, Any, Arg::Nil => Ret::Nil;
}

macro_rules! raw_ret {
    ($($ty:ty, $kind:ident, |$v:ident| $ret:expr, $abi:ty, |$result:ident| $to:expr, |$passed:ident| $from:expr
        $(, |$kept:ident| $keep:expr)?;)*) => {$(
        impl RawRet for $ty {
            const KIND: Kind = Kind::$kind;
            type Abi = $abi;

            #[inline]
            fn to_abi($result: Result<$ty, Box<NativeError>>) -> $abi {
                $to
            }

            #[inline]
            fn from_abi($passed: $abi) -> Result<$ty, Box<NativeError>> {
                $from
            }

            #[inline]
            fn into_ret(self) -> Ret {
                let $v = self;
                $ret
            }
            $(
                #[inline]
                fn kept(self) -> $ty {
                    let $kept = self;
                    $keep
                }
            )?
        }
    )*};
}

raw_ret! {
    (), Nil, |_v| Ret::Nil,
        AbiNumber, |r| AbiNumber::new(r.map(|()| 0)), |w| w.take().map(|_zero| ());
    bool, Bool, |v| Ret::Bool(v),
        AbiNumber, |r| AbiNumber::new(r.map(u64::from)), |w| w.take().map(|number| number != 0);
    i64, Int, |v| Ret::Int(v),
        AbiNumber, |r| AbiNumber::new(r.map(i64::cast_unsigned)), |w| w.take().map(u64::cast_signed);
    f64, Float, |v| Ret::Float(v),
        AbiNumber, |r| AbiNumber::new(r.map(f64::to_bits)), |w| w.take().map(f64::from_bits);
    RawOut, Bytes, |v| Ret::Bytes(v),
        AbiBytes, |r| AbiBytes::new(r), |w| w.take(), |v| v.copied();
    Ret, Any, |v| v,
        Result<Ret, Box<NativeError>>, |r| r, |w| w, |v| v.copied();
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[test]
    fn results_and_faults_come_out_as_they_went_in() {
        fn back<R: RawRet + fmt::Debug>(result: R) -> String {
            format!("{:?}", R::from_abi(R::to_abi(Ok(result))).map(R::into_ret).ok())
        }
        let bytes = |bytes: &'static [u8]| back(RawOut::new(bytes));
        assert_eq!(back(()), "Some(Nil)");
        assert_eq!([back(true), back(false)], ["Some(Bool(true))", "Some(Bool(false))"]);
        assert_eq!([back(i64::MIN), back(-1i64)], ["Some(Int(-9223372036854775808))", "Some(Int(-1))"]);
        assert_eq!([back(-0.5), back(f64::INFINITY)], ["Some(Float(-0.5))", "Some(Float(inf))"]);
        assert!(bytes(b"abc").contains("length: 3") && bytes(b"").contains("length: 0"));
        assert_eq!(back(Ret::Nil), "Some(Nil)");
        fn failed<R: RawRet>() -> bool {
            matches!(R::from_abi(R::to_abi(Err(Box::new(NativeError::Drop)))).map(R::into_ret), Err(fault) if matches!(*fault, NativeError::Drop))
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
