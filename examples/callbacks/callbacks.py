logins = 0

def login(who):
    global logins
    logins += 1
    return f"{who} is number {logins}"

def logout(who):
    app.off("login")
    return f"bye, {who}"

app.on("login", login)
app.on("logout", logout)
