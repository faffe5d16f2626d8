//! Source text to syntax tree.

use rhai::{AST, Engine, OptimizationLevel, ParseError, Scope};

use crate::integrity::Tokens;
use crate::string;

/// Up to how many bytes of source Rhai's optimizer is run: it takes quadratic time for many constants in a block, in which
/// nothing looks at the clock.
const MAX_OPTIMIZED: usize = 256 << 10;

/// Lets [`parse`] choose what is optimized.
pub(crate) fn set(engine: &mut Engine) {
    engine.set_optimization_level(OptimizationLevel::None);
}

/// Parses a file of the script, within the time that the call may take.
pub(crate) fn parse(engine: &Engine, tokens: &Tokens, name: &str, bytes: &[u8]) -> Result<AST, ParseError> {
    let text = string::script(bytes);
    tokens.begin(name);
    let mut ast = engine.compile(&text)?;
    tokens.reset();
    if text.len() <= MAX_OPTIMIZED {
        ast = engine.optimize_ast(&Scope::new(), ast, OptimizationLevel::Simple);
    }
    ast.set_source(name);
    Ok(ast)
}
