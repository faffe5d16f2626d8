class Error(RuntimeError):
    """An error of a native function."""


class NotEnabled(Error, AttributeError):
    """The use of a module that is not enabled."""
