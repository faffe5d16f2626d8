//! `import "name"`: modules are files, from where the script's profile allows them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use kemi_core::engine::Runtime;
use kemi_core::limits::{self, Needs};
use kemi_core::{Location, NativeError};
use rhai::{AST, Engine, EvalAltResult, GlobalRuntimeState, Module, ModuleResolver, Position, Scope, Shared};

use crate::call::CallState;
use crate::error::raise;
use crate::objects::hidden_method;
use crate::parse::Parser;
use crate::program::line_of;
use crate::terminate::exceeded_limit;

type Resolved = Result<Shared<Module>, Box<EvalAltResult>>;

/// Finds modules in the folder of the file that imports them, then in the folders for modules.
///
/// Each file is run once for an interpreter; errors name it with its whole path.
pub(crate) struct Imports {
    runtime: Rc<Runtime>,
    state: Rc<CallState>,
    parser: Rc<Parser>,
    loaded: RefCell<BTreeMap<PathBuf, Shared<Module>>>,
    loading: RefCell<BTreeSet<PathBuf>>,
}

impl Imports {
    pub(crate) fn new(state: &Rc<CallState>, parser: &Rc<Parser>) -> Imports {
        let (runtime, state, parser) = (state.runtime().clone(), state.clone(), parser.clone());
        Imports { runtime, state, parser, loaded: RefCell::default(), loading: RefCell::default() }
    }

    fn find(&self, importer: Option<&str>, name: &str, position: Position) -> Result<PathBuf, Box<EvalAltResult>> {
        let refused = |refusal| raise(&self.runtime, NativeError::Error(refusal), position);
        let profile = self.runtime.registry().profile();
        if *profile.where_from() == limits::Imports::Nothing {
            return Err(refused(profile.refuse("import", Needs::Imports)));
        }
        let modules = self.runtime.modules();
        let mut file = PathBuf::from(name);
        if file.extension().is_none_or(|ending| ending != "rhai") {
            file.as_mut_os_string().push(".rhai");
        }
        let beside = importer.and_then(|importer| self.folder_of_module(importer));
        let folders = beside.iter().chain(modules.folders());
        let mut candidates: Vec<PathBuf> = Vec::new();
        for candidate in folders.map(|folder| folder.join(&file)) {
            if self.loaded.borrow().contains_key(&candidate) || modules.find(&candidate).map_err(refused)?.is_some() {
                return Ok(candidate);
            }
            if !candidates.contains(&candidate) {
                candidates.push(candidate);
            }
        }
        let tried: Vec<String> = candidates.iter().map(|path| path.display().to_string()).collect();
        let tried = if tried.is_empty() { "no folder: the script is not a file".to_owned() } else { tried.join(", ") };
        // Rhai's own error for this would lose where the module was looked for.
        let message = format!("there is no module '{name}' to import: looked for {tried}");
        Err(EvalAltResult::ErrorRuntime(message.into(), position).into())
    }

    /// Returns the folder of a module's file; other sources are the scripts, whose folders are known.
    fn folder_of_module(&self, source: &str) -> Option<PathBuf> {
        let path = Path::new(source);
        let is_module = self.loaded.borrow().contains_key(path) || self.loading.borrow().contains(path);
        path.parent().filter(|_| is_module).map(Path::to_path_buf)
    }

    /// Refuses a file that hides what it calls.
    fn checked(&self, ast: AST) -> Result<AST, Box<EvalAltResult>> {
        match hidden_method(&self.state, std::slice::from_ref(&ast)) {
            Some((_, position, message)) => Err(EvalAltResult::ErrorRuntime(message.into(), position).into()),
            None => Ok(ast),
        }
    }

    fn load(&self, engine: &Engine, global: &mut GlobalRuntimeState, path: &Path) -> Resolved {
        let name = path.display().to_string();
        let bytes = self
            .runtime
            .read_module(path)
            .map_err(|error| EvalAltResult::ErrorRuntime(error.message.clone().into(), Position::NONE))?;
        let module = self.parser.parse(engine, &name, &bytes).map_err(Into::into).and_then(|ast| self.checked(ast));
        match module.and_then(|ast| Module::eval_ast_as_new_raw(engine, &mut Scope::new(), global, &ast)) {
            Ok(module) => Ok(module.into()),
            Err(error) => {
                // Noted before the script can catch what is wrapped into an error of the import.
                if let Some(limit) = exceeded_limit(&self.runtime, &error) {
                    let place = line_of(error.position()).map(|line| Location { file: name, line });
                    self.runtime.hit_limit(limit, place);
                }
                Err(error)
            }
        }
    }
}

impl ModuleResolver for Imports {
    fn resolve_raw(
        &self,
        engine: &Engine,
        global: &mut GlobalRuntimeState,
        _scope: &mut Scope<'_>,
        name: &str,
        position: Position,
    ) -> Resolved {
        let path = self.find(global.source(), name, position)?;
        if let Some(module) = self.loaded.borrow().get(&path) {
            return Ok(module.clone());
        }
        if !self.loading.borrow_mut().insert(path.clone()) {
            let message = format!("{} imports itself, directly or by way of others", path.display());
            return Err(EvalAltResult::ErrorRuntime(message.into(), position).into());
        }
        let result = self.load(engine, global, &path);
        self.loading.borrow_mut().remove(&path);
        let module = result
            .map_err(|error| Box::new(EvalAltResult::ErrorInModule(path.display().to_string(), error, position)))?;
        self.loaded.borrow_mut().insert(path, module.clone());
        Ok(module)
    }

    fn resolve(&self, engine: &Engine, source: Option<&str>, name: &str, position: Position) -> Resolved {
        let mut global = engine.new_global_runtime_state();
        global.source = source.map(Into::into);
        self.resolve_raw(engine, &mut global, &mut Scope::new(), name, position)
    }
}
