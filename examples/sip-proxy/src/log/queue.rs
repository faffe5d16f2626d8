//! The lines of the log on their way out: whoever logs adds one and goes on, a thread of its own writes them.

use std::collections::TryReserveError;
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use sip_modules::proxy::log_lines;

use super::escape::escape;
use super::stamp;

/// How many bytes of lines may wait to be written; what comes then is lost.
const CAPACITY: usize = 1 << 20;

/// The longest line; the rest of a longer one is cut off.
const LONGEST: usize = 64 << 10;

/// Lines that wait to be written.
pub(super) struct Queue {
    state: Mutex<State>,
    /// There is something to write.
    filled: Condvar,
    /// Everything is written.
    emptied: Condvar,
    /// How many bytes are not written yet, for who cannot take the lock.
    unwritten: AtomicUsize,
    /// The process whose thread writes; a fork has no such thread.
    process: u32,
}

struct State {
    /// Whole lines. The memory for it is never moved or enlarged: a script's thread must not be charged for it.
    lines: Vec<u8>,
    /// The thread is at a batch.
    writing: bool,
    /// How many lines were lost since the log last said so.
    lost: u64,
    /// Why the last of them was.
    reason: Option<Errno>,
}

/// What a text is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// One event, so one line, whatever it holds.
    Line,
    /// An event with colours, whose parts have no other escape sequences.
    Coloured,
    /// Text for a person, which may have several lines.
    Text,
}

impl Queue {
    pub(super) fn new() -> Result<Queue, TryReserveError> {
        let state = State { lines: reserve()?, writing: false, lost: 0, reason: None };
        Ok(Queue {
            state: Mutex::new(state),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            unwritten: AtomicUsize::new(0),
            process: std::process::id(),
        })
    }

    /// Adds a line, or counts it as lost if there is no room. Never waits for whoever reads the log.
    pub(super) fn push(&self, text: &[u8], form: Form) {
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let (text, rest) = text.split_at(text.len().min(LONGEST));
        let line = escape(text, form);
        let end: &[u8] = if rest.is_empty() { b"\n" } else { b" [cut off]\n" };
        if std::process::id() != self.process {
            // A script has forked. The thread that writes is the parent's, and so may be the lock.
            let _ = rustix::io::write(rustix::stdio::stderr(), &[&line, end].concat());
            return;
        }
        let mut state = self.state();
        let length = line.len() + end.len();
        if state.lines.len() + length > CAPACITY {
            state.lose(1, None);
            return;
        }
        state.lines.extend_from_slice(&line);
        state.lines.extend_from_slice(end);
        self.unwritten.fetch_add(length, Ordering::Release);
        drop(state);
        self.filled.notify_one();
    }

