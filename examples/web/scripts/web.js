// A handler returns what is answered as JSON; nothing is an answer without a body.
const VERSION = 1;

function greet() {
    let name = app.request.param("name");
    if (app.request.query("shout")) name = name.toUpperCase();
    return { hello: name, agent: app.request.header("user-agent") };
}

function order() {
    const order = app.request.order(); // a body that is no order is answered by 400
    if (order.count > 100) app.response.refuse(422, "we do not have so many");
    app.response.status(201);
    app.response.header("location", "/orders/" + order.item);
    return { item: order.item, total: order.count * 3 };
}

function echo() {
    return app.request.json();
}

function stock() {
    const answer = app.http.get(app.setting("stock"), { item: app.request.param("item") });
    return { status: answer.status, text: answer.body };
}

function version() {
    return { version: VERSION };
}

function fail() {
    const title = app.request.query("title") ?? "none";
    throw new Error("no page is called " + title); // @fail
}

function forever() {
    while (true) {}
}
