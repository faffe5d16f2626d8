//! What others write to the standard output and the standard error: a script past `print`, a C library, a child process.
//! They write into pipes that are always read, so that nobody waits for whoever reads the log, and it becomes lines of it.

use std::io::{self, PipeReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Builder;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionread, read};
use tracing::Level;

use super::queue::{Form, Queue};
use super::{leave_aborts_to_others, stamp};

/// How long the end of a line is waited for.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// The longest piece that waits for the end of its line.
const LONGEST: usize = 16 << 10;

/// The pipes behind the standard output and the standard error.
pub(super) struct Capture {
    output: Arc<Source>,
    errors: Arc<Source>,
}

/// One of them.
struct Source {
    name: &'static str,
    level: Level,
    pipe: PipeReader,
    /// How many bytes were read and are not in the log yet, or 1 while that is found out.
    held: AtomicUsize,
}

impl Capture {
    /// Makes the two outputs of the process lead into the log.
    ///
    /// # Errors
    /// The system has no pipe or thread to give.
    pub(super) fn start(queue: &Arc<Queue>) -> io::Result<Capture> {
        let (output, output_end) = io::pipe()?;
        let (errors, errors_end) = io::pipe()?;
        let output = Source::start("stdout", Level::INFO, output, queue)?;
        let errors = Source::start("stderr", Level::WARN, errors, queue)?;
        rustix::stdio::dup2_stdout(&output_end)?;
        rustix::stdio::dup2_stderr(&errors_end)?;
        write_whole_lines();
        Ok(Capture { output, errors })
    }

    /// Returns whether there is something that is not in the log yet; may be asked in a signal handler.
    pub(super) fn is_busy(&self) -> bool {
        self.output.is_busy() || self.errors.is_busy()
    }
}

impl Source {
    fn start(name: &'static str, level: Level, pipe: PipeReader, queue: &Arc<Queue>) -> io::Result<Arc<Source>> {
        let source = Arc::new(Source { name, level, pipe, held: AtomicUsize::new(0) });
        let (reading, queue) = (source.clone(), queue.clone());
        Builder::new().name(name.to_owned()).spawn(move || {
            leave_aborts_to_others();
            reading.run(&queue);
        })?;
        Ok(source)
    }

    fn is_busy(&self) -> bool {
        self.held.load(Ordering::Acquire) > 0 || ioctl_fionread(&self.pipe).is_ok_and(|length| length > 0)
    }

    /// Logs what comes, line by line, until the script has closed the other end.
    fn run(&self, queue: &Queue) {
        let mut held = Vec::new();
        let mut chunk = vec![0; LONGEST];
        loop {
            self.held.store(held.len(), Ordering::Release);
            let patience = (!held.is_empty()).then_some(&PATIENCE);
            match poll(&mut [PollFd::new(&self.pipe, PollFlags::IN)], patience) {
                Ok(0) => {
                    self.log(queue, &held);
                    held.clear();
                    continue;
                }
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(_) => break,
            }
            self.held.store(1, Ordering::Release);
            match read(&self.pipe, &mut *chunk) {
                Ok(0) => break,
                Ok(length) => held.extend_from_slice(chunk.get(..length).unwrap_or_default()),
                Err(Errno::INTR | Errno::AGAIN) => continue,
                Err(_) => break,
            }
            let mut rest = held.as_slice();
            while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
                let (line, behind) = rest.split_at(end);
                self.log(queue, line);
                rest = behind.strip_prefix(b"\n").unwrap_or_default();
            }
            if rest.len() > LONGEST {
                self.log(queue, rest);
                rest = &[];
            }
            held.drain(..held.len() - rest.len());
        }
        self.log(queue, &held);
        self.held.store(0, Ordering::Release);
    }

    fn log(&self, queue: &Queue, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.is_empty() {
            let line = stamp(self.level, self.name, &String::from_utf8_lossy(line));
            queue.push(line.as_bytes(), Form::Line);
        }
    }
}

/// Has C's standard output write at the end of each line: into a pipe it would else write some kilobytes at a time, so late.
fn write_whole_lines() {
    #[cfg(target_os = "linux")]
    {
        unsafe extern "C" {
            static stdout: *mut libc::FILE;
        }
        // SAFETY: the C library's stream, which is there from the start to the end of the process; it brings the buffer itself.
        unsafe { libc::setvbuf(stdout, std::ptr::null_mut(), libc::_IOLBF, 0) };
    }
}
