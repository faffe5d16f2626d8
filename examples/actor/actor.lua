-- The host calls this for one message after the other.
function on_message(from, text)
    app.room.write(from .. ": " .. text)
    return app.room.length()
end
