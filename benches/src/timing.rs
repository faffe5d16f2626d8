//! Timing by the thread's own CPU clock, contestants in turns so that a disturbance hits all of them.

use std::time::Duration;

/// Returns the CPU time the calling thread has used.
///
/// # Panics
/// If the system has no such clock.
#[must_use]
pub fn thread_time() -> Duration {
    read_clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Returns the CPU time that all threads of the process have used.
///
/// # Panics
/// If the system has no such clock.
#[must_use]
pub fn process_time() -> Duration {
    read_clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn read_clock(clock: libc::clockid_t) -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live value of this type.
    let status = unsafe { libc::clock_gettime(clock, &raw mut now) };
    assert_eq!(status, 0, "no clock for CPU time");
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Returns the CPU time that `run` takes on this thread.
pub fn time(run: impl FnOnce()) -> Duration {
    let start = thread_time();
    run();
    thread_time().saturating_sub(start)
}

/// One way to do what a question asks about.
pub struct Contestant<'a> {
    /// What to call it in tables.
    pub name: String,
    /// Does it that many times and returns the time of all.
    pub run: Box<dyn FnMut(u64) -> Duration + 'a>,
}

impl<'a> Contestant<'a> {
    /// Names a way to do it.
    pub fn new(name: impl Into<String>, run: impl FnMut(u64) -> Duration + 'a) -> Contestant<'a> {
        Contestant { name: name.into(), run: Box::new(run) }
    }
}

impl std::fmt::Debug for Contestant<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contestant").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Lets the contestants run in turns and returns for each the least nanoseconds that one repetition took.
///
/// The least of many short samples is what a disturbance touches least; compare only figures of one such run.
pub fn in_turns(contestants: &mut [Contestant<'_>], rounds: u32, repetitions: u64) -> Vec<f64> {
    let mut least = vec![f64::INFINITY; contestants.len()];
    for round in 0..=rounds {
        for (contestant, least) in contestants.iter_mut().zip(&mut least) {
            let nanos = (contestant.run)(repetitions).as_secs_f64() * 1e9 / repetitions as f64;
            // The first round warms caches up.
            if round > 0 {
                *least = least.min(nanos);
            }
        }
    }
    least
}

/// Returns criterion with short measurements: there are many, and the tables come from [`in_turns`].
#[must_use]
pub fn criterion() -> criterion::Criterion {
    criterion::Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400))
        .configure_from_args()
}

/// Returns the geometric mean; 1 of nothing.
#[must_use]
pub fn geometric_mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0u32);
    for value in values {
        sum += value.ln();
        count += 1;
    }
    if count == 0 { 1.0 } else { (sum / f64::from(count)).exp() }
}
