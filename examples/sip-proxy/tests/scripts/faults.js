// One fault for each user name in the R-URI; everybody else is answered 200.
var keep = [];

function deep(n) { return 1 + deep(n + 1); }

var faults = {
    loop: function () { for (;;) { } },
    loop_caught: function () { for (;;) { try { for (;;) { } } catch (e) { } finally { } } },
    deep: function () { return deep(1); },
    alloc: function () { for (;;) { keep.push("x".repeat(1000000) + keep.length); } },
    big_string: function () { var s = "x"; for (;;) { s = s + s; } },
    throw: function () { throw new Error("boom"); },
    throw_table: function () { throw { code: 7 }; },
    throw_nothing: function () { throw undefined; },
    unknown_function: function () { const sl = KSR.sl; sl.sl_sned_reply(200, "OK"); },
    unknown_module: function () { KSR.nosuch.func(1); },
    disabled_module: function () { KSR.textops.search("x"); },
    wrong_type: function () { KSR.sl.sl_send_reply({}, "OK"); },
    too_few: function () { KSR.sl.sl_send_reply(200); },
    too_many: function () { KSR.sl.sl_send_reply(200, "OK", "more"); },
    nil_for_text: function () { KSR.sl.sl_send_reply(200, null); },
    // Made up at run time: a name that is spelt out is refused at load.
    callback_typo: function () { KSR.tm.t_on_failure("ksr_failure_" + "mange"); },
    // A match is never interrupted; what ends this is the next native call.
    regex: function () { for (var n = 10; n < 60; n++) { /(a+)+$/.test("a".repeat(n) + "b"); KSR.kx.get_ruser(); } },
    x_exit: function () { KSR.x.exit(); },
    process_exit: function () { process.exit(0); },
    hanging: function () {
        function* numbers() { yield 1; yield 2; }
        var generator = numbers();
        generator.next();
        keep.push(generator);
        throw new Error("left hanging");
    },
    redefine: function () { KSR = null; },
    redefine_module: function () { KSR.sl = null; },
    redefine_function: function () { delete KSR.sl.sl_send_reply; },
    redefine_strictly: function () { "use strict"; KSR.sl.sl_send_reply = null; },
};

function ksr_request_route() {
    var user = KSR.kx.get_ruser();
    if (user !== null && Object.hasOwn(faults, user)) faults[user]();
    KSR.sl.sl_send_reply(200, "alive");
}

function ksr_failure_manage() { }
