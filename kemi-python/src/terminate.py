def leave(code=None):
    """Ends the running callback."""
    raise SystemExit(code)


def idle():
    """Does nothing, but lets an exception that is pending on this thread come out."""
    for _ in range(2):
        pass
