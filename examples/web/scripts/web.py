# A handler returns what is answered as JSON; nothing is an answer without a body.
VERSION = 1

def greet():
    name = app.request.param("name")
    if app.request.query("shout"):
        name = name.upper()
    return {"hello": name, "agent": app.request.header("user-agent")}

def order():
    order = app.request.order()  # a body that is no order is answered by 400
    if order["count"] > 100:
        app.response.refuse(422, "we do not have so many")
    app.response.status(201)
    app.response.header("location", "/orders/" + order["item"])
    return {"item": order["item"], "total": order["count"] * 3}

def echo():
    return app.request.json()

def stock():
    answer = app.http.get(app.setting("stock"), {"item": app.request.param("item")})
    return {"status": answer["status"], "text": answer["body"]}

def version():
    return {"version": VERSION}

def fail():
    title = app.request.query("title") or "none"
    raise ValueError("no page is called " + title)  # @fail

def forever():
    while True:
        pass
