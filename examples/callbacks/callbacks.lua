local logins = 0

app.on("login", function(who)
    logins = logins + 1
    return who .. " is number " .. logins
end)

app.on("logout", function(who)
    app.off("login")
    return "bye, " .. who
end)
