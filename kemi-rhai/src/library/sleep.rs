//! `sleep`, in slices: Rhai's own goes on when the call's time is over.

use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use kemi_core::engine::Runtime;
use rhai::{Engine, NativeCallContext};

use super::RhaiResult;
use crate::interrupt::LimitCheck;

/// The time between two looks at the clock while a script sleeps.
const SLICE: Duration = Duration::from_millis(10);

/// Replaces `sleep`.
pub(crate) fn install(engine: &mut Engine, runtime: &Rc<Runtime>) {
    checked!(engine, runtime, "sleep", |check, seconds: i64| {
        sleep(check, Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
    });
    checked!(engine, runtime, "sleep", |check, seconds: f64| {
        let longest = if seconds > 0.0 { Duration::MAX } else { Duration::ZERO };
        sleep(check, Duration::try_from_secs_f64(seconds).unwrap_or(longest))
    });
}

fn sleep(check: &LimitCheck<'_>, time: Duration) -> RhaiResult<()> {
    let start = Instant::now();
    loop {
        let left = time.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(SLICE));
        check.look()?;
    }
}
