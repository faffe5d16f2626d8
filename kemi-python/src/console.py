def printer(log):
    def print(*values, sep=" ", end="\n", file=None, flush=False):
        """Writes to the host's log; with file=, to that file."""
        if file is not None:
            builtins.print(*values, sep=sep, end=end, file=file, flush=flush)
            return
        text = (" " if sep is None else sep).join(map(str, values)) + ("\n" if end is None else end)
        log(text)

    return print
