"""The Python side of the engine: what scripts find in place of a few builtins, and how they import."""

import _signal
import _thread
import ast
import builtins
import faulthandler
import functools
import gc
import importlib.machinery
import importlib.util
import os
import signal
import sys
import types
import weakref

gettrace, settrace = sys.gettrace, sys.settrace
collect = gc.collect
set_signal, set_wakeup_fd = _signal.signal, _signal.set_wakeup_fd


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
        # Whether a class of the script has a __del__.
        self.finalizes = False
        self.message = Message(root_name)
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

    def retire(self):
        """Takes the instance's modules out of Python's list; returns their scopes, to be emptied."""
        spaces.pop(self.package, None)
        prefix = self.package + "."
        names = [name for name in sys.modules if name == self.package or name.startswith(prefix)]
        modules = [sys.modules.pop(name) for name in names]
        scopes = [self.globals, *(vars(module) for module in modules if module is not None), self.builtins]
        self.root = None
        self.tree = []
        return scopes


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


def refuse(module, name, why, error=RuntimeError, refuses=lambda *args, **named: True, server=os.getpid()):
    """Replaces a function that would harm the server; forked children keep it."""
    original = getattr(module, name, None)
    if original is None:
        return

    @functools.wraps(original)
    def refused(*args, **named):
        if os.getpid() == server and refuses(*args, **named):
            raise error(f"{module.__name__.lstrip('_')}.{name} {why}")
        return original(*args, **named)

    setattr(module, name, refused)


def hits_server(pid, number=None, *rest):
    """Tells whether a signal would reach the server itself."""
    if number == 0 or not isinstance(pid, int):
        return False
    return pid in (0, -1, os.getpid(), -os.getpgrp())


def hits_group(group, number=None, *rest):
    return number != 0 and group in (0, os.getpgrp())


def keep_own_signal(module):
    """Keeps the signals that interrupt scripts from being blocked."""
    original = module.pthread_sigmask

    @functools.wraps(original)
    def pthread_sigmask(how, mask, /):
        return original(how, [number for number in mask if number < signal.SIGRTMIN or how == signal.SIG_UNBLOCK])

    module.pthread_sigmask = pthread_sigmask


def system(command):
    """The os.system that can be interrupted: the one of the C library cannot."""
    sys.audit("os.system", command)
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", os.fsdecode(command)], os.environ)
    return os.waitpid(pid, 0)[1]


def cap_recursion():
    """Keeps endless recursion an error: before Python 3.12 a higher limit lets it overflow the stack."""
    original, most = sys.setrecursionlimit, max(sys.getrecursionlimit(), 1000)

    def setrecursionlimit(limit, /):
        if limit > most:
            raise ValueError(f"the recursion limit may not exceed {most}: the stack of the server's threads is limited")
        original(limit)

    sys.setrecursionlimit = setrecursionlimit


def cap_digits(most=100_000):
    """Keeps the conversion of digits, which nothing can interrupt, short."""
    original = sys.set_int_max_str_digits

    def set_int_max_str_digits(maxdigits):
        if maxdigits == 0 or maxdigits > most:
            raise ValueError(f"the limit may not exceed {most} digits: nothing can end the conversion of more in time")
        original(maxdigits)

    sys.set_int_max_str_digits = set_int_max_str_digits


def underlying(function):
    """Follows a callable to the function with code behind it; returns it with what it is given besides.

    That is how many positional arguments, and the names of others.
    """
    given, named = 0, set()
    for _ in range(100):
        if type(function) is types.FunctionType:
            return function, given, named
        if type(function) is types.MethodType:
            given += 1
            function = function.__func__
        elif isinstance(function, functools.partial):
            given += len(function.args)
            named |= set(function.keywords)
            function = function.func
        else:
            call = getattr(type(function), "__call__", None)
            if type(call) is not types.FunctionType:
                break
            given += 1
            function = call
    return None


def refused(function, count):
    """Tells why a callable cannot be called with so many positional arguments: its parameters, file and line."""
    found = underlying(function)
    if found is None:
        return None
    function, given, named = found
    code = function.__code__
    positional = code.co_varnames[: code.co_argcount]
    keywords = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    optional = positional[len(positional) - len(function.__defaults__ or ()) :]
    takes_more, takes_names = code.co_flags & 4, code.co_flags & 8
    filled = positional[: given + count]
    missing = [name for name in positional[given + count :] if name not in named and name not in optional]
    missing += [name for name in keywords if name not in named and name not in (function.__kwdefaults__ or {})]
    only_positional = positional[: code.co_posonlyargcount]
    doubled = [name for name in filled if name in named and name not in only_positional]
    too_many = given + count > len(positional) and not takes_more
    unknown = [name for name in named if name not in (*positional, *keywords)] and not takes_names
    if not (missing or doubled or too_many or unknown):
        return None
    return parameters(function, positional, keywords, optional), code.co_filename, code.co_firstlineno


