//! A script's references to the root object, and its assignments to it, by Boa's own parser.

use std::ops::ControlFlow;

use boa_engine::ast::Spanned;
use boa_engine::ast::declaration::{Binding, VarDeclaration};
use boa_engine::ast::expression::access::{PropertyAccess, PropertyAccessField};
use boa_engine::ast::expression::literal::LiteralKind;
use boa_engine::ast::expression::operator::assign::{Assign, AssignTarget};
use boa_engine::ast::expression::operator::binary::{Binary, BinaryOp, RelationalOp};
use boa_engine::ast::expression::operator::unary::{Unary, UnaryOp};
use boa_engine::ast::expression::operator::update::{Update, UpdateTarget};
use boa_engine::ast::expression::{Call, Expression, Identifier, Optional, OptionalOperationKind};
use boa_engine::ast::function::{FormalParameter, FunctionBody};
use boa_engine::ast::visitor::{VisitWith, Visitor};
use boa_engine::interner::{Interner, Sym};
use boa_engine::parser::Parser;
use kemi_core::ScriptError;
use kemi_core::engine::Reference;

use crate::{error, nesting, stack};

/// The uses of the root object in a text.
#[derive(Default)]
pub(crate) struct RootUses {
    pub(crate) references: Vec<Reference>,
    pub(crate) changes: Vec<Change>,
    /// Set if something else in it has the root's name.
    pub(crate) is_shadowed: bool,
}

/// An assignment to the root object or something in it, or its deletion.
pub(crate) struct Change {
    /// Behind the root.
    pub(crate) path: Vec<String>,
    pub(crate) line: u32,
    /// Set if it stands in a function.
    pub(crate) is_in_function: bool,
}

/// Reads a text.
///
/// # Errors
/// It cannot be parsed, or nests too deep.
pub(crate) fn read(code: &str, name: &str, root: &str) -> Result<RootUses, ScriptError> {
    let mut uses = RootUses::default();
    if !code.contains(root) {
        return Ok(uses);
    }
    if !nesting::is_short(code.len()) {
        nesting::check(code, nesting::Goal::Script, nesting::DEPTH_THERE, None).map_err(|stop| stop.error(name))?;
    }
    let walked = stack::on_large(nesting::stack_for(code.len()), || {
        let mut interner = Interner::default();
        let parsed = Parser::new(boa_engine::Source::from_bytes(code)).parse_eval(false, &mut interner);
        let (script, _) = parsed.map_err(|error| error::unparsed(&error.to_string(), name, code))?;
        let mut walk = Walk { interner: &interner, root, functions: 0, uses: &mut uses };
        let _ = script.visit_with(&mut walk);
        Ok(())
    });
    walked.unwrap_or_else(|| Err(nesting::Stop::Deep(1).error(name)))?;
    Ok(uses)
}

struct Walk<'a> {
    interner: &'a Interner,
    root: &'a str,
    functions: u32,
    uses: &'a mut RootUses,
}

impl Walk<'_> {
    fn text(&self, sym: Sym) -> String {
        self.interner.resolve_expect(sym).to_string()
    }

    fn is_root(&self, name: Identifier) -> bool {
        self.text(name.sym()) == self.root
    }

    /// Reads `root.a.b`, also in brackets or of `globalThis`; returns the names and the line.
    fn path(&self, expression: &Expression) -> Option<(Vec<String>, u32)> {
        match expression {
            Expression::Parenthesized(inner) => self.path(inner.expression()),
            Expression::Identifier(name) if self.is_root(*name) => {
                Some((Vec::new(), name.span().start().line_number()))
            }
            Expression::PropertyAccess(access) => self.access(access),
            _ => None,
        }
    }

    fn access(&self, access: &PropertyAccess) -> Option<(Vec<String>, u32)> {
        let PropertyAccess::Simple(access) = access else { return None };
        let name = self.name(access.field())?;
        if let Expression::Identifier(global) = access.target()
            && self.text(global.sym()) == "globalThis"
        {
            return (name == self.root).then(|| (Vec::new(), global.span().start().line_number()));
        }
        let (mut path, line) = self.path(access.target())?;
        path.push(name);
        Some((path, line))
    }

    fn name(&self, field: &PropertyAccessField) -> Option<String> {
        match field {
            PropertyAccessField::Const(name) => Some(self.text(name.sym())),
            PropertyAccessField::Expr(expression) => match &**expression {
                Expression::Literal(literal) => match literal.kind() {
                    LiteralKind::String(text) => Some(self.text(*text)),
                    _ => None,
                },
                _ => None,
            },
        }
    }

    fn texts(&self, args: &[Expression]) -> Vec<(usize, String)> {
        let spread = args.iter().position(|arg| matches!(arg, Expression::Spread(_))).unwrap_or(args.len());
        let plain = args.iter().take(spread).enumerate().filter_map(|(i, arg)| match arg {
            Expression::Literal(literal) => match literal.kind() {
                LiteralKind::String(text) => Some((i, self.text(*text))),
                _ => None,
            },
            _ => None,
        });
        plain.collect()
    }

    fn refer(&mut self, path: Vec<String>, line: u32, called: bool, texts: Vec<(usize, String)>) {
        if !path.is_empty() {
            self.uses.references.push(Reference { path, line, called, texts });
        }
    }

    fn change(&mut self, changed: Option<(Vec<String>, u32)>) {
        let is_in_function = self.functions > 0;
        self.uses.changes.extend(changed.map(|(path, line)| Change { path, line, is_in_function }));
    }
}

