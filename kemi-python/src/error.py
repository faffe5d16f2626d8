class Error(RuntimeError):
    """An error of a native function."""


class NotEnabled(Error, AttributeError):
    """The use of a module that is not enabled."""


class MemberError(Error, AttributeError):
    """The use of a member that an object of the host does not have."""
