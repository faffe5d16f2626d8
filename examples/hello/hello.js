// The host calls this once for each guest.
function on_visit(name) {
    KSR.out.say(KSR.guests.greet(name));
}
