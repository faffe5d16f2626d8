//! The names of the root object that a script uses, found in Rhai's own syntax tree.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use kemi_core::ScriptError;
use kemi_core::engine::{Reference, Runtime};
use rhai::{ASTFlags, ASTNode, BinaryExpr, Engine, Expr, FnCallExpr, OptimizationLevel, Position, Token};

use crate::error::syntax_error;
use crate::integrity::{is_name, name_of};
use crate::parse::{self, out_of_time};
use crate::program::line_of;
use crate::stack::on_stack;
use crate::string;

thread_local! {
    /// The runtime of what the thread loaded last: its clock is the one that looking through a script is to obey.
    static LOADED: RefCell<Weak<Runtime>> = const { RefCell::new(Weak::new()) };
}

/// Notes whose load it is that [`references`] is a part of.
pub(crate) fn begin_load(runtime: &Rc<Runtime>) {
    LOADED.with_borrow_mut(|loaded| *loaded = Rc::downgrade(runtime));
}

/// Lists the paths that begin with the root in a script.
pub(crate) fn references(name: &str, bytes: &[u8], root: &str) -> Result<Vec<Reference>, ScriptError> {
    on_stack(|| {
        let mut engine = Engine::new_raw();
        parse::limit_depth(&mut engine);
        engine.set_optimization_level(OptimizationLevel::None);
        let path = Path { root: root.to_owned(), place: Cell::new(Place::Outside) };
        let runtime = LOADED.with_borrow(Weak::upgrade);
        #[allow(deprecated)]
        engine.on_parse_token(move |token, _, _| match &runtime {
            Some(runtime) if runtime.pending_limit().is_some() => out_of_time(),
            _ => path.map(token),
        });
        let ast = engine.compile(string::script(bytes)).map_err(|error| syntax_error(name, &error))?;
        let mut found = Vec::new();
        ast.walk(&mut |nodes| {
            if let Some(ASTNode::Expr(Expr::Dot(dot, _, position))) = nodes.last() {
                found.extend(reference(dot, *position, root));
            }
            true
        });
        Ok(found)
    })
}

/// Reads a path, if the chain of dots begins with the root.
fn reference(dot: &BinaryExpr, position: Position, root: &str) -> Option<Reference> {
    let Expr::Variable(variable, _, start) = &dot.lhs else { return None };
    if variable.1.as_str() != root || !variable.2.is_empty() {
        return None;
    }
    let line = line_of(*start).or_else(|| line_of(position)).unwrap_or(1);
    let mut found = Reference { line, ..Reference::default() };
    let mut rest = &dot.rhs;
    loop {
        match rest {
            Expr::Property(property, _) => {
                found.path.push(property.2.to_string());
                break;
            }
            Expr::MethodCall(call, _) => {
                called(&mut found, call);
                break;
            }
            Expr::Dot(inner, flags, _) | Expr::Index(inner, flags, _) => {
                match &inner.lhs {
                    Expr::Property(property, _) => found.path.push(property.2.to_string()),
                    Expr::MethodCall(call, _) => {
                        called(&mut found, call);
                        break;
                    }
                    _ => break,
                }
                if matches!(rest, Expr::Index(..)) || flags.contains(ASTFlags::BREAK) {
                    break;
                }
                rest = &inner.rhs;
            }
            _ => break,
        }
    }
    Some(found)
}

fn called(found: &mut Reference, call: &FnCallExpr) {
    found.path.push(call.name.to_string());
    found.called = true;
    let texts = call.args.iter().enumerate().filter_map(|(position, argument)| match argument {
        Expr::StringConstant(text, _) => Some((position, String::from_utf8_lossy(&string::decode(text)).into_owned())),
        _ => None,
    });
    found.texts.extend(texts);
}

/// Where the tokenizer is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    /// In no path; a name after a dot is a property, so never the root.
    Outside,
    AfterDot,
    /// After the root or a name behind it.
    Name,
    /// After a separator of a path.
    Separator,
}

/// Makes each path of the root a chain of dots, whatever it is written with and like whatever keyword a name reads.
struct Path {
    root: String,
    place: Cell<Place>,
}

