//! Functions of Python's own library that are replaced.

pub(crate) mod iterators;
