//! The page of a failing handler, for development.

use kemi::{Location, Program, ScriptError, Source};
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#222}\
h1{font-size:1.3rem;color:#a11;white-space:pre-wrap;overflow-wrap:anywhere}code,pre{font:14px/1.5 ui-monospace,monospace}\
pre{background:#f4f4f4;padding:.6rem 0;overflow-x:auto;margin:.3rem 0 1.2rem}pre span{display:block;padding:0 .8rem}\
pre i{font-style:normal;color:#777;display:inline-block;width:3.5em}pre .here{background:#fbd5d5}li{margin:.2rem 0}";

/// How many lines are shown before and after the one that failed.
const AROUND: usize = 4;

/// Shows an error with its place, its traceback and the lines around it; all that is put in is escaped.
pub(crate) fn of<C: 'static>(error: &ScriptError, request: &str, program: &Program<C>) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { (error.message) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                p { code { (request) } }
                h1 { @if let Some(export) = &error.export { (export) ": " } (error.message) }
                @if let Some(hint) = &error.hint { p { (hint) } }
                @if let Some(place) = &error.place {
                    p { code { (place) } " in " code { (error.callback.as_deref().unwrap_or("the script")) } }
                    (excerpt(place, program))
                }
                @if !error.traceback.is_empty() {
                    p { "Traceback, innermost first:" }
                    ol { @for frame in &error.traceback { li { code { (frame) } } } }
                }
                @if let Some(cause) = &error.cause { p { "Because of: " (cause) } }
                p { code { (error.engine) ", " (error.code) } }
            }
        }
    }
}

/// Shows the lines around a place, of the text that runs if it is one of the program's own files.
fn excerpt<C: 'static>(place: &Location, program: &Program<C>) -> Markup {
    let sources = program.sources();
    let imported = Source::File(place.file.clone().into());
    let source = sources.iter().find(|source| source.name() == place.file).unwrap_or(&imported);
    let Ok(bytes) = source.read() else { return Markup::default() };
    let text = String::from_utf8_lossy(&bytes);
    let failed = place.line as usize;
    let first = failed.saturating_sub(AROUND).max(1);
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    html! {
        pre {
            @for (number, line) in lines.skip(first - 1).take(failed + AROUND + 1 - first) {
                span class=[(number == failed).then_some("here")] { i { (number) } (line) }
            }
        }
    }
}
