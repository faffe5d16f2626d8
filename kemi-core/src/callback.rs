//! The functions of a script that the host calls: declared once, resolved when a script is loaded.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU32;
use std::panic::Location;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, RwLock};

use crate::error::{ErrorCode, ScriptError};

/// Tells the ids of one registry from those of another: an id is accepted only by the registry that it was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Stamp(NonZeroU32);

impl Stamp {
    fn next() -> Stamp {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let next = LAST.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        Stamp(NonZeroU32::new(next).unwrap_or(NonZeroU32::MIN))
    }
}

/// Identifies a callback of one [`Registry`](crate::Registry), in all its workers and interpreters.
///
/// Cheap to copy and to store with whatever shall be called later. Another registry refuses it with
/// [`ErrorCode::ForeignId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallbackId {
    index: u32,
    stamp: Stamp,
}

impl CallbackId {
    pub(crate) fn new(index: usize, stamp: Stamp) -> CallbackId {
        CallbackId { index: u32::try_from(index).unwrap_or(u32::MAX), stamp }
    }

    /// Returns the position, for engines that keep a table of resolved handles.
    #[must_use]
    pub fn index(self) -> usize {
        self.index as usize
    }

    pub(crate) fn stamp(self) -> Stamp {
        self.stamp
    }
}

/// Identifies a route of one [`Registry`](crate::Registry): the kind of occasion a callback is called on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteId {
    index: u8,
    stamp: Stamp,
}

impl RouteId {
    /// Returns the bit that stands for the route in the gate of an export.
    pub(crate) fn bit(self) -> u64 {
        1 << self.index
    }
}

/// Whether a script must define a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// Loading a script without it fails.
    Required,
    /// Without it the host does what it does by default.
    Optional,
    /// There may be any number, under names that the script chooses at run time.
    Named,
}

/// One row of the host's callback table.
#[derive(Clone, Debug, serde::Serialize)]
pub struct CallbackDecl {
    /// The route, as the option `callbacks(…)` of an export names it.
    pub route: String,
    /// The function's name in scripts; empty for [`Presence::Named`].
    pub name: String,
    /// Whether scripts must have it.
    pub presence: Presence,
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
    /// Where each was declared.
    places: Vec<&'static Location<'static>>,
    routes: Vec<String>,
    pub(crate) ids: Vec<(RouteId, Arc<str>)>,
    stamp: Stamp,
}

impl Default for Callbacks {
    fn default() -> Callbacks {
        Callbacks { decls: Vec::new(), places: Vec::new(), routes: Vec::new(), ids: Vec::new(), stamp: Stamp::next() }
    }
}

/// The most names that scripts may give to callbacks at run time, over the life of a registry.
const MAX_NAMED: usize = 4096;

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
        self.fixed(route, name, Presence::Required, params)
    }

    /// Declares a callback that a script may define.
    ///
    /// # Panics
    /// If there are more than 63 routes.
    #[track_caller]
    pub fn optional(&mut self, route: &str, name: &str, params: &[&str]) -> CallbackId {
        self.fixed(route, name, Presence::Optional, params)
    }

    /// Declares a route whose callbacks get their names at run time, by [`Script::callback`](crate::Script::callback).
    ///
    /// # Panics
    /// If there are more than 63 routes.
    #[track_caller]
    pub fn named(&mut self, route: &str, params: &[&str]) -> RouteId {
        self.declare(route, "", Presence::Named, params)
    }

    #[track_caller]
    fn fixed(&mut self, route: &str, name: &str, presence: Presence, params: &[&str]) -> CallbackId {
        let route = self.declare(route, name, presence, params);
        self.ids.push((route, name.into()));
        CallbackId::new(self.ids.len() - 1, self.stamp)
    }

    pub(crate) fn stamp(&self) -> Stamp {
        self.stamp
    }

    fn route_id(&self, index: usize) -> Option<RouteId> {
        u8::try_from(index).ok().map(|index| RouteId { index, stamp: self.stamp })
    }

    #[track_caller]
    fn declare(&mut self, route: &str, name: &str, presence: Presence, params: &[&str]) -> RouteId {
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
        RouteId { index: u8::try_from(self.routes.len() - 1).unwrap_or(u8::MAX), stamp: self.stamp }
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
        let own = (route.stamp == self.stamp).then(|| self.routes.get(usize::from(route.index)));
        own.flatten().map_or("", String::as_str)
    }

    pub(crate) fn route_names(&self) -> &[String] {
        &self.routes
    }
}

/// The declared callbacks and the names that scripts have added at run time.
pub(crate) struct CallbackNames {
    table: RwLock<Table>,
    declared: usize,
    stamp: Stamp,
}

#[derive(Default)]
struct Table {
    entries: Vec<(RouteId, Arc<str>)>,
    by_name: HashMap<(RouteId, Arc<str>), CallbackId>,
}

impl CallbackNames {
    pub(crate) fn new(callbacks: &Callbacks) -> CallbackNames {
        let mut table = Table { entries: callbacks.ids.clone(), by_name: HashMap::new() };
        for (i, (route, name)) in callbacks.ids.iter().enumerate() {
            table.by_name.insert((*route, name.clone()), CallbackId::new(i, callbacks.stamp));
        }
        CallbackNames { table: RwLock::new(table), declared: callbacks.ids.len(), stamp: callbacks.stamp }
    }

    pub(crate) fn get(&self, id: CallbackId) -> Option<(RouteId, Arc<str>)> {
        if id.stamp != self.stamp {
            return None;
        }
        self.table.read().unwrap_or_else(std::sync::PoisonError::into_inner).entries.get(id.index()).cloned()
    }

    /// Returns the id at a position.
    pub(crate) fn at(&self, index: usize) -> CallbackId {
        CallbackId::new(index, self.stamp)
    }

    /// Finds or adds a name. The caller has checked that the script defines it.
    pub(crate) fn intern(&self, route: RouteId, name: &str) -> Result<CallbackId, ScriptError> {
        if route.stamp != self.stamp {
            let message = format!("the route given for callback '{name}' belongs to another registry");
            return Err(ScriptError::new(ErrorCode::ForeignId, message));
        }
        let key = (route, Arc::from(name));
        if let Some(&id) = self.table.read().unwrap_or_else(std::sync::PoisonError::into_inner).by_name.get(&key) {
            return Ok(id);
        }
        let mut table = self.table.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(&id) = table.by_name.get(&key) {
            return Ok(id);
        }
        if table.entries.len() - self.declared >= MAX_NAMED {
            let message = format!("cannot set callback '{name}': {MAX_NAMED} different names have been set already");
            return Err(ScriptError::new(ErrorCode::MissingCallback, message)
                .with_hint("use a fixed set of callback names instead of names made up at run time"));
        }
        let id = CallbackId::new(table.entries.len(), self.stamp);
        table.entries.push((route, key.1.clone()));
        table.by_name.insert(key, id);
        Ok(id)
    }
}

impl fmt::Debug for CallbackNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallbackNames").field("declared", &self.declared).finish_non_exhaustive()
    }
}
