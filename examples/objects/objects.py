def on_call(session):
    session.answer()
    bill = app.Bill.create()
    bill.add(len(session.caller))
    bill.add(1.5)
    return bill
