function on_call(session) {
    session.answer();
    const bill = app.Bill.create();
    bill.add(session.caller.length);
    bill.add(1.5);
    return bill;
}
