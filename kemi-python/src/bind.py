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


# What messages call it where it cannot be passed.
Disabled.__name__ = Disabled.__qualname__ = "module that is not enabled"


def directory(root):
    """Makes the __dir__ of the root, which leaves out what is not enabled. It must not keep the root alive."""
    root = weakref.ref(root)
    return lambda: list(enabled(vars(root())))


def enabled(scope):
    """Returns a scope without the modules that are not enabled."""
    return {name: value for name, value in scope.items() if type(value) is not Disabled}


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
