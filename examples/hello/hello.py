# The host calls this once for each guest.
def on_visit(name):
    KSR.out.say(KSR.guests.greet(name))
