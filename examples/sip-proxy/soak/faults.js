// The basic route with a fault for some users of the R-URI; loaded after basic.js.
function deep(n) { return 1 + deep(n + 1); }

const faults = {
    loop: function () { for (;;) { try { for (;;) { } } catch (e) { } finally { } } },
    throw: function () { throw new Error("boom"); },
    unknown: function () { const sl = KSR.sl; sl.sl_sned_reply(200, "OK"); },
    deep: function () { return deep(1); },
};

const route = ksr_request_route;

ksr_request_route = function () {
    const user = KSR.kx.get_ruser();
    if (user !== null && Object.hasOwn(faults, user) && !KSR.is_ACK()) faults[user]();
    route();
};
