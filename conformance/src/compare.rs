//! Compares what a call came to with what the scenario expects.

use kemi::{Outcome, ScriptError};

use crate::notation::show;
use crate::scenario::{Ending, ErrorSpec, Expected};
use crate::scripts::Script;

/// Returns what is wrong with an outcome; nothing if it is one of the expected ones.
pub(crate) fn outcome(
    actual: &Result<Outcome, ScriptError>,
    expected: &[Expected],
    engine: &str,
    script: &Script,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for one in expected {
        let differences = match (one, actual) {
            (Expected::Value(text), Ok(Outcome::Value(value))) => {
                let given = show(value);
                if given == *text { Vec::new() } else { vec![format!("expected the value {text}, got {given}")] }
            }
            (Expected::Ends(Ending::Exit), Ok(Outcome::Exit)) | (Expected::Ends(Ending::Drop), Ok(Outcome::Drop)) => {
                Vec::new()
            }
            (Expected::Error(spec), Err(given)) => error(given, spec, engine, script),
            (one, actual) => vec![format!("expected {}, got {}", name(one), describe(actual))],
        };
        if differences.is_empty() {
            return Vec::new();
        }
        wrong.extend(differences);
    }
    wrong
}

/// Returns what is wrong with an error.
pub(crate) fn error(given: &ScriptError, spec: &ErrorSpec, engine: &str, script: &Script) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut differs = |what: &str, expected: &dyn std::fmt::Debug, got: &dyn std::fmt::Debug| {
        wrong.push(format!("expected {what} {expected:?}, got {got:?}"));
    };
    if given.code.as_str() != spec.code {
        differs("code", &spec.code, &given.code.as_str());
    }
    if given.engine != engine {
        differs("engine", &engine, &given.engine);
    }
    if let Some(part) = &spec.message
        && !given.message.contains(part)
    {
        differs("in the message", part, &given.message);
    }
    if let Some(part) = &spec.hint
        && !given.hint.as_ref().is_some_and(|hint| hint.contains(part))
    {
        differs("in the hint", part, &given.hint);
    }
    if spec.export.is_some() && given.export != spec.export {
        differs("export", &spec.export, &given.export);
    }
    if spec.callback.is_some() && given.callback != spec.callback {
        differs("callback", &spec.callback, &given.callback);
    }
    let position = given.argument.as_ref().map(|argument| argument.position);
    if spec.argument.is_some() && position != spec.argument {
        differs("argument", &spec.argument, &position);
    }
    if let Some(marker) = &spec.at {
        match script.marker(marker) {
            Ok((file, line)) => {
                let place = given.place.as_ref();
                if !place.is_some_and(|place| place.line == line && script.same_file(&place.file, file)) {
                    differs("place", &format!("{file}:{line}"), &place.map(ToString::to_string));
                }
            }
            Err(missing) => wrong.push(missing),
        }
    }
    wrong.extend(cause(given, spec));
    wrong.extend(traceback(given, &spec.traceback, script));
    if !wrong.is_empty() {
        wrong.push(format!("the error was: {given:#}"));
    }
    wrong
}

fn cause(given: &ScriptError, spec: &ErrorSpec) -> Option<String> {
    let cause = given.cause.as_deref();
    let Some(expected) = &spec.cause else {
        return cause.filter(|_| spec.alone).map(|cause| format!("expected no cause, got {cause}"));
    };
    let Some(cause) = cause else { return Some(format!("expected a cause {}, got none", expected.code)) };
    let fits = cause.code.as_str() == expected.code
        && expected.message.as_ref().is_none_or(|part| cause.message.contains(part))
        && (expected.export.is_none() || cause.export == expected.export);
    (!fits).then(|| format!("expected a cause {expected:?}, got {cause:?}"))
}

