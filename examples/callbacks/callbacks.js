let logins = 0;

app.on("login", (who) => {
    logins += 1;
    return `${who} is number ${logins}`;
});

app.on("logout", (who) => {
    app.off("login");
    return `bye, ${who}`;
});
