def on_cal(name):
    return "typo"
