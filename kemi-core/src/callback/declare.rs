//! The functions of a script that the host calls: declared once, resolved when a script is loaded.

use std::panic::Location;
use std::sync::Arc;

use super::id::{CallbackId, RouteId, Stamp};

/// The kind of a callback: required, optional, or named at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CallbackKind {
    /// Loading a script without it fails.
    Required,
    /// Without it the host has a default of its own.
    Optional,
    /// There may be any number, under names that the script chooses at run time.
    Named,
}

/// One row of the host's callback table.
#[derive(Clone, Debug, serde::Serialize)]
pub struct CallbackDecl {
    /// The route, as the option `callbacks(…)` of an export names it.
    pub route: String,
    /// The function's name in scripts; empty for [`CallbackKind::Named`].
    pub name: String,
    /// The kind of the callback.
    pub presence: CallbackKind,
    /// The names of its parameters.
    pub params: Vec<String>,
}

/// The host's callback table.
///
/// ```
/// use kemi_core::Callbacks;
///
/// let mut callbacks = Callbacks::new();
/// let request = callbacks.required("request", "on_request", &[]);
/// let event = callbacks.optional("event", "on_event", &["name"]);
/// let retry = callbacks.named("retry", &[]);
/// assert_ne!(request, event);
/// # let _ = retry;
/// ```
#[derive(Debug)]
pub struct Callbacks {
    pub(crate) decls: Vec<CallbackDecl>,
    /// The place of each declaration.
    places: Vec<&'static Location<'static>>,
    routes: Vec<String>,
    pub(crate) ids: Vec<(RouteId, Arc<str>)>,
    stamp: Stamp,
    carried: Option<Carried>,
}

/// The callbacks that hand a script's state from one version to the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Carried {
    pub(crate) save: CallbackId,
    pub(crate) restore: CallbackId,
}

impl Default for Callbacks {
    fn default() -> Callbacks {
        let stamp = Stamp::next();
        let (decls, places, routes, ids) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Callbacks { decls, places, routes, ids, stamp, carried: None }
    }
}

/// Routes are bits of a 64-bit mask; one bit means "no callback runs".
pub(crate) const MAX_ROUTES: usize = 63;

impl Callbacks {
    /// Creates an empty table.
    #[must_use]
    pub fn new() -> Callbacks {
        Callbacks::default()
    }

    /// Declares a callback that every script must define.
    ///
    /// # Panics
    /// If there are more than 63 routes.
    #[track_caller]
    pub fn required(&mut self, route: &str, name: &str, params: &[&str]) -> CallbackId {
        self.fixed(route, name, CallbackKind::Required, params)
    }

    /// Declares a callback that a script may define.
    ///
    /// # Panics
    /// If there are more than 63 routes.
    #[track_caller]
    pub fn optional(&mut self, route: &str, name: &str, params: &[&str]) -> CallbackId {
        self.fixed(route, name, CallbackKind::Optional, params)
    }

    /// Declares a route whose callbacks get their names at run time, by [`Script::callback`](crate::Script::callback).
    ///
    /// # Panics
    /// If there are more than 63 routes.
    #[track_caller]
    pub fn named(&mut self, route: &str, params: &[&str]) -> RouteId {
        self.declare(route, "", CallbackKind::Named, params)
    }

    /// Lets a script keep its state over a reload: the old version's `save()` returns it, the new version's `restore(state)` takes it.
    ///
    /// Both are optional callbacks of the route `reload`, called by [`Worker::refresh`](crate::Worker::refresh) before the new version is
    /// taken up. An error in one of them, or a state that nobody restores, keeps the old version with its state. A function cannot
    /// be part of the state.
    ///
    /// # Panics
    /// If there are more than 63 routes.
    #[track_caller]
    pub fn carry(&mut self, save: &str, restore: &str) {
        let save = self.optional("reload", save, &[]);
        let restore = self.optional("reload", restore, &["state"]);
        self.carried = Some(Carried { save, restore });
    }

    pub(crate) fn carried(&self) -> Option<Carried> {
        self.carried
    }

    #[track_caller]
    fn fixed(&mut self, route: &str, name: &str, presence: CallbackKind, params: &[&str]) -> CallbackId {
        let route = self.declare(route, name, presence, params);
        self.ids.push((route, name.into()));
        CallbackId::new(self.ids.len() - 1, self.stamp)
    }

    pub(crate) fn stamp(&self) -> Stamp {
        self.stamp
    }

    fn route_id(&self, index: usize) -> Option<RouteId> {
        u8::try_from(index).ok().map(|index| RouteId::new(index, self.stamp))
    }

    #[track_caller]
    fn declare(&mut self, route: &str, name: &str, presence: CallbackKind, params: &[&str]) -> RouteId {
        self.decls.push(CallbackDecl {
            route: route.to_owned(),
            name: name.to_owned(),
            presence,
            params: params.iter().map(|&p| p.to_owned()).collect(),
        });
        self.places.push(Location::caller());
        if let Some(known) = self.route(route) {
            return known;
        }
        assert!(self.routes.len() < MAX_ROUTES, "a host has at most {MAX_ROUTES} routes");
        self.routes.push(route.to_owned());
        RouteId::new(u8::try_from(self.routes.len() - 1).unwrap_or(u8::MAX), self.stamp)
    }

    /// Finds a route by name.
    #[must_use]
    pub fn route(&self, name: &str) -> Option<RouteId> {
        self.routes.iter().position(|r| r == name).and_then(|i| self.route_id(i))
    }

    /// Iterates over the declarations with their places.
    pub(crate) fn declared(&self) -> impl Iterator<Item = (&CallbackDecl, &'static Location<'static>)> {
        self.decls.iter().zip(self.places.iter().copied())
    }

    pub(crate) fn route_name(&self, route: RouteId) -> &str {
        let own = (route.stamp() == self.stamp).then(|| self.routes.get(route.index()));
        own.flatten().map_or("none", String::as_str)
    }

    pub(crate) fn route_names(&self) -> &[String] {
        &self.routes
    }
}