/// The markers' lines must occur in the traceback in their order; other frames may stand between them.
fn traceback(given: &ScriptError, markers: &[String], script: &Script) -> Vec<String> {
    let mut frames = given.traceback.iter();
    let mut wrong = Vec::new();
    for marker in markers {
        match script.marker(marker) {
            Ok((file, line)) => {
                let found = frames.any(|frame| {
                    frame.place.as_ref().is_some_and(|place| place.line == line && script.same_file(&place.file, file))
                });
                if !found {
                    wrong.push(format!("expected a frame at {file}:{line} ({marker}) in the traceback, in this order"));
                    break;
                }
            }
            Err(missing) => wrong.push(missing),
        }
    }
    wrong
}

fn name(expected: &Expected) -> String {
    match expected {
        Expected::Value(text) => format!("the value {text}"),
        Expected::Ends(Ending::Exit) => "exit".to_owned(),
        Expected::Ends(Ending::Drop) => "drop".to_owned(),
        Expected::Error(spec) => format!("the error {}", spec.code),
    }
}

fn describe(actual: &Result<Outcome, ScriptError>) -> String {
    match actual {
        Ok(Outcome::Value(value)) => format!("the value {}", show(value)),
        Ok(Outcome::Exit) => "exit".to_owned(),
        Ok(Outcome::Drop) => "drop".to_owned(),
        Err(error) => format!("the error {error}"),
    }
}

#[cfg(test)]
mod tests {
    use kemi::error::Frame;
    use kemi::{ErrorCode, Location, Value};

    use super::*;
    use crate::scenario::Scenario;

    fn script() -> Script {
        let scenario = Scenario::parse("description = 'd'\nscript.lua = \"-- @here\\n-- @there\"").unwrap();
        Script::find("s", &scenario, "lua", None).unwrap()
    }

    fn spec(text: &str) -> ErrorSpec {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn one_of_several_outcomes_is_enough() {
        let expected = [Expected::Value("1".to_owned()), Expected::Ends(Ending::Exit)];
        assert!(outcome(&Ok(Outcome::Exit), &expected, "lua", &script()).is_empty());
        assert!(outcome(&Ok(Outcome::Value(Value::Int(1))), &expected, "lua", &script()).is_empty());
        assert_eq!(outcome(&Ok(Outcome::Drop), &expected, "lua", &script()).len(), 2);
        assert!(!outcome(&Ok(Outcome::Value(Value::Float(1.0))), &expected, "lua", &script()).is_empty());
    }

    #[test]
    fn each_field_that_is_named_is_compared() {
        let mut given = ScriptError::new(ErrorCode::Runtime, "it broke").at("script.lua", 1).with_hint("mend it");
        given.engine = "lua";
        given.callback = Some("run".to_owned());
        let right = "code = 'runtime'\nat = '@here'\nmessage = 'broke'\nhint = 'mend'\ncallback = 'run'";
        assert!(error(&given, &spec(right), "lua", &script()).is_empty());
        for wrong in [
            "code = 'syntax'",
            "code = 'runtime'\nat = '@there'",
            "code = 'runtime'\nat = '@nowhere'",
            "code = 'runtime'\nmessage = 'fine'",
            "code = 'runtime'\nhint = 'ignore'",
            "code = 'runtime'\ncallback = 'other'",
            "code = 'runtime'\nexport = 'KSR.a.b'",
            "code = 'runtime'\nargument = 1",
            "code = 'runtime'\ntraceback = ['@here']",
        ] {
            assert!(!error(&given, &spec(wrong), "lua", &script()).is_empty(), "{wrong}");
        }
        assert!(!error(&given, &spec(right), "js", &script()).is_empty());
    }

    #[test]
    fn a_traceback_is_compared_in_order() {
        let frame =
            |line| Frame { function: "f".to_owned(), place: Some(Location { file: "script.lua".to_owned(), line }) };
        let mut given = ScriptError::new(ErrorCode::Runtime, "it broke");
        given.traceback = vec![frame(1), frame(7), frame(2)];
        assert!(traceback(&given, &["@here".to_owned(), "@there".to_owned()], &script()).is_empty());
        assert!(!traceback(&given, &["@there".to_owned(), "@here".to_owned()], &script()).is_empty());
    }
}
