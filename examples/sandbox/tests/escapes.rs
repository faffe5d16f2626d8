//! The example refuses the same in every language that can be confined, and Python as a whole.

use std::process::Command;

fn run(engine: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_sandbox")).args(["--cfgengine", engine]).output().unwrap();
    assert!(output.status.success(), "{engine}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_guest_gets_no_further_than_its_language() {
    for (engine, clock, import) in
        [("lua", "os.time without a time", "require"), ("rhai", "timestamp", "import"), ("js", "Date.now", "require")]
    {
        let confined = "is not available: the host confines scripts (profile 'confined') [not-permitted]";
        let expected = format!(
            "shop order: mail to shop: tea for 12\n\
             shop clock: it is later than 1970\n\
             guest order: tea, please\n\
             guest mail: refused, needs the capability 'mail', which this script is not granted [not-permitted]\n\
             guest clock: refused, {clock} {confined}\n\
             guest steal: refused, {import} {confined}\n"
        );
        assert_eq!(run(engine), expected, "{engine}");
    }
}

#[test]
fn python_is_refused_and_told_how_to_go_on() {
    let printed = run("python");
    for tenant in ["shop", "guest"] {
        assert!(
            printed.contains(&format!("{tenant} is not loaded: engine 'python' cannot keep the profile")),
            "{printed}"
        );
    }
    assert!(printed.contains("give each tenant a process of its own") && !printed.contains("please"), "{printed}");
}
