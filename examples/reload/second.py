def on_call(name):
    return "good evening, " + name
