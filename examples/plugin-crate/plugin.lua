function on_alarm(what)
    return app.mail.send(app.text.letter.sign(what), app.mail.Priority.HIGH)
end
