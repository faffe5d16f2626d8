//! The log on the standard error. Nothing that happens to it, or to whoever reads it, hurts the proxy: a line that cannot be
//! written is lost and counted, and nobody waits for its reader; [`queue`] says what is written when.

mod capture;
mod escape;
mod out;
mod queue;
mod throttle;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::sync::{Arc, OnceLock};
use std::thread::Builder;
use std::time::Duration;

use signal_hook::consts::SIGABRT;
use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use capture::Capture;
use out::Out;
use queue::{Form, Queue};
use throttle::Throttled;

/// How long the end of the process waits for lines that are not written yet.
const PATIENCE: Duration = Duration::from_secs(1);

/// The log of the process, from the first to its last line.
#[derive(Clone)]
pub(crate) struct Log {
    queue: Arc<Queue>,
}

/// What a signal handler may look at.
static QUEUE: OnceLock<Arc<Queue>> = OnceLock::new();
static CAPTURE: OnceLock<Capture> = OnceLock::new();

impl Log {
    /// Starts the thread that writes what nobody else can write without waiting.
    ///
    /// # Errors
    /// The system has no memory, thread or descriptor to give.
    pub(crate) fn start() -> io::Result<Log> {
        if let Some(queue) = QUEUE.get() {
            return Ok(Log { queue: queue.clone() });
        }
        // The standard error itself will lead into the log.
        let out = Out::new(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3)?);
        let queue = Arc::new(Queue::new(out).map_err(|_| io::ErrorKind::OutOfMemory)?);
        let writer = queue.clone();
        Builder::new().name("log".to_owned()).spawn(move || {
            leave_aborts_to_others();
            writer.write();
        })?;
        Ok(Log { queue: QUEUE.get_or_init(|| queue).clone() })
    }

    /// Writes what is traced up to a level into the log, and panics.
    pub(crate) fn open(&self, level: Level) {
        let coloured = is_coloured();
        let writer = LineWriter { queue: self.queue.clone(), form: if coloured { Form::Coloured } else { Form::Line } };
        let subscriber = tracing_subscriber::fmt().with_max_level(level).with_ansi(coloured).log_internal_errors(false);
        let subscriber = subscriber.map_event_format(|format| Throttled::new(format, self.queue.clone()));
        // A host that has a subscriber of its own keeps it.
        let _ = subscriber.with_writer(writer).try_init();
        std::panic::set_hook(Box::new(report_panic));
    }

    /// Makes whatever is written to the standard output and the standard error lines of the log, whoever writes it.
    ///
    /// # Errors
    /// The system has no pipe or thread to give.
    pub(crate) fn capture_outputs(&self) -> io::Result<()> {
        if CAPTURE.get().is_none() {
            let _ = CAPTURE.set(Capture::start(&self.queue)?);
            // SAFETY: the handler reads atomics, asks how much is in a pipe, sleeps, and ends the process by a function that is made
            // for that; signal-safety(7) allows all of it.
            unsafe { signal_hook::low_level::register(SIGABRT, wait_for_last_words)? };
        }
        Ok(())
    }

    /// Writes a text for people to the standard error.
    pub(crate) fn say(&self, text: &str) {
        self.queue.push(text.as_bytes(), Form::Text);
    }

    /// Waits until everything is written, for a second at most.
    pub(crate) fn flush(&self) {
        let step = Duration::from_millis(5);
        let captured = || CAPTURE.get().is_none_or(|capture| !capture.is_busy());
        for _ in 0..PATIENCE.as_millis() / step.as_millis() {
            if captured() {
                break;
            }
            std::thread::sleep(step);
        }
        self.queue.flush(PATIENCE);
    }
}

/// Whether the standard error is a terminal that shows colours, and nobody has asked for none.
fn is_coloured() -> bool {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    io::stderr().is_terminal() && set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb")
}

/// Returns a line as the subscriber writes it, for what must not pass through one.
fn stamp(level: Level, target: &str, text: &str) -> String {
    let mut line = String::new();
    // Neither the time nor writing to a String fails; a line without its time would do as well.
    let _ = SystemTime.format_time(&mut Writer::new(&mut line));
    let _ = write!(line, " {level:>5} {target}: {text}");
    line
}

/// Logs a panic without a subscriber, which may be what has panicked. What it costs, who catches it says, so it is a warning.
fn report_panic(info: &PanicHookInfo<'_>) {
    let Some(queue) = QUEUE.get() else { return };
    let thread = std::thread::current();
    let payload = info.payload_as_str().unwrap_or("with something that is no text");
    let mut text = format!("thread '{}' panicked", thread.name().unwrap_or("without a name"));
    // Writing to a String does not fail.
    if let Some(place) = info.location() {
        let _ = write!(text, " at {place}");
    }
    let _ = write!(text, ": {payload}");
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        let _ = write!(text, "\n{trace}");
    }
    queue.push(stamp(Level::WARN, "panic", &text).as_bytes(), Form::Line);
}

/// Before the process aborts: gives the other threads the time to write why.
fn wait_for_last_words() {
    let busy = || QUEUE.get().is_some_and(|queue| queue.is_busy()) || CAPTURE.get().is_some_and(Capture::is_busy);
    // Twice in turn, since a line is in neither for the moment in which it passes from one to the other.
    let mut quiet = 0;
    for _ in 0..400 {
        quiet = if busy() { 0 } else { quiet + 1 };
        if quiet == 3 {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    // The signal may come from outside, as from systemd's watchdog, and nothing but this ends the process then.
    let _ = signal_hook::low_level::emulate_default_handler(SIGABRT);
}

/// Has another thread take a SIGABRT that comes from outside: this one is needed for the last words.
fn leave_aborts_to_others() {
    // SAFETY: a set of this function's own, which is filled before it is read; the call concerns this thread alone.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, SIGABRT);
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
    }
}

/// Makes a line of each event.
struct LineWriter {
    queue: Arc<Queue>,
    form: Form,
}

impl<'a> MakeWriter<'a> for LineWriter {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

struct Line<'a>(&'a LineWriter);

impl Write for Line<'_> {
    /// The formatter gives a whole event at a time.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.queue.push(event, self.0.form);
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
