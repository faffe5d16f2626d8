//! B1: errors of native functions are recognised by their text.   core_error_words wrapped|stale lua|python|js|rhai
use kemi::{NoContext, kemi_export};
use soundness::{argument, load, registry, shown};

#[kemi_export(module = "m")]
fn fail(text: &str) -> Result<(), String> {
    Err(text.to_owned())
}

fn main() {
    let (mode, language) = (argument(1, "wrapped"), argument(2, "lua"));
    let script = match (mode.as_str(), language.as_str()) {
        // The script's own words stand around the native function's.
        ("wrapped", "lua") => "function f()\n  local ok, e = pcall(KSR.m.fail, 'disk full')\n  error('while saving: ' .. tostring(e))\nend",
        ("wrapped", "python") => "def f():\n    try:\n        KSR.m.fail('disk full')\n    except Exception as e:\n        raise RuntimeError(f'while saving: {e}')\n",
        ("wrapped", "js") => "function f() {\n  try { KSR.m.fail('disk full'); }\n  catch (e) { throw new Error('while saving: ' + e.message); }\n}",
        ("wrapped", _) => "fn f() {\n  try { KSR.m.fail(\"disk full\"); }\n  catch (e) { throw \"while saving: \" + e; }\n}",
        // The script has done with it, and later raises an error of its own that happens to have the same words.
        (_, "lua") => "function f()\n  pcall(KSR.m.fail, 'no')\n  error('no way: KSR.m.fail: no')\nend",
        (_, "python") => "def f():\n    try:\n        KSR.m.fail('no')\n    except Exception:\n        pass\n    raise RuntimeError('no way: KSR.m.fail: no')\n",
        (_, "js") => "function f() {\n  try { KSR.m.fail('no'); } catch (e) {}\n  throw new Error('no way: KSR.m.fail: no');\n}",
        (_, _) => "fn f() {\n  try { KSR.m.fail(\"no\"); } catch {}\n  throw \"no way: KSR.m.fail: no\";\n}",
    };
    let (registry, ids) = registry::<NoContext>(&["f"]);
    let got = load(&language, &registry, script).call(ids[0], &mut NoContext, &[]);
    let lost = if mode == "wrapped" { "while saving" } else { "no way" };
    let verdict = if shown(&got).contains(lost) { "keeps" } else { "LOSES" };
    println!("{verdict} THE SCRIPT'S WORDS: '{lost}' was raised around the native error; the host gets: {}", shown(&got));
}