def parameters(function, positional, keywords, optional):
    """Words the parameters of a function as its definition does."""
    code = function.__code__
    texts = [name + "=..." if name in optional else name for name in positional]
    if 0 < code.co_posonlyargcount <= len(texts):
        texts.insert(code.co_posonlyargcount, "/")
    rest = code.co_varnames[code.co_argcount + code.co_kwonlyargcount :]
    if code.co_flags & 4:
        texts.append("*" + rest[0])
    elif keywords:
        texts.append("*")
    texts += [name + "=..." if name in (function.__kwdefaults__ or {}) else name for name in keywords]
    if code.co_flags & 8:
        texts.append("**" + rest[1 if code.co_flags & 4 else 0])
    return f"({', '.join(texts)})"


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def references(source, name, root):
    """Lists the paths that begin with the root: names, line, whether it is called, the texts among its arguments."""
    tree = compile(source, name, "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
    shadows = any(binds(node, root) for node in ast.walk(tree))
    found = []
    # With each node whether the name stands for something else there, and whether an unknown name is dealt with.
    pending = [(tree, False, False)]
    while pending:
        node, hidden, tested = pending.pop()
        if shadows and isinstance(node, FUNCTIONS):
            hidden = shadowed(node, root, hidden)
        if isinstance(node, ast.Try) and any(catches(handler.type) for handler in node.handlers):
            pending += [(child, hidden, True) for child in node.body]
            pending += [(child, hidden, tested) for child in (*node.handlers, *node.orelse, *node.finalbody)]
            continue
        if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").split(".")[0] == root:
            above = node.module.split(".")[1:]
            found += [(above + [alias.name], node.lineno, False, []) for alias in node.names if alias.name != "*"]
            continue
        if hidden:
            pending += [(child, hidden, tested) for child in ast.iter_child_nodes(node)]
            continue
        if isinstance(node, ast.Call):
            path, base = chain(node.func, root)
            if path:
                found.append((path, base.lineno, True, texts(node.args)))
                if tested:
                    found.append((path, base.lineno, False, []))
                pending += [(child, hidden, tested) for child in (*node.args, *node.keywords)]
                continue
            asked = asks(node, root)
            if asked:
                found.append(asked)
        elif isinstance(node, ast.Attribute):
            path, base = chain(node, root)
            if path:
                found.append((path, base.lineno, False, []))
                continue
        pending += [(child, hidden, tested) for child in ast.iter_child_nodes(node)]
    return found


def chain(node, root):
    """Returns the names of `root.a.b`, and the node of `root`."""
    path = []
    while isinstance(node, ast.Attribute):
        path.append(node.attr)
        node = node.value
    if path and isinstance(node, ast.Name) and node.id == root:
        return path[::-1], node
    return None, None


def texts(args):
    found = []
    for position, arg in enumerate(args):
        if isinstance(arg, ast.Starred):
            break
        if isinstance(arg, ast.Constant) and isinstance(arg.value, str):
            found.append((position, arg.value.encode("utf-8", "replace").decode()))
    return found


def asks(node, root):
    """Returns what `hasattr(root.a, "b")` asks for."""
    if not (isinstance(node.func, ast.Name) and node.func.id in ("hasattr", "getattr") and len(node.args) > 1):
        return None
    path, base = chain(node.args[0], root)
    if path is None and isinstance(node.args[0], ast.Name) and node.args[0].id == root:
        path, base = [], node.args[0]
    named = dict(texts(node.args)).get(1)
    return (path + [named], base.lineno, False, []) if path is not None and named else None


def catches(handler):
    names = handler.elts if isinstance(handler, ast.Tuple) else [handler]
    return any(isinstance(name, ast.Name) and name.id == "AttributeError" for name in names)


def binds(node, root):
    """Tells whether a node gives the root's name another meaning."""
    if isinstance(node, ast.Name):
        return node.id == root and not isinstance(node.ctx, ast.Load)
    if isinstance(node, ast.arg):
        return node.arg == root
    if isinstance(node, (*FUNCTIONS[:2], ast.ClassDef, ast.ExceptHandler)):
        return node.name == root
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return any(alias.asname == root and alias.name != root for alias in node.names)
    return False


def shadowed(function, root, hidden):
    """Tells whether the root's name is a local one in a function."""
    body = function.body if isinstance(function.body, list) else [function.body]
    pending = [function.args, *body]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Global) and root in node.names:
            return False
        if binds(node, root):
            return True
        if not isinstance(node, FUNCTIONS):
            pending += ast.iter_child_nodes(node)
    return hidden


for module in {os, sys.modules[os.name] if os.name in sys.modules else os}:
    for name in ("_exit", "abort"):
        refuse(module, name, "would end the whole server and is refused; use exit()")
    for name in ("execv", "execve"):
        refuse(module, name, "would replace the whole server and is refused; use subprocess")
    if hasattr(os, "kill"):
        refuse(module, "kill", "would reach the server itself and is refused; use exit()", refuses=hits_server)
        refuse(module, "killpg", "would reach the server itself and is refused; use exit()", refuses=hits_group)
    if hasattr(os, "posix_spawn"):
        module.system = system
for module in (_signal, signal):
    for name in ("alarm", "setitimer", "raise_signal", "pthread_kill", "siginterrupt"):
        refuse(module, name, "concerns the whole server and is refused")
    if hasattr(module, "pthread_sigmask"):
        keep_own_signal(module)
    # What those who try it expect on any thread but the main one.
    for name in ("signal", "set_wakeup_fd"):
        refuse(module, name, "concerns the whole server and is refused", error=ValueError)
for name in ("dump_traceback_later", "register"):
    refuse(faulthandler, name, "concerns the whole server and is refused")
refuse(_thread, "interrupt_main", "concerns the whole server and is refused")
if sys.version_info < (3, 12):
    cap_recursion()
if hasattr(sys, "set_int_max_str_digits"):
    cap_digits()
sys.meta_path.insert(0, Finder)
