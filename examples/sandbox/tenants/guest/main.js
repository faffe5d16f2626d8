function order(item) {
    return `${item}, please`;
}

// What follows is none of its business.
function mail(item) {
    return app.mail.send("everybody", `buy ${item}`);
}

function clock() {
    return `it is ${Date.now()}`;
}

function steal(item) {
    return `the price is ${require("../shop/prices")[item]}`;
}
