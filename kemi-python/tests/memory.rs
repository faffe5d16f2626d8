//! A call that takes too much memory ends, and what it took is given back.
#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::sync::{Mutex, PoisonError};

use common::{Host, ends, has_place};
use kemi_core::{ArgumentPolicy, ErrorCode, Limits, Outcome};

/// One test at a time: they look at the memory of the whole process.
static ALONE: Mutex<()> = Mutex::new(());

fn host(limits: Limits) -> Host {
    Host::limited(ArgumentPolicy::Strict, "KSR", limits)
}

const MIB: u64 = 1 << 20;

/// Returns the process's own memory in bytes.
fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap();
    text.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[test]
fn endless_allocation_ends_and_the_memory_comes_back() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let host = host(Limits { max_memory: 32 * MIB, max_time_ms: 10_000, ..Limits::NONE });
    let bodies = [
        "s = 'ab'\nwhile True: s = s + s",
        "s = b'ab'\nwhile True:\n    s += s",
        "s = 'x' * 1_000_000_000",
        "try:\n    s = 'x' * 1_000_000_000\nexcept MemoryError:\n    pass",
        "try:\n    s = 'x' * 1_000_000_000\nexcept MemoryError:\n    KSR.log.note('caught')\n    return 1",
        "items = []\nwhile True: items.append(len(items))",
        "items = []\nwhile True:\n    try: items.append('x' * 100)\n    except MemoryError: pass",
        "items = []\nwhile True:\n    try: items.append(bytes(100_000))\n    except: pass",
        "items = {}\nfor n in itertools.count(): items[n] = n",
        "items = []\nwhile True: items = [items]",
        "items = list(itertools.count())",
        "import collections\nitems = collections.deque(itertools.count())",
        "items = bytearray(10)\nwhile True: items.extend(items)",
        "while True:\n    with contextlib.suppress(BaseException):\n        s = [0] * 100_000_000",
        "x = 3\nwhile True: x <<= x.bit_length()",
        "def f(n):\n    s = bytes(1_000_000)\n    return f(n + 1)\nf(0)",
        "KSR.tm.run('branch')\nKSR.log.note('after')",
        "try:\n    KSR.tm.run('branch')\nexcept BaseException:\n    pass\nKSR.log.note('after')",
    ];
    let prelude = "def branch():\n    items = []\n    while True:\n        try: items.append(bytes(10_000))\n        except MemoryError: pass\n";
    let begin = resident();
    for body in bodies {
        let (error, cx) = ends(&host, prelude, body);
        assert_eq!(error.code, ErrorCode::MemoryLimit, "{body}: {error:#}");
        assert!(error.message.contains("max_memory"), "{error}");
        assert!(has_place(&error, body) >= 2, "{body}");
        assert!(cx.notes.is_empty(), "{body}: {:?}", cx.notes);
    }
    // The C library keeps a freed block or two for later; kept by Python it would be as much for every body.
    let kept = resident().saturating_sub(begin);
    assert!(kept < 4 * 32 * MIB, "{kept} bytes more than before");
}

#[test]
fn what_calls_leave_behind_counts_and_what_is_freed_does_not() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let host = host(Limits { max_memory: 16 * MIB, ..Limits::NONE });
    let text = "kept = []
def main():
    kept.append(bytes(20_000))
    return len(kept)
def event(a, b):
    if a:
        kept.clear()
    s = bytes(12_000_000)
    s = None
    s = bytes(12_000_000)
    return len(s)
";
    let instance = host.load(text).unwrap();
    // What one call takes and gives back may be taken by each.
    for _ in 0..100 {
        assert_eq!(host.event(&instance, &[0.into(), 0.into()]).unwrap(), Outcome::Value(12_000_000.into()));
    }
    let mut calls = 0;
    let error = loop {
        match host.call(&instance).0 {
            Ok(_) => calls += 1,
            Err(error) => break error,
        }
        assert!(calls < 2 * 16 * MIB / 20_000, "{calls} calls that leave 20 kB each");
    };
    assert_eq!(error.code, ErrorCode::MemoryLimit, "{error:#}");
    assert!(calls > 16 * MIB / 20_000 / 2, "{calls}");
    // An instance of its own is not concerned.
    let other = host.load(text).unwrap();
    assert_eq!(host.event(&other, &[0.into(), 0.into()]).unwrap(), Outcome::Value(12_000_000.into()));
}

#[test]
fn a_script_that_frees_what_it_has_kept_goes_on_for_ever() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let host = host(Limits { max_memory: 16 * MIB, ..Limits::NONE });
    let rows = [
        // A list that is emptied.
        "kept = []\ndef main():\n    kept.append(bytes(1_000_000))\n    if len(kept) > 10: kept.clear()\n    return 1\n",
        // Garbage that only a collection finds, of large blocks and of small ones.
        "def main():\n    a = [bytes(1_000_000)]\n    a.append(a)\n    return 1\n",
        "def main():\n    a = [(i, str(i)) for i in range(3000)]\n    a.append(a)\n    return 1\n",
    ];
    for text in rows {
        let instance = host.load(text).unwrap();
        for n in 0..300 {
            let result = host.call(&instance).0;
            assert_eq!(result.unwrap_or_else(|e| panic!("{text}: call {n}: {e:#}")), Outcome::Value(1.into()));
        }
    }
}

#[test]
fn what_another_instance_has_collected_does_not_count() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let host = host(Limits { max_memory: 16 * MIB, ..Limits::NONE });
    // Two instances in turn, whose garbage is collected by either.
    let text = "import gc\nkept = []\ndef main():\n    a = [bytes(500_000)]\n    a.append(a)\n    return 1\ndef event(a, b):\n    return gc.collect() * 0\n";
    let (first, second) = (host.load(text).unwrap(), host.load(text).unwrap());
    for n in 0..300 {
        let result = host.call(&first).0;
        assert_eq!(result.unwrap_or_else(|e| panic!("call {n}: {e:#}")), Outcome::Value(1.into()));
        if n % 5 == 0 {
            host.event(&second, &[0.into(), 0.into()]).unwrap();
        }
    }
}

#[test]
fn loading_is_limited_too() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let host = host(Limits { max_memory: 32 * MIB, ..Limits::NONE });
    let error = host.load("x = 1\ns = 'x' * 1_000_000_000\n").unwrap_err();
    assert_eq!(error.code, ErrorCode::MemoryLimit, "{error:#}");
    assert_eq!(has_place(&error, "load"), 2);
    assert!(host.load("s = 'x' * 1_000_000\n").is_ok());
}
