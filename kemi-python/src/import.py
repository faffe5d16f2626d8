def compiled(source, name):
    """Compiles a source. Of a NUL in it Python itself does not tell the place."""
    try:
        return compile(source, name, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        if getattr(error, "filename", None):
            raise
        nul, newline = ("\0", "\n") if isinstance(source, str) else (b"\0", b"\n")
        line = source.partition(nul)[0].count(newline) + 1
        raise SyntaxError(str(error), (name, line, 0, None)) from None


class Loader(importlib.machinery.SourceFileLoader):
    """Loads a module of the script's folder from its source, never from a cache that may be stale."""

    def __init__(self, fullname, path, namespace):
        super().__init__(fullname, path)
        self.namespace = namespace

    def get_code(self, fullname):
        return compiled(self.get_data(self.path), self.path)

    def exec_module(self, module):
        module.__dict__["__builtins__"] = self.namespace.builtins
        exec(self.get_code(module.__name__), module.__dict__)


# The instances by the name of their package.
namespaces = {}


class Finder:
    """Finds the modules of all instances for Python's import machinery.

    It stays: taking a finder away may make an import that runs on another thread skip the one after it.
    """

    @staticmethod
    def find_spec(fullname, path=None, target=None):
        package, dot, _ = fullname.partition(".")
        namespace = namespaces.get(package) if dot else None
        return namespace.find_spec(fullname, path) if namespace else None


def modules_of(path, module):
    """Lists a module of the root's tree and all within it, with their paths."""
    yield path, module
    for name, value in vars(module).items():
        if type(value) is types.ModuleType:
            yield from modules_of(f"{path}.{name}", value)


class Namespace:
    """The namespace of one instance: its global scope, its builtins, its own modules."""

    def __init__(self, serial, root_name, root, stem, folders, log):
        self.package = f"kemi{serial}"
        self.root_name, self.root = root_name, root
        self.absent = set()
        # What the instance has in Python's list of modules, in order. The list itself has those of all instances.
        self.names = {self.package: None}
        # Whether a class of the script has a __del__.
        self.finalizes = False
        # What `import builtins` gives the scripts of this instance; what they put there stays with them.
        self.builtins_module = types.ModuleType("builtins")
        self.builtins = self.builtins_module.__dict__
        self.builtins.update(vars(builtins))
        self.builtins.update(
            __kemi__=self.package,
            __import__=self.import_module,
            __build_class__=self.build_class,
            print=printer(log),
            exit=leave,
            quit=leave,
            getattr=get_attribute,
            hasattr=has_attribute,
        )
        package = types.ModuleType(self.package)
        package.__path__ = list(folders)
        sys.modules[self.package] = package
        namespaces[self.package] = self
        self.module = types.ModuleType(f"{self.package}.{stem}")
        self.globals = self.module.__dict__
        self.globals.update({"__builtins__": self.builtins, "__package__": self.package, root_name: root})
        self.tree = [(path, vars(module), enabled(vars(module))) for path, module in modules_of(root_name, root)]

    def run(self, stem, name, source):
        """Runs one source in the shared global scope."""
        own = f"{self.package}.{stem}"
        self.names[own] = None
        sys.modules[own] = self.module
        self.globals["__file__"] = name
        exec(compiled(source, name), self.globals)

    def build_class(self, function, name, /, *bases, **named):
        """The builtin behind `class`; it notes what has finalizers."""
        made = builtins.__build_class__(function, name, *bases, **named)
        if type(made) is type and "__del__" in made.__dict__:
            self.finalizes = True
        return made

    def import_module(self, name, globals=None, locals=None, fromlist=(), level=0):
        """The __import__ of the instance's scripts: the root and the script's folder come first."""
        if level == 0:
            top, _, rest = name.partition(".")
            if top == self.root_name:
                return self.import_root(rest, fromlist or ())
            if name == "builtins":
                return self.builtins_module
            own = f"{self.package}.{top}"
            # While the script is ended its package is there no more.
            if top not in self.absent and self.package in sys.modules:
                if own in sys.modules or self.find_spec(own, sys.modules[self.package].__path__):
                    module = builtins.__import__(f"{self.package}.{name}", globals, locals, fromlist, 0)
                    return module if fromlist else sys.modules[own]
                self.absent.add(top)
        return builtins.__import__(name, globals, locals, fromlist, level)

    def import_root(self, rest, fromlist):
        module = self.root
        for part in filter(None, rest.split(".")):
            module = getattr(module, part)
        for item in fromlist:
            if item != "*":
                getattr(module, item)
        return module if fromlist else self.root

    def find_spec(self, fullname, path):
        """Finds modules of this instance."""
        name = fullname.rpartition(".")[2]
        for folder in path or ():
            inner = os.path.join(folder, name)
            for file, search in ((os.path.join(inner, "__init__.py"), [inner]), (inner + ".py", None)):
                if os.path.isfile(file):
                    loader = Loader(fullname, file, self)
                    self.names[fullname] = None
                    return importlib.util.spec_from_file_location(
                        fullname, file, loader=loader, submodule_search_locations=search
                    )
        return None

    def retire(self):
        """Takes the instance's modules out of Python's list; returns their scopes, to be emptied."""
        namespaces.pop(self.package, None)
        modules = [sys.modules.pop(name, None) for name in self.names]
        scopes = [self.globals, *(vars(module) for module in modules if module is not None), self.builtins]
        self.root = None
        self.tree = []
        return scopes


sys.meta_path.insert(0, Finder)