impl<'ast> Visitor<'ast> for Walk<'_> {
    type BreakTy = ();

    fn visit_call(&mut self, node: &'ast Call) -> ControlFlow<()> {
        let Some((path, line)) = self.path(node.function()) else { return node.visit_with(self) };
        let texts = self.texts(node.args());
        self.refer(path, line, true, texts);
        node.args().iter().try_for_each(|arg| self.visit_expression(arg))
    }

    fn visit_optional(&mut self, node: &'ast Optional) -> ControlFlow<()> {
        let Some((mut path, line)) = self.path(node.target()) else { return node.visit_with(self) };
        let (mut called, mut texts) = (false, Vec::new());
        for operation in node.chain() {
            match operation.kind() {
                OptionalOperationKind::SimplePropertyAccess { field } if !called => match self.name(field) {
                    Some(name) => path.push(name),
                    None => break,
                },
                OptionalOperationKind::Call { args } if !called => {
                    called = true;
                    texts = self.texts(args);
                }
                _ => break,
            }
        }
        // What is asked for by `?.` may be missing.
        for length in 1..=path.len() {
            self.refer(path.get(..length).unwrap_or_default().to_vec(), line, false, Vec::new());
        }
        self.refer(path, line, called, texts);
        for operation in node.chain() {
            if let OptionalOperationKind::Call { args } = operation.kind() {
                args.iter().try_for_each(|arg| self.visit_expression(arg))?;
            }
        }
        ControlFlow::Continue(())
    }

    fn visit_binary(&mut self, node: &'ast Binary) -> ControlFlow<()> {
        // `"name" in root` asks for the name.
        if let (BinaryOp::Relational(RelationalOp::In), Expression::Literal(name)) = (node.op(), node.lhs())
            && let LiteralKind::String(name) = name.kind()
            && let Some((mut path, line)) = self.path(node.rhs())
        {
            path.push(self.text(*name));
            self.refer(path, line, false, Vec::new());
        }
        node.visit_with(self)
    }

    fn visit_property_access(&mut self, node: &'ast PropertyAccess) -> ControlFlow<()> {
        match self.access(node) {
            Some((path, line)) => {
                self.refer(path, line, false, Vec::new());
                ControlFlow::Continue(())
            }
            None => node.visit_with(self),
        }
    }

    fn visit_assign(&mut self, node: &'ast Assign) -> ControlFlow<()> {
        match node.lhs() {
            AssignTarget::Identifier(name) if self.is_root(*name) => {
                self.change(Some((Vec::new(), name.span().start().line_number())));
            }
            AssignTarget::Access(access) => match self.access(access) {
                Some(path) => self.change(Some(path)),
                None => access.visit_with(self)?,
            },
            AssignTarget::Pattern(pattern) => {
                // A name in it is assigned to.
                let mut names = Names { walk: self, line: None };
                let _ = pattern.visit_with(&mut names);
                let line = names.line;
                self.change(line.map(|line| (Vec::new(), line)));
                pattern.visit_with(self)?;
            }
            AssignTarget::Identifier(_) => {}
        }
        self.visit_expression(node.rhs())
    }

    fn visit_update(&mut self, node: &'ast Update) -> ControlFlow<()> {
        match node.target() {
            UpdateTarget::Identifier(name) if self.is_root(*name) => {
                self.change(Some((Vec::new(), name.span().start().line_number())));
            }
            UpdateTarget::PropertyAccess(access) => {
                let path = self.access(access);
                self.change(path);
            }
            UpdateTarget::Identifier(_) => {}
        }
        node.visit_with(self)
    }

    fn visit_unary(&mut self, node: &'ast Unary) -> ControlFlow<()> {
        if node.op() == UnaryOp::Delete {
            let path = self.path(node.target());
            self.change(path);
        }
        node.visit_with(self)
    }

    fn visit_var_declaration(&mut self, node: &'ast VarDeclaration) -> ControlFlow<()> {
        for variable in node.0.as_ref() {
            if let Binding::Identifier(name) = variable.binding()
                && self.is_root(*name)
            {
                if self.functions > 0 {
                    self.uses.is_shadowed = true;
                } else if variable.init().is_some() {
                    self.change(Some((Vec::new(), name.span().start().line_number())));
                }
            }
        }
        node.visit_with(self)
    }

    fn visit_binding(&mut self, node: &'ast Binding) -> ControlFlow<()> {
        if let Binding::Identifier(name) = node
            && self.functions > 0
            && self.is_root(*name)
        {
            self.uses.is_shadowed = true;
        }
        node.visit_with(self)
    }

    fn visit_formal_parameter(&mut self, node: &'ast FormalParameter) -> ControlFlow<()> {
        if let Binding::Identifier(name) = node.variable().binding()
            && self.is_root(*name)
        {
            self.uses.is_shadowed = true;
        }
        node.visit_with(self)
    }

    fn visit_function_body(&mut self, node: &'ast FunctionBody) -> ControlFlow<()> {
        self.functions += 1;
        let flow = node.visit_with(self);
        self.functions -= 1;
        flow
    }
}

/// Finds the root's name in a pattern.
struct Names<'a, 'b> {
    walk: &'a Walk<'b>,
    line: Option<u32>,
}

impl<'ast> Visitor<'ast> for Names<'_, '_> {
    type BreakTy = ();

    fn visit_identifier(&mut self, node: &'ast Identifier) -> ControlFlow<()> {
        if self.walk.is_root(*node) {
            self.line = Some(node.span().start().line_number());
        }
        ControlFlow::Continue(())
    }

    fn visit_expression(&mut self, _: &'ast Expression) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}