    /// Waits until all lines are written, for as long as `patience`; returns whether they are.
    pub(super) fn flush(&self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        let mut state = self.state();
        while state.writing || !state.lines.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.emptied.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Returns whether lines wait to be written; may be asked in a signal handler.
    pub(super) fn is_busy(&self) -> bool {
        self.unwritten.load(Ordering::Acquire) > 0
    }

    /// Writes lines for as long as the process runs.
    pub(super) fn write_to(&self, out: &OwnedFd) {
        // The same memory is used in turn with the state's.
        let Ok(mut batch) = reserve() else { return };
        let mut torn = false;
        loop {
            let mut state = self.state();
            state.writing = false;
            while state.lines.is_empty() {
                self.emptied.notify_all();
                state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            std::mem::swap(&mut batch, &mut state.lines);
            state.writing = true;
            drop(state);

            let (written, failure) = write_all(out, &batch, &mut torn);
            match failure {
                None => self.tell_what_was_lost(),
                Some(failure) => {
                    let rest = batch.get(written..).unwrap_or_default();
                    let lines = rest.iter().filter(|&&byte| byte == b'\n').count();
                    self.state().lose(lines as u64, Some(failure));
                }
            }
            self.unwritten.fetch_sub(batch.len(), Ordering::Release);
            batch.clear();
        }
    }

    /// Writes into the log, which can be written again, how many lines were lost.
    fn tell_what_was_lost(&self) {
        let mut state = self.state();
        let lost = std::mem::take(&mut state.lost);
        let reason = state.reason.take();
        drop(state);
        if lost > 0 {
            let reason: &dyn fmt::Display = match &reason {
                Some(reason) => reason,
                None => &"they came faster than they were read",
            };
            let all = log_lines::lost();
            let text = format!("the log works again, {lost} lines of it are lost ({reason}); {all} since the start");
            self.push(stamp(tracing::Level::WARN, "log", &text).as_bytes(), Form::Line);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn lose(&mut self, lines: u64, reason: Option<Errno>) {
        log_lines::lose(lines);
        self.lost = self.lost.saturating_add(lines);
        self.reason = reason;
    }
}

fn reserve() -> Result<Vec<u8>, TryReserveError> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(CAPACITY)?;
    Ok(bytes)
}

/// Writes bytes; returns how many, and why not all. `torn` tells that the last write ended within a line.
fn write_all(out: &OwnedFd, bytes: &[u8], torn: &mut bool) -> (usize, Option<Errno>) {
    if *torn {
        match write(out, b"\n") {
            Ok(_) => *torn = false,
            Err(failure) => return (0, Some(failure)),
        }
    }
    let mut done = 0;
    while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
        match write(out, rest) {
            Ok(0) => return (done, Some(Errno::IO)),
            Ok(count) => done += count,
            Err(failure) => {
                *torn = done > 0 && bytes.get(done - 1) != Some(&b'\n');
                return (done, Some(failure));
            }
        }
    }
    (done, None)
}

fn write(out: &OwnedFd, bytes: &[u8]) -> Result<usize, Errno> {
    loop {
        match rustix::io::write(out, bytes) {
            // Somebody has made it one that does not wait; this thread has the time.
            Err(Errno::AGAIN) => match poll(&mut [PollFd::new(out, PollFlags::OUT)], None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(failure) => return Err(failure),
            },
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{PipeReader, Read};
    use std::sync::Arc;
    use std::thread;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn start(out: OwnedFd) -> Arc<Queue> {
        let queue = Arc::new(Queue::new().unwrap());
        let writer = queue.clone();
        thread::spawn(move || writer.write_to(&out));
        queue
    }

    fn piped() -> (Arc<Queue>, PipeReader) {
        let (reader, writer) = std::io::pipe().unwrap();
        (start(writer.into()), reader)
    }

    fn read(reader: &mut PipeReader, length: usize) -> String {
        let mut bytes = vec![0; length];
        reader.read_exact(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn one_event_is_one_line_whatever_it_holds() {
        let (queue, mut reader) = piped();
        queue.push(b"a\r\n ERROR forged\x1b[2J\x00\n", Form::Line);
        queue.push("b\tc \u{202e}d\u{9b}e".as_bytes(), Form::Line);
        queue.push(b"one\ntwo\x07\n", Form::Text);
        let expected = "a\\r\\n ERROR forged\\x1b[2J\\x00\nb\tc \\u{202e}d\\u{9b}e\none\ntwo\\x07\n";
        assert_eq!(read(&mut reader, expected.len()), expected);
        assert!(queue.flush(PATIENCE));
    }

    #[test]
    fn lines_that_nobody_takes_are_lost_and_the_log_says_how_many_once_it_works_again() {
        let (queue, mut reader) = piped();
        let line = [b'x'; 1000];
        // More than the pipe, the batch that is being written and the queue hold.
        let pushed = 4 * CAPACITY / line.len();
        (0..pushed).for_each(|_| queue.push(&line, Form::Line));
        assert!(!queue.flush(Duration::from_millis(1)), "nobody reads");
        assert!(queue.is_busy());
        let mut text = String::new();
        let mut chunk = [0; 8192];
        while !text.contains("lines of it are lost (they came faster than they were read)") {
            let length = reader.read(&mut chunk).unwrap();
            text.push_str(std::str::from_utf8(&chunk[..length]).unwrap());
        }
        assert!(queue.flush(PATIENCE));
        let (_, lost) = text.split_once("the log works again, ").unwrap();
        let lost: usize = lost.split(' ').next().unwrap().parse().unwrap();
        assert!(lost > CAPACITY / line.len());
        assert_eq!(text.lines().filter(|line| line.starts_with('x')).count() + lost, pushed);
        assert!(!queue.is_busy());
    }

    #[test]
    fn a_reader_that_is_gone_and_a_disk_that_is_full_cost_lines_only() {
        let (gone, writer) = std::io::pipe().unwrap();
        drop(gone);
        for out in [writer.into(), File::options().write(true).open("/dev/full").unwrap().into()] {
            let before = log_lines::lost();
            let queue = start(out);
            for _ in 0..10 {
                queue.push(b"nobody reads this", Form::Line);
                assert!(queue.flush(PATIENCE));
            }
            assert!(log_lines::lost() - before >= 10);
        }
    }

    #[test]
    fn a_line_too_long_is_cut_off() {
        let (queue, mut reader) = piped();
        let expected = "y".repeat(LONGEST) + " [cut off]\n";
        let reading = thread::spawn(move || read(&mut reader, LONGEST + " [cut off]\n".len()));
        queue.push(&vec![b'y'; LONGEST + 1], Form::Line);
        assert!(reading.join().unwrap() == expected);
    }

    #[test]
    fn what_follows_a_torn_line_begins_on_a_line_of_its_own() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut torn = true;
        assert_eq!(write_all(&writer.into(), b"next\n", &mut torn), (5, None));
        assert!(!torn);
        assert_eq!(read(&mut reader, 6), "\nnext\n");
    }
}
