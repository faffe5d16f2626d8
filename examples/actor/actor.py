# The host calls this for one message after the other.
def on_message(sender, text):
    app.room.write(sender + ": " + text)
    return app.room.length()
