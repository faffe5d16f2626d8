//! Several instances: what they share, which threads use them, what is left of them.

mod common;

use common::{Cx, Host, check, run_main};
use kemi_core::{ArgumentPolicy, Instance, Outcome, Value, find_engine};

fn value(host: &Host, instance: &Instance<Cx>) -> Value {
    match host.call(instance).0 {
        Ok(Outcome::Value(value)) => value,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_engine_is_found_by_all_its_names() {
    kemi_python::link();
    for name in ["python", "python3", "Python3"] {
        assert_eq!(find_engine(name).unwrap().name(), "python");
    }
    assert!(find_engine("python").unwrap().language().starts_with("Python 3."));
}

#[test]
fn instances_share_nothing() {
    let host = Host::new(ArgumentPolicy::Strict);
    let other = Host::with(ArgumentPolicy::Compat, "APP");
    let script = "n = 0\ndef main():\n    global n\n    n += 1\n";
    let a = host.load(&format!("{script}    return n\n")).unwrap();
    let b = host
        .load(&format!("import KSR\nKSR.own = None\nprint = None\n{script}    KSR.echo = None\n    return n\n"))
        .unwrap();
    let c = other.load(&format!("import APP\nassert APP.log.free('x') == 1\n{script}    return n\n")).unwrap();
    let d = host.load("import KSR\ndef main():\n    return KSR.echo.int(9)\n").unwrap();
    assert_eq!((value(&host, &a), value(&host, &a)), (1.into(), 2.into()));
    assert_eq!((value(&host, &b), value(&other, &c), value(&host, &d)), (1.into(), 1.into(), 9.into()));
    drop((a, b));
    assert_eq!((value(&other, &c), value(&host, &d)), (2.into(), 9.into()));
}

#[test]
fn functions_that_outlive_their_instance_fail_cleanly() {
    let host = Host::new(ArgumentPolicy::Strict);
    let keeper = host.load("import sys, KSR\nsys.kemi_kept = (KSR.echo.int, KSR.log.free, KSR.echo)\n").unwrap();
    drop(keeper);
    check(
        "import sys
kept = sys.kemi_kept
del sys.kemi_kept
for call in (lambda: kept[0](1), lambda: kept[1]('x')):
    try:
        call()
    except RuntimeError as e:
        assert 'after its script was unloaded' in str(e), e
    else:
        assert False
assert 'echo.int' in kept[0].__doc__
try:
    kept[2].itn
except AttributeError:
    pass",
    );
}

#[test]
fn dropping_an_instance_frees_what_it_held() {
    let host = Host::new(ArgumentPolicy::Strict);
    let script = "
import weakref, sys
class Big: pass
big = Big()
def main(): return big
sys.kemi_big = weakref.ref(big)
";
    let instance = host.load(script).unwrap();
    drop(instance);
    check("import sys\nref = sys.kemi_big\ndel sys.kemi_big\nassert ref() is None");
    check("import sys\nassert [n for n in sys.modules if n.startswith('kemi') and n.endswith('.test')].__len__() < 40");
}

#[test]
fn a_thread_of_the_script_cannot_call_natives() {
    let (result, _) = run_main(
        "import KSR, threading
seen = []
def work():
    for call in (lambda: KSR.echo.int(1), lambda: KSR.x.exit(), lambda: KSR.log.free('x')):
        try:
            call()
        except RuntimeError as e:
            seen.append(str(e))
    seen.append(hasattr(KSR, 'nathelper'))
def main():
    t = threading.Thread(target=work)
    t.start()
    t.join()
    return seen
",
    );
    let Ok(Outcome::Value(Value::Array(seen))) = result else { panic!("{result:?}") };
    assert_eq!(seen.len(), 4);
    for text in &seen[..3] {
        assert!(text.to_string().contains("called from a thread that the script started"), "{text}");
    }
}

#[test]
fn two_threads_with_an_instance_each_call_in_turn() {
    let work = |attach: bool| {
        move || {
            let host = Host::new(ArgumentPolicy::Strict);
            let script = "
import KSR
n = 0
def main():
    global n
    n += 1
    if n % 4 == 0:
        try: KSR.x.exit()
        except: pass
    return KSR.echo.add(n, KSR.echo.int(0))
";
            let instance = host.load(script).unwrap();
            let run = || {
                for n in 1..=200i64 {
                    let expected = if n % 4 == 0 { Outcome::Exit } else { Outcome::Value(n.into()) };
                    assert_eq!(host.call(&instance).0.unwrap(), expected);
                    kemi_python::detached(std::thread::yield_now);
                }
            };
            if attach { kemi_python::attached(run) } else { run() }
        }
    };
    let threads = [true, false, true].map(|attach| std::thread::spawn(work(attach)));
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn detached_lets_others_run_and_may_call_in_again() {
    kemi_python::attached(|| {
        let other = kemi_python::detached(|| std::thread::spawn(|| run_main("def main():\n    return 4\n").0).join());
        assert_eq!(other.unwrap().unwrap(), Outcome::Value(4.into()));
        let inside = kemi_python::detached(|| run_main("def main():\n    return 5\n").0.unwrap());
        assert_eq!(inside, Outcome::Value(5.into()));
    });
    assert_eq!(kemi_python::detached(|| 6), 6);
}

#[test]
fn what_one_instance_does_to_the_builtins_is_its_own() {
    let host = Host::new(ArgumentPolicy::Strict);
    let pair = |n: i64| Value::Array(vec![n.into(), n.into()]);
    let bad = "import builtins\ndef main():\n    builtins.len = lambda x: 42\n    from builtins import len as mine\n    return [len('ab'), mine('ab')]\n";
    let bad = host.load(bad).unwrap();
    assert_eq!(value(&host, &bad), pair(42));
    let good = host.load("import builtins\ndef main():\n    return [len('ab'), builtins.len('ab')]\n").unwrap();
    assert_eq!((value(&host, &good), value(&host, &bad)), (pair(2), pair(42)));
}
