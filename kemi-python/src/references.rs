//! The names of the root object in a script, as Python's own parser reads them.

use kemi_core::engine::Reference;
use kemi_core::{ScriptError, Source};
use pyo3::prelude::*;

use crate::call::CallFrame;
use crate::prelude::Prelude;
use crate::{error, sandbox, string};

/// Lists the paths in a source that begin with the root object's name.
///
/// # Errors
/// A source that cannot be read or parsed.
pub(crate) fn references(py: Python<'_>, source: &Source, root: &str) -> Result<Vec<Reference>, ScriptError> {
    let _frame = CallFrame::of_engine(py);
    let text = string::from_source(py, source)?;
    let found = sandbox::install(py)
        .and_then(|()| Prelude::get(py))
        .and_then(|prelude| prelude.call(py, "references", (text, source.name(), root)))
        .and_then(|found| found.extract::<Vec<(Vec<String>, u32, bool, Vec<(usize, String)>)>>());
    let found = found.map_err(|raised| error::explain(py, &raised))?;
    let reference = |(path, line, called, texts)| Reference { path, line, called, texts };
    Ok(found.into_iter().map(reference).collect())
}
