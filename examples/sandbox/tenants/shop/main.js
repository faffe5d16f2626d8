const prices = require("./prices");

function order(item) {
    return app.mail.send("shop", `${item} for ${prices[item]}`);
}

function clock() {
    return Date.now() > 0 ? "it is later than 1970" : "it is early";
}
