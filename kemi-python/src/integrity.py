def restore_tree(namespace):
    """Puts back what the script has replaced in the root's tree, and the root itself where its modules name it."""
    replaced = []
    for path, scope, bound in namespace.tree:
        for name, value in bound.items():
            if scope.get(name) is not value and not is_protocol(name):
                scope[name] = value
                replaced.append(f"{path}.{name}")
    prefix = namespace.package + "."
    for name in list(namespace.names):
        module = sys.modules.get(name)
        scope = vars(module) if name.startswith(prefix) and module is not None else {}
        if scope is not namespace.globals and scope.get(namespace.root_name, namespace.root) is not namespace.root:
            scope[namespace.root_name] = namespace.root
            replaced.append(f"{namespace.root_name} in module {name.removeprefix(prefix)}")
    return replaced
