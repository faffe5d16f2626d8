//! The callbacks that a routing script may define.

use kemi_core::{Arg, CallbackId, Callbacks, Instance, Outcome, RouteId, Script, ScriptError};

use crate::modules::core::log::prefixed;
use crate::proxy::Cx;

/// What the callbacks of the core are called; the settings `kemi.…_callback` change them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteNames {
    /// Called for every request.
    pub request: String,
    /// Called for every reply before the transaction layer sees it; `None` for no such callback.
    pub reply: Option<String>,
}

impl Default for RouteNames {
    fn default() -> Self {
        RouteNames { request: "ksr_request_route".to_owned(), reply: Some("ksr_reply_route".to_owned()) }
    }
}

/// The handles of all callbacks.
#[derive(Clone, Copy, Debug)]
pub struct Routes {
    /// The request route.
    pub request: CallbackId,
    /// The reply route of the core.
    pub reply: Option<CallbackId>,
    /// The kind of callback that `t_on_branch` sets.
    pub branch: RouteId,
    /// The kind of callback that `t_on_reply` sets.
    pub onreply: RouteId,
    /// The kind of callback that `t_on_failure` sets.
    pub failure: RouteId,
}

impl Routes {
    /// Declares the callbacks; give the table to the registry's builder.
    #[must_use]
    pub fn declare(names: &RouteNames) -> (Callbacks, Routes) {
        let mut callbacks = Callbacks::new();
        let request = callbacks.required("request_route", &names.request, &[]);
        let reply = names.reply.as_ref().map(|name| callbacks.optional("reply_route", name, &[]));
        let branch = callbacks.named("branch_route", &[]);
        let onreply = callbacks.named("onreply_route", &[]);
        let failure = callbacks.named("failure_route", &[]);
        (callbacks, Routes { request, reply, branch, onreply, failure })
    }
}

/// Whoever can call the script: the worker from outside, or a native function from within a call.
pub trait Caller {
    /// Calls a callback with the context.
    ///
    /// # Errors
    /// What the script raised.
    fn call(&self, callback: CallbackId, cx: &mut Cx, args: &[Arg<'_>]) -> Result<Outcome, ScriptError>;
}

impl Caller for Instance<Cx> {
    fn call(&self, callback: CallbackId, cx: &mut Cx, args: &[Arg<'_>]) -> Result<Outcome, ScriptError> {
        prefixed(cx, |cx| Instance::call(self, callback, cx, args))
    }
}

impl Caller for Script<'_> {
    fn call(&self, callback: CallbackId, cx: &mut Cx, args: &[Arg<'_>]) -> Result<Outcome, ScriptError> {
        prefixed(cx, |cx| Script::call(self, callback, cx, args))
    }
}
