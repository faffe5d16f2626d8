function on_call(session)
    session:answer()
    local bill = app.Bill.create()
    bill:add(#session.caller)
    bill:add(1.5)
    return bill
end
