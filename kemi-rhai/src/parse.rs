//! Source text to syntax tree. Since each token passes here, this is also where parsing ends when its time is over.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use kemi_core::Location;
use kemi_core::engine::Runtime;
use rhai::{AST, Engine, LexError, OptimizationLevel, ParseError, Position, Scope, Token};

use crate::integrity::RootName;
use crate::interrupt::BETWEEN_OPERATIONS;
use crate::program::line_of;
use crate::string;

/// How deep expressions and blocks may nest, where `a + b + c` counts as nested too; without optimisation parsing that
/// much takes 0.5 MB of stack.
const EXPRESSION_DEPTH: usize = 256;

/// Up to how many bytes of source Rhai's optimizer is run: it takes quadratic time for many constants in a block, in which
/// nothing looks at the clock.
const MAX_OPTIMIZED: usize = 256 << 10;

/// How many cases of a `switch` there may be: Rhai takes quadratic time for them, in which nothing looks at the clock.
const MAX_CASES: u32 = 5_000;

/// Limits how deep a text may nest.
pub(crate) fn limit_depth(engine: &mut Engine) {
    engine.set_max_expr_depths(EXPRESSION_DEPTH, EXPRESSION_DEPTH);
}

/// The parser of one engine: what it knows of the text that is being read.
pub(crate) struct Parser {
    runtime: Rc<Runtime>,
    root: RootName,
    /// The file that is being parsed, if its name is known.
    file: RefCell<String>,
    last: Cell<Position>,
    /// The cases since the last `switch`.
    cases: Cell<u32>,
    refusal: RefCell<Option<String>>,
}

impl Parser {
    pub(crate) fn new(runtime: &Rc<Runtime>) -> Parser {
        Parser {
            runtime: runtime.clone(),
            root: RootName::new(runtime.registry()),
            file: RefCell::default(),
            last: Cell::new(Position::NONE),
            cases: Cell::new(0),
            refusal: RefCell::new(None),
        }
    }

    /// Lets the parser choose what is optimized.
    pub(crate) fn limit(engine: &mut Engine) {
        limit_depth(engine);
        engine.set_optimization_level(OptimizationLevel::None);
    }

    /// Has each token of the engine pass through the parser.
    pub(crate) fn install(self: &Rc<Self>, engine: &mut Engine) {
        let parser = self.clone();
        #[allow(deprecated)]
        engine.on_parse_token(move |token, position, _| parser.map(token, position));
    }

    /// Parses a file of the script, within the time that the call may take.
    pub(crate) fn parse(&self, engine: &Engine, file: &str, bytes: &[u8]) -> Result<AST, ParseError> {
        let text = string::script(bytes);
        self.restart();
        file.clone_into(&mut self.file.borrow_mut());
        let mut ast = engine.compile(&text)?;
        self.restart();
        if text.len() <= MAX_OPTIMIZED {
            ast = engine.optimize_ast(&Scope::new(), ast, OptimizationLevel::Simple);
        }
        ast.set_source(file);
        Ok(ast)
    }

    /// Returns why the last text was refused, if it was not by Rhai itself, and begins anew.
    pub(crate) fn take_refusal(&self) -> Option<String> {
        let refusal = self.refusal.take();
        self.restart();
        refusal
    }

    /// Forgets where the tokenizer was: before a new text, and after one that did not parse.
    fn restart(&self) {
        self.file.borrow_mut().clear();
        self.cases.set(0);
        self.root.restart();
        self.last.set(Position::NONE);
        self.refusal.take();
    }

    /// Maps one token.
    fn map(&self, token: Token, position: Position) -> Token {
        // The end of a text is not told; a position that goes back is the next text. Columns end at 65535.
        if position <= self.last.replace(position) && position.position() != Some(usize::from(u16::MAX)) {
            self.root.restart();
        }
        if self.runtime.pending_limit().is_some() {
            return self.end(position);
        }
        match token {
            Token::Switch => self.cases.set(0),
            Token::DoubleArrow => self.cases.set(self.cases.get() + 1),
            _ => {}
        }
        if self.cases.get() > MAX_CASES {
            return self.refuse(format!("a switch has more than {MAX_CASES} cases; use a map instead"));
        }
        self.root.map(token).unwrap_or_else(|message| self.refuse(message))
    }

    /// Ends the call that has used up a limit.
    #[cold]
    fn end(&self, position: Position) -> Token {
        if self.runtime.limit_hit().is_none() {
            self.runtime.poll(BETWEEN_OPERATIONS);
        }
        let file = self.file.borrow();
        if let (Some(limit), Some(line), false) = (self.runtime.limit_hit(), line_of(position), file.is_empty()) {
            self.runtime.hit_limit(limit, Some(Location { file: file.clone(), line }));
        }
        out_of_time()
    }

    #[cold]
    fn refuse(&self, message: String) -> Token {
        *self.refusal.borrow_mut() = Some(message.clone());
        lex_error(message)
    }
}

/// Returns what comes instead of a token once the time is over; no parser gets past it.
#[cold]
pub(crate) fn out_of_time() -> Token {
    lex_error("parsing took too long".to_owned())
}

fn lex_error(message: String) -> Token {
    Token::LexError(Box::new(LexError::Runtime(message)))
}
