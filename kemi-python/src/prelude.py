"""The Python side of the engine: what scripts find in place of a few builtins, and how they import."""

import builtins
import importlib.machinery
import importlib.util
import os
import sys
import types
import weakref

gettrace, settrace = sys.gettrace, sys.settrace


class Error(RuntimeError):
    """An error of a native function."""


class NotEnabled(Error, AttributeError):
    """The use of a module that is not enabled."""


class Disabled:
    """Stands for a module that is linked but not enabled: false, equal to None, and any use explains why."""

    __slots__ = ("_kemi_name", "_kemi_explain")

    def __init__(self, name, explain):
        self._kemi_name = name
        self._kemi_explain = explain

    def __bool__(self):
        return False

    def __eq__(self, other):
        return other is None or other is self

    def __hash__(self):
        return hash(None)

    def __getattr__(self, name):
        if is_protocol(name):
            raise AttributeError(name)
        raise self._kemi_explain(self._kemi_name)

    def __call__(self, *args, **named):
        raise self._kemi_explain(self._kemi_name)


class Message:
    """The extra argument of callbacks that are methods. It holds nothing."""

    __slots__ = ("_kemi_root",)

    def __init__(self, root):
        self._kemi_root = root

    def __getattr__(self, name):
        root = self._kemi_root
        raise AttributeError(
            f"the message object has no attribute {name!r}: read the message by {root}.pv or {root}.kx"
        )


def is_protocol(name):
    """Tells the names that Python itself asks for, such as __path__."""
    return name.startswith("__") and name.endswith("__")


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


def directory(root):
    """Makes the __dir__ of the root, which leaves out what is not enabled. It must not keep the root alive."""
    root = weakref.ref(root)
    return lambda: list(enabled(vars(root())))


def enabled(scope):
    """Returns a scope without the modules that are not enabled."""
    return {name: value for name, value in scope.items() if type(value) is not Disabled}


class Loader(importlib.machinery.SourceFileLoader):
    """Loads a module of the script's folder from its source, never from a cache that may be stale."""

    def __init__(self, fullname, path, space):
        super().__init__(fullname, path)
        self.space = space

    def get_code(self, fullname):
        return compiled(self.get_data(self.path), self.path)

    def exec_module(self, module):
        module.__dict__["__builtins__"] = self.space.builtins
        exec(self.get_code(module.__name__), module.__dict__)


# The instances by the name of their package.
spaces = {}


class Finder:
    """Finds the modules of all instances for Python's import machinery.

    It stays: taking a finder away may make an import that runs on another thread skip the one after it.
    """

    @staticmethod
    def find_spec(fullname, path=None, target=None):
        package, dot, _ = fullname.partition(".")
        space = spaces.get(package) if dot else None
        return space.find_spec(fullname, path) if space else None


