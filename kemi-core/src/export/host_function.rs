//! Closures of the host as exports: functions that are known only at run time, or have a state of their own.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use super::call::Call;
use super::convert::{FromArg, IntoRet};
use super::def::{ContextType, ExportDef, NoContext, Param};
use super::entry::Thunk;
use crate::abi::{RawRet, Ret};
use crate::error::{ErrorCode, NativeError, ScriptError};
use crate::value::Type;

/// A closure that [`RegistryBuilder::function`](crate::registry::RegistryBuilder::function) takes: up to six parameters of owned
/// types, before them `&mut C` if it needs the host's context.
///
/// The types of the parameters stand in the closure's own text: `|name: String, n: i64| …`.
#[diagnostic::on_unimplemented(
    message = "this closure cannot be exported to scripts",
    label = "not a closure of exportable types",
    note = "write the type of each parameter, owned: `|name: String, n: i64| …` or `|cx: &mut Host, name: String| …`"
)]
pub trait HostFunction<C, Signature>: Send + Sync + 'static {
    /// The types of the parameters, and whether each may be left out.
    const PARAMS: &'static [(Type, bool)];
    /// The type of the result.
    const RETURNS: Type;
    /// The context that it takes: `C`, or [`NoContext`].
    type Context: 'static;

    /// Calls the closure.
    ///
    /// # Errors
    /// An argument that does not fit, or the closure's own error.
    fn invoke(&self, context: &mut Self::Context, call: &Call<'_>) -> Result<Ret, Box<NativeError>>;
}

/// Marks the signature of a closure that takes the context.
#[derive(Debug)]
pub struct WithContext<S>(PhantomData<S>);

macro_rules! host_functions {
    ($($($ty:ident $index:tt)*;)*) => {$(
        impl<C: 'static, F, R, $($ty),*> HostFunction<C, fn($($ty),*) -> R> for F
        where
            F: Fn($($ty),*) -> R + Send + Sync + 'static,
            R: IntoRet + 'static,
            $($ty: for<'a> FromArg<'a>,)*
        {
            const PARAMS: &'static [(Type, bool)] = &[$((<$ty as FromArg<'_>>::TYPE, <$ty as FromArg<'_>>::OPTIONAL)),*];
            const RETURNS: Type = R::RETURNS;
            type Context = NoContext;

            fn invoke(&self, _context: &mut NoContext, _call: &Call<'_>) -> Result<Ret, Box<NativeError>> {
                Ok(self($(_call.arg::<$ty>($index)?),*).into_raw()?.into_ret())
            }
        }

        impl<C: 'static, F, R, $($ty),*> HostFunction<C, WithContext<fn($($ty),*) -> R>> for F
        where
            F: Fn(&mut C, $($ty),*) -> R + Send + Sync + 'static,
            R: IntoRet + 'static,
            $($ty: for<'a> FromArg<'a>,)*
        {
            const PARAMS: &'static [(Type, bool)] = &[$((<$ty as FromArg<'_>>::TYPE, <$ty as FromArg<'_>>::OPTIONAL)),*];
            const RETURNS: Type = R::RETURNS;
            type Context = C;

            fn invoke(&self, context: &mut C, _call: &Call<'_>) -> Result<Ret, Box<NativeError>> {
                Ok(self(context, $(_call.arg::<$ty>($index)?),*).into_raw()?.into_ret())
            }
        }
    )*};
}

host_functions! {
    ;
    A0 0;
    A0 0 A1 1;
    A0 0 A1 1 A2 2;
    A0 0 A1 1 A2 2 A3 3;
    A0 0 A1 1 A2 2 A3 3 A4 4;
    A0 0 A1 1 A2 2 A3 3 A4 4 A5 5;
}

/// A closure with its description.
#[derive(Clone)]
pub(crate) struct HostClosure {
    pub(crate) def: &'static ExportDef,
    pub(crate) function: Arc<dyn Any + Send + Sync>,
}

impl HostClosure {
    /// Describes a closure.
    #[track_caller]
    pub(crate) fn new<C: 'static, S: 'static, F: HostFunction<C, S>>(
        module: &str,
        name: &str,
        params: &[&str],
        function: F,
    ) -> HostClosure {
        let def = describe::<C, S, F>(module, name, params);
        HostClosure { def, function: Arc::new(function) }
    }
}

impl fmt::Debug for HostClosure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HostClosure").field(&self.def.name).finish()
    }
}

/// The identity of a description: the closure's type, its module, name and parameters.
type Identity = (TypeId, TypeId, String, String, Vec<String>);

/// Returns the description of a closure, made once for each type of closure and each name, and kept for the life of the program:
/// everything else about an export is static, too, and a host that builds a registry again and again gives the same names.
#[track_caller]
fn describe<C: 'static, S: 'static, F: HostFunction<C, S>>(
    module: &str,
    name: &str,
    params: &[&str],
) -> &'static ExportDef {
    static KNOWN: Mutex<BTreeMap<Identity, &'static ExportDef>> = Mutex::new(BTreeMap::new());
    let names: Vec<String> = params.iter().map(|&name| name.to_owned()).collect();
    let identity = (TypeId::of::<(C, S)>(), TypeId::of::<F>(), module.to_owned(), name.to_owned(), names);
    let place = std::panic::Location::caller();
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.entry(identity).or_insert_with(|| Box::leak(Box::new(definition::<C, S, F>(module, name, params, place))))
}

fn definition<C: 'static, S: 'static, F: HostFunction<C, S>>(
    module: &str,
    name: &str,
    params: &[&str],
    place: &'static std::panic::Location<'static>,
) -> ExportDef {
    fn entry<C: 'static, S: 'static, F: HostFunction<C, S>>(
        context: &mut F::Context,
        call: &Call<'_>,
    ) -> Result<Ret, Box<NativeError>> {
        match call.closure.and_then(|closure| closure.downcast_ref::<F>()) {
            Some(function) => function.invoke(context, call),
            // A registry keeps a closure and its description together.
            None => Err(ScriptError::new(ErrorCode::NativeError, "the closure of this export is missing").into()),
        }
    }
    let params = F::PARAMS.iter().enumerate().map(|(i, &(ty, optional))| Param {
        name: params.get(i).map_or("", |&name| Box::leak(Box::from(name))),
        ty,
        optional,
        variadic: false,
    });
    ExportDef {
        module: Box::leak(Box::from(module)),
        name: Box::leak(Box::from(name)),
        doc: "",
        params: Box::leak(params.collect()),
        returns: F::RETURNS,
        since: None,
        deprecated: None,
        callbacks: &[],
        cost: 1,
        capability: None,
        member: None,
        context: ContextType::of::<F::Context>(),
        needs_context: TypeId::of::<F::Context>() != TypeId::of::<NoContext>(),
        blocking: false,
        file: place.file(),
        line: place.line(),
        // SAFETY: results that borrow are static, since `R: 'static`.
        thunk: unsafe { Thunk::new::<F::Context>(entry::<C, S, F>) },
        typed: None,
    }
}
