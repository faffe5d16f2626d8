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
