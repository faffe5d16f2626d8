//! `replace`, which could make more of a text than there is memory.

use rhai::{Engine, ImmutableString, NativeCallContext};

use super::RhaiResult;
use crate::memory::check_text_size;

/// Replaces `replace`.
pub(crate) fn install(engine: &mut Engine) {
    type Text = ImmutableString;
    engine
        .register_fn("replace", |call: NativeCallContext<'_>, text: &mut Text, find: Text, put: Text| {
            replace(&call, text, &find, &put)
        })
        .register_fn("replace", |call: NativeCallContext<'_>, text: &mut Text, find: Text, put: char| {
            replace(&call, text, &find, put.encode_utf8(&mut [0; 4]))
        })
        .register_fn("replace", |call: NativeCallContext<'_>, text: &mut Text, find: char, put: Text| {
            replace(&call, text, find.encode_utf8(&mut [0; 4]), &put)
        })
        .register_fn("replace", |call: NativeCallContext<'_>, text: &mut Text, find: char, put: char| {
            replace(&call, text, find.encode_utf8(&mut [0; 4]), put.encode_utf8(&mut [0; 4]))
        });
}

fn replace(call: &NativeCallContext<'_>, text: &mut ImmutableString, find: &str, put: &str) -> RhaiResult<()> {
    if text.is_empty() {
        return Ok(());
    }
    if put.len() > find.len() {
        let more = text.matches(find).count().saturating_mul(put.len() - find.len());
        check_text_size(call.engine(), text.len().saturating_add(more))?;
    }
    *text = text.replace(find, put).into();
    Ok(())
}
