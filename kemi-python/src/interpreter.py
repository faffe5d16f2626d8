class Placeholder:
    """The extra argument of callbacks that are methods. It holds nothing."""

    __slots__ = ("_kemi_name", "_kemi_instead")

    def __init__(self, name, instead):
        self._kemi_name, self._kemi_instead = name, instead

    def __getattr__(self, name):
        raise AttributeError(f"the {self._kemi_name} object has no attribute {name!r}: {self._kemi_instead}")


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
