function on_cal(name) { return "typo"; }