class Space:
    """The namespace of one instance: its global scope, its builtins, its own modules."""

    def __init__(self, serial, root_name, root, stem, folders, log):
        self.package = f"kemi{serial}"
        self.root_name, self.root = root_name, root
        self.absent = set()
        self.message = Message(root_name)
        self.builtins = dict(vars(builtins))
        self.builtins.update(
            __kemi__=self.package,
            __import__=self.import_module,
            print=printer(log),
            exit=leave,
            quit=leave,
            getattr=get_attribute,
            hasattr=has_attribute,
        )
        package = types.ModuleType(self.package)
        package.__path__ = list(folders)
        sys.modules[self.package] = package
        spaces[self.package] = self
        self.module = types.ModuleType(f"{self.package}.{stem}")
        self.globals = self.module.__dict__
        self.globals.update({"__builtins__": self.builtins, "__package__": self.package, root_name: root})
        modules = {name: module for name, module in vars(root).items() if type(module) is types.ModuleType}
        paths = [(root_name, root), *((f"{root_name}.{name}", module) for name, module in modules.items())]
        self.tree = [(path, vars(module), enabled(vars(module))) for path, module in paths]

    def run(self, stem, name, source):
        """Runs one source in the shared global scope."""
        sys.modules[f"{self.package}.{stem}"] = self.module
        self.globals["__file__"] = name
        exec(compiled(source, name), self.globals)

    def import_module(self, name, globals=None, locals=None, fromlist=(), level=0):
        """The __import__ of the instance's scripts: the root and the script's folder come first."""
        if level == 0:
            top, _, rest = name.partition(".")
            if top == self.root_name:
                return self.import_root(rest, fromlist or ())
            own = f"{self.package}.{top}"
            if top not in self.absent:
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
                    return importlib.util.spec_from_file_location(
                        fullname, file, loader=loader, submodule_search_locations=search
                    )
        return None

    def repair(self):
        """Puts back what the script has replaced in the root's tree, and the root itself where its modules name it."""
        replaced = []
        for path, scope, bound in self.tree:
            for name, value in bound.items():
                if scope.get(name) is not value and not is_protocol(name):
                    scope[name] = value
                    replaced.append(f"{path}.{name}")
        prefix = self.package + "."
        for name, module in list(sys.modules.items()):
            scope = vars(module) if name.startswith(prefix) and module is not None else {}
            if scope is not self.globals and scope.get(self.root_name, self.root) is not self.root:
                scope[self.root_name] = self.root
                replaced.append(f"{self.root_name} in module {name.removeprefix(prefix)}")
        return replaced

    def close(self):
        """Empties the instance's modules, so that what they hold is freed now and not by a later collection."""
        spaces.pop(self.package, None)
        prefix = self.package + "."
        names = [name for name in sys.modules if name == self.package or name.startswith(prefix)]
        modules = [sys.modules.pop(name) for name in names]
        for scope in [self.globals, *(vars(module) for module in modules if module is not None)]:
            for name in reversed(list(scope)):
                if name != "__builtins__":
                    scope[name] = None
            scope.clear()
        self.root = None
        self.tree.clear()
        self.builtins.clear()


def printer(log):
    def print(*values, sep=" ", end="\n", file=None, flush=False):
        """Writes to the host's log; with file=, to that file."""
        if file is not None:
            builtins.print(*values, sep=sep, end=end, file=file, flush=flush)
            return
        text = (" " if sep is None else sep).join(map(str, values)) + ("\n" if end is None else end)
        log(text)

    return print


def leave(code=None):
    """Ends the running callback."""
    raise SystemExit(code)


def get_attribute(object, name, /, *default):
    """The builtin getattr, to which a module that is not enabled does not exist where there is a default."""
    value = getattr(object, name, *default)
    return default[0] if default and type(value) is Disabled else value


def has_attribute(object, name, /):
    """The builtin hasattr, to which a module that is not enabled does not exist."""
    try:
        return type(getattr(object, name)) is not Disabled
    except AttributeError:
        return False


def idle():
    """Does nothing, but lets an exception that is pending on this thread come out."""
    for _ in range(2):
        pass


def refuse(module, name, server=os.getpid()):
    """Replaces a function that would end the server; forked children keep it."""
    original = getattr(module, name)

    def refused(*args, **named):
        if os.getpid() == server:
            raise RuntimeError(f"{module.__name__}.{name} would end the whole server and is refused; use exit()")
        return original(*args, **named)

    setattr(module, name, refused)


def cap_recursion():
    """Keeps endless recursion an error: before Python 3.12 a higher limit lets it overflow the stack."""
    original, most = sys.setrecursionlimit, max(sys.getrecursionlimit(), 1000)

    def setrecursionlimit(limit, /):
        if limit > most:
            raise ValueError(f"the recursion limit may not exceed {most}: the stack of the server's threads is limited")
        original(limit)

    sys.setrecursionlimit = setrecursionlimit


for module in {os, sys.modules[os.name] if os.name in sys.modules else os}:
    for name in ("_exit", "abort"):
        refuse(module, name)
if sys.version_info < (3, 12):
    cap_recursion()
sys.meta_path.insert(0, Finder)
