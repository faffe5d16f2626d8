//! What a script hands over is copied within a budget. In a process of its own, since a copy keeps Python's lock.

mod common;

use common::{check, run_main};
use kemi_core::ErrorCode;

#[test]
fn what_crosses_has_a_budget_and_what_is_shared_counts_each_time() {
    let bombs = [
        ("a = [1]\nfor _ in range(60): a = [a, a]", "1000000 elements"),
        ("a = (1,)\nfor _ in range(40): a = (a, a, a)", "1000000 elements"),
        ("a = {}\nfor _ in range(60): a = {'x': a, 'y': a}", "1000000 elements"),
        ("a = [0] * 1_000_001", "1000000 elements"),
        ("s = 'x' * 1_000_000\na = [s] * 100", "bytes of text"),
        ("s = b'x' * 1_000_000\na = [s] * 100", "bytes of text"),
        ("s = bytearray(1_000_000)\na = [s] * 100", "bytes of text"),
        ("s = '\\udcff' * 1_000_000\na = [s] * 100", "bytes of text"),
        ("a = {}\nfor i in range(100): a[str(i) + 'x' * 1_000_000] = 1", "bytes of text"),
        ("a = []\na.append(a)", "nested deeper"),
        ("a = {}\na['a'] = a", "nested deeper"),
    ];
    let uses = ["return a", "return KSR.echo.any(a)", "return KSR.echo.count(1, 2, a)"];
    for ((bomb, why), use_of_it) in bombs.into_iter().zip(uses.into_iter().cycle()) {
        let lines: String = bomb.lines().map(|line| format!("    {line}\n")).collect();
        let (result, _) = run_main(&format!("import KSR\ndef main():\n{lines}    {use_of_it}\n"));
        let error = result.map(|outcome| panic!("{bomb}: {outcome:?}")).unwrap_err();
        assert_eq!(error.code, ErrorCode::ValueNotConvertible, "{bomb}: {error:#}");
        assert!(error.message.contains(why), "{bomb}: {error}");
    }
    // All arguments of one call have one budget.
    let text = "import KSR\ndef main():\n    a = [0] * 600_000\n    KSR.echo.count(a)\n    KSR.echo.count(a, a)\n";
    assert!(run_main(text).0.unwrap_err().message.contains("1000000 elements"));
    check("a = [['x'] * 3] * 1000\nassert KSR.echo.any(a) == a");
}
