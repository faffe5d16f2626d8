//! Functions of the language's library that are replaced, one file a subject.

pub(crate) mod flat;
pub(crate) mod json;
pub(crate) mod proxy;
pub(crate) mod regexp;
pub(crate) mod search;
