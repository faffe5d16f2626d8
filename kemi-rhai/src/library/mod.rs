//! Functions of Rhai's own library, replaced.

pub(crate) mod compare;
pub(crate) mod json;
