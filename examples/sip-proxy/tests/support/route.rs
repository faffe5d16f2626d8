//! A route that a test writes once, for the script to differ in nothing but syntax between the languages.

use std::fs;
use std::process::Command;

use super::{Proxy, unique};

/// A language that routes are written in.
#[derive(Debug)]
pub struct Language {
    engine: &'static str,
    ending: &'static str,
    /// What a function, a condition and its other side begin with, what a variable is declared with, and what ends a line, a head and
    /// a block.
    words: Words,
    /// What the language has its own way for: `text(number)`, and `wait(milliseconds)`, which is what a look-up in a database is to
    /// the proxy.
    prelude: &'static str,
}

#[derive(Debug)]
struct Words {
    function: &'static str,
    condition: [&'static str; 2],
    otherwise: &'static str,
    local: &'static str,
    line: &'static str,
    head: &'static str,
    block: &'static str,
}

pub const LUA: Language = Language {
    engine: "lua",
    ending: "lua",
    words: Words {
        function: "function",
        condition: ["if ", " then"],
        otherwise: "else",
        local: "local ",
        line: "",
        head: "",
        block: "end",
    },
    prelude: "text = tostring\n\
              function wait(time) os.execute(\"sleep \" .. time / 1000) end\n",
};

pub const RHAI: Language = Language {
    engine: "rhai",
    ending: "rhai",
    words: Words {
        function: "fn",
        condition: ["if ", " {"],
        otherwise: "} else {",
        local: "let ",
        line: ";",
        head: " {",
        block: "}",
    },
    prelude: "fn text(number) { number.to_string() }\n\
              fn wait(time) { let began = timestamp(); while began.elapsed < time / 1000.0 { } }\n",
};

pub const PYTHON: Language = Language {
    engine: "python",
    ending: "py",
    words: Words {
        function: "def",
        condition: ["if ", ":"],
        otherwise: "else:",
        local: "",
        line: "",
        head: ":",
        block: "",
    },
    prelude: "import time\nimport KSR\ntext = str\ndef wait(milliseconds): time.sleep(milliseconds / 1000)\n",
};

pub const JS: Language = Language {
    engine: "js",
    ending: "js",
    words: Words {
        function: "function",
        condition: ["if (", ") {"],
        otherwise: "} else {",
        local: "const ",
        line: ";",
        head: " {",
        block: "}",
    },
    prelude: "const text = String;\n\
              function wait(time) { const till = Date.now() + time; while (Date.now() < till) { } }\n",
};

impl Language {
    /// Starts a proxy with a route and further arguments.
    ///
    /// The route is written in the plainest Lua: a line is `function name()`, `if … then`, `else`, `end`, `return`, `local x = …` or
    /// a call, and what is compared or joined are texts and numbers. The configuration is that of `tests/scripts/wire.cfg`.
    pub fn start(&self, route: &str, arguments: &[&str]) -> Proxy {
        let standard = ["-l", "udp:127.0.0.1:0", "--workers", "2"];
        self.listen(route, &[&standard, arguments].concat())
    }

    /// Starts one that is told where to listen and with how many workers.
    pub fn listen(&self, route: &str, arguments: &[&str]) -> Proxy {
        let path = std::env::temp_dir().join(format!("sip-wire-{}-{}.{}", std::process::id(), unique(), self.ending));
        fs::write(&path, self.write(route)).expect("the temporary folder can be written");
        let config = format!("{}/tests/scripts/wire.cfg", env!("CARGO_MANIFEST_DIR"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_sip-proxy"));
        command
            .args(["-E", "-d", "-d", "-f", &config, "--cfgengine", self.engine, "--script"])
            .arg(&path)
            .args(arguments);
        let proxy = Proxy::spawn(command);
        fs::remove_file(&path).expect("the script can be removed");
        proxy
    }

    /// Writes a route in this language.
    fn write(&self, route: &str) -> String {
        let words = &self.words;
        let (mut script, mut depth) = (self.prelude.to_owned(), 0_usize);
        for line in route.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if matches!(line, "end" | "else") {
                depth -= 1;
            }
            script.push_str(&"    ".repeat(depth));
            script.push_str(&if let Some(head) = line.strip_prefix("function ") {
                format!("{} {head}{}", words.function, words.head)
            } else if let Some(condition) = line.strip_prefix("if ").and_then(|line| line.strip_suffix(" then")) {
                format!("{}{}{}", words.condition[0], self.expression(condition), words.condition[1])
            } else if let Some(variable) = line.strip_prefix("local ") {
                format!("{}{}{}", words.local, self.expression(variable), words.line)
            } else {
                match line {
                    "else" => words.otherwise.to_owned(),
                    "end" => words.block.to_owned(),
                    _ => format!("{}{}", self.expression(line), words.line),
                }
            });
            script.push('\n');
            if line != "end" && (line == "else" || line.starts_with("function ") || line.starts_with("if ")) {
                depth += 1;
            }
        }
        script
    }

    fn expression(&self, lua: &str) -> String {
        let operators = match self.engine {
            "lua" => return lua.to_owned(),
            "python" => [(" .. ", " + "), (" ~= ", " != "), (" and ", " and "), (" or ", " or "), ("not ", "not ")],
            _ => [(" .. ", " + "), (" ~= ", " != "), (" and ", " && "), (" or ", " || "), ("not ", "!")],
        };
        operators.iter().fold(lua.to_owned(), |text, (from, to)| text.replace(from, to))
    }
}
