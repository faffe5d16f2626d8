def on_call(name):
    return "hello, " + name
