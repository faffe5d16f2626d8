//! The names of callbacks: declared ones, and those that scripts choose at run time.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, RwLock};

use super::declare::Callbacks;
use super::id::{CallbackId, RouteId, Stamp};
use crate::error::{ErrorCode, ScriptError};

/// The most names that scripts may give to callbacks at run time, over the life of a registry.
const MAX_NAMED: usize = 4096;

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
            table.by_name.insert((*route, name.clone()), CallbackId::new(i, callbacks.stamp()));
        }
        CallbackNames { table: RwLock::new(table), declared: callbacks.ids.len(), stamp: callbacks.stamp() }
    }

    pub(crate) fn get(&self, id: CallbackId) -> Option<(RouteId, Arc<str>)> {
        if id.stamp() != self.stamp {
            return None;
        }
        self.table.read().unwrap_or_else(std::sync::PoisonError::into_inner).entries.get(id.index()).cloned()
    }

    /// Finds or adds a name. The caller has checked that the script defines it.
    pub(crate) fn intern(&self, route: RouteId, name: &str) -> Result<CallbackId, ScriptError> {
        if route.stamp() != self.stamp {
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