impl Path {
    fn map(&self, token: Token) -> Token {
        let separator = matches!(token, Token::Period | Token::DoubleColon | Token::Elvis);
        let (place, token) = match self.place.get() {
            Place::Name if separator => (Place::Separator, Token::Period),
            Place::Separator => match name_of(&token) {
                Some(name) => (Place::Name, Token::Identifier(Box::new(name.as_str().into()))),
                None => (Place::Outside, token),
            },
            // What an object has may read like a keyword; the name of the root is none.
            Place::AfterDot if !separator => match name_of(&token) {
                Some(name) if is_keyword(&token) => (Place::Outside, Token::Identifier(Box::new(name.as_str().into()))),
                _ => (Place::Outside, token),
            },
            Place::Outside | Place::Name if is_name(&token, &self.root) => (Place::Name, token),
            _ => (if separator { Place::AfterDot } else { Place::Outside }, token),
        };
        self.place.set(place);
        token
    }
}

fn is_keyword(token: &Token) -> bool {
    !matches!(token, Token::Identifier(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(script: &str) -> Vec<String> {
        let shown = |reference: &Reference| {
            let call = if reference.called { "()" } else { "" };
            let texts: Vec<String> = reference.texts.iter().map(|(at, text)| format!(" {at}={text}")).collect();
            format!("{}:{}{call}{}", reference.line, reference.path.join("."), texts.concat())
        };
        let mut found: Vec<_> = references("s", script.as_bytes(), "host").unwrap();
        found.sort_by_key(|reference| reference.line);
        found.iter().map(shown).collect()
    }

    #[test]
    fn comments_and_texts_name_nothing() {
        let script = "/* /* */ host.a.comment() */ // host.a.line()\nlet x = \"host.a.text()\";\n\
                      let y = `host.a.raw() ${ host.a.inside() + `${`host.a.deeper`}` }`; /* host.a.last() */";
        assert_eq!(found(script), ["3:a.inside()"]);
    }

    #[test]
    fn what_is_called_is_told_apart_from_what_is_asked_for() {
        let script = "if host.tm {\n host.tm.t_new(); }\nlet f = host.tm.relay;\nhost.info(\"x\").len;\nhost.a.list()[0].b;\nx.host.y();";
        assert_eq!(found(script), ["1:tm", "2:tm.t_new()", "3:tm.relay", "4:info() 0=x", "5:a.list()"]);
    }

    #[test]
    fn functions_closures_and_branches_that_are_never_taken_count() {
        let script = "fn f() { let g = |x| host.a.one(x); [1].map(|y|\n host.a.two(1, \"cb\", y)); }\n\
                      if false {\n host.a.three(`plain`) }\nswitch 1 {\n 1 => host.a.four(),\n _ => #{ k:\n host.a.five(host.a.six()) } }";
        let all = ["1:a.one()", "2:a.two() 1=cb", "4:a.three() 0=plain", "6:a.four()", "8:a.five()", "8:a.six()"];
        assert_eq!(found(script), all);
    }

    #[test]
    fn names_may_read_like_keywords_and_paths_may_have_colons() {
        assert_eq!(
            found("host.t.match(1); host::t::end(2); host?.t?.import(3);"),
            ["1:t.match()", "1:t.end()", "1:t.import()"]
        );
    }

    #[test]
    fn paths_may_have_any_number_of_names() {
        let script = "host.a.b.c.d(\"x\");\nlet y = host.a.b.LEVEL.WARN;\nhost.a.b[0].c;\nhost.a.b.c().d();";
        assert_eq!(found(script), ["1:a.b.c.d() 0=x", "2:a.b.LEVEL.WARN", "3:a.b", "4:a.b.c()"]);
    }

    #[test]
    fn a_script_that_does_not_parse_has_no_references() {
        let error = references("s", &"(".repeat(5000).into_bytes(), "host").unwrap_err();
        assert_eq!((error.code, error.place.as_ref().map(|place| place.line)), (kemi_core::ErrorCode::Syntax, Some(1)));
    }
}
