//! The lines of the log on their way out: whoever logs writes one at once if nobody has to be waited for, and adds it to those
//! that a thread of its own writes if somebody has.
//!
//! So a line is where the log goes to before whoever logs goes on, if that takes it without waiting and nothing is on its way
//! already: no line overtakes another one. Nobody but the log's thread waits for a reader, for room on a pipe, a socket or a
//! terminal, or for a network. A file of a local disk is taken for one that does not wait; if it does, the one that writes to it
//! is held up, the others, who add their lines to those that wait, are not, and for a while all is left to the thread.

use std::collections::TryReserveError;
use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use sip_modules::proxy::log_lines;

use super::escape::escape;
use super::out::Out;
use super::stamp;

/// How many bytes of lines may wait to be written; what comes then is lost.
const CAPACITY: usize = 1 << 20;

/// The longest line; the rest of a longer one is cut off.
const LONGEST: usize = 64 << 10;

/// How long a disk may take for a line: a worker that is held up for as long is stuck.
const SLOW: Duration = Duration::from_millis(200);

/// How long a disk that was slow is left to the thread.
const PAUSE: Duration = Duration::from_secs(10);

/// Lines that wait to be written, and where to.
pub(super) struct Queue {
    out: Out,
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
    /// Lines, of which the first may have begun to be written. The memory for it is never moved or enlarged: a script's thread
    /// must not be charged for it.
    lines: Vec<u8>,
    /// The same memory again, while nobody writes: it is used in turn.
    spare: Vec<u8>,
    /// Somebody writes lines that are no longer here.
    writing: bool,
    /// What was written last ends within a line.
    torn: bool,
    /// The last write has succeeded.
    works: bool,
    /// Until when nobody but the thread writes to the disk.
    paused: Option<Instant>,
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
    pub(super) fn new(out: Out) -> Result<Queue, TryReserveError> {
        let (lines, spare) = (reserve()?, reserve()?);
        let state =
            State { lines, spare, writing: false, torn: false, works: true, paused: None, lost: 0, reason: None };
        Ok(Queue {
            out,
            state: Mutex::new(state),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            unwritten: AtomicUsize::new(0),
            process: std::process::id(),
        })
    }

    /// Writes a line or has it written, or counts it as lost if there is no room. Never waits for whoever reads the log.
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
        self.add(self.state(), &line, end);
    }

    /// Writes a line that may be written as it is, or has it written, or counts it as lost if there is no room.
    fn add<'a>(&'a self, mut state: MutexGuard<'a, State>, line: &[u8], end: &[u8]) {
        let length = line.len() + end.len();
        if state.lines.len() + length > CAPACITY {
            state.lose(1, None);
            return;
        }
        // After a loss the thread finds out whether the log works again, and says so.
        let first = state.lines.is_empty() && !state.writing && state.lost == 0;
        state.lines.extend_from_slice(line);
        state.lines.extend_from_slice(end);
        self.unwritten.fetch_add(length, Ordering::Release);
        if first && self.out.is_fast() {
            if !state.is_paused(Instant::now()) {
                state = self.write_lines(state);
            }
        } else if first {
            let written = self.out.write_at_once(&state.lines);
            state.lines.drain(..written);
            self.unwritten.fetch_sub(written, Ordering::Release);
        }
        let over = state.lines.is_empty();
        drop(state);
        if over {
            self.emptied.notify_all();
        } else {
            self.filled.notify_one();
        }
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

    /// Writes what waits, for as long as the process runs.
    pub(super) fn write(&self) {
        loop {
            let mut state = self.state();
            while state.writing || state.lines.is_empty() {
                state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state = self.write_lines(state);
            if state.works && state.lost > 0 {
                self.tell_what_was_lost(state);
                continue;
            }
            let over = state.lines.is_empty();
            drop(state);
            if over {
                self.emptied.notify_all();
            }
        }
    }

    /// Writes the lines that wait now, which nobody else does; others may add further ones meanwhile.
    fn write_lines<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let spare = mem::take(&mut state.spare);
        let mut batch = mem::replace(&mut state.lines, spare);
        let mut torn = state.torn;
        state.writing = true;
        drop(state);
        let begin = Instant::now();
        let (written, failure) = self.out.write_all(&batch, &mut torn);
        let end = Instant::now();
        self.unwritten.fetch_sub(batch.len(), Ordering::Release);
        let mut state = self.state();
        state.works = failure.is_none();
        state.note_time(begin, end);
        if let Some(failure) = failure {
            let rest = batch.get(written..).unwrap_or_default();
            let lines = rest.iter().filter(|&&byte| byte == b'\n').count();
            state.lose(lines as u64, Some(failure));
        }
        batch.clear();
        (state.spare, state.torn, state.writing) = (batch, torn, false);
        state
    }

    /// Writes into the log, which can be written again, how many lines were lost, before anybody else writes.
    fn tell_what_was_lost(&self, mut state: MutexGuard<'_, State>) {
        let lost = mem::take(&mut state.lost);
        let reason = state.reason.take();
        let reason: &dyn fmt::Display = match &reason {
            Some(reason) => reason,
            None => &"they came faster than they were read",
        };
        let all = log_lines::lost();
        let text = format!("the log works again, {lost} lines of it are lost ({reason}); {all} since the start");
        let line = stamp(tracing::Level::WARN, "log", &text);
        self.add(state, &escape(line.as_bytes(), Form::Line), b"\n");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Notes how long it took to write.
    fn note_time(&mut self, begin: Instant, end: Instant) {
        if end.saturating_duration_since(begin) >= SLOW {
            self.paused = end.checked_add(PAUSE);
        }
    }

    fn is_paused(&self, now: Instant) -> bool {
        self.paused.is_some_and(|end| now < end)
    }

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

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{BufRead, BufReader, PipeReader, Read};
    use std::os::fd::{FromRawFd, OwnedFd};
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::thread;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn start(out: OwnedFd) -> Arc<Queue> {
        let queue = Arc::new(Queue::new(Out::new(out)).unwrap());
        let writer = queue.clone();
        thread::spawn(move || writer.write());
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

    /// A queue whose thread does not run: what is written was written by whoever has logged it.
    #[cfg(target_os = "linux")]
    fn alone(out: impl Into<OwnedFd>) -> Queue {
        Queue::new(Out::new(out.into())).unwrap()
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_line_is_in_a_file_a_pipe_or_a_socket_before_whoever_logs_it_goes_on() {
        let file = std::env::temp_dir().join(format!("sip-proxy-queue-{}", std::process::id()));
        let queue = alone(File::create(&file).unwrap());
        for number in 0..100 {
            queue.push(format!("line {number}").as_bytes(), Form::Line);
            assert!(std::fs::read_to_string(&file).unwrap().ends_with(&format!("line {number}\n")));
        }
        std::fs::remove_file(&file).unwrap();

        let (mut pipe, writer) = std::io::pipe().unwrap();
        let (mut socket, other) = UnixStream::pair().unwrap();
        for (queue, reader) in [(alone(writer), &mut pipe as &mut dyn Read), (alone(other), &mut socket)] {
            queue.push(b"line", Form::Line);
            assert!(!queue.is_busy());
            let mut bytes = [0; 5];
            reader.read_exact(&mut bytes).unwrap();
            assert_eq!(&bytes, b"line\n");
        }
    }

    #[test]
    fn a_disk_that_was_slow_is_left_to_the_thread_for_a_while() {
        let queue = Queue::new(Out::new(File::options().write(true).open("/dev/null").unwrap().into())).unwrap();
        let mut state = queue.state();
        let begin = Instant::now();
        state.note_time(begin, begin + SLOW / 2);
        assert!(!state.is_paused(begin + SLOW / 2));
        state.note_time(begin, begin + SLOW);
        assert!(state.is_paused(begin + SLOW));
        assert!(!state.is_paused(begin + SLOW + PAUSE));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn nobody_waits_for_a_reader_whatever_the_log_is() {
        let (_pipe, piped) = std::io::pipe().unwrap();
        let (_socket, other) = UnixStream::pair().unwrap();
        let (mut user, mut program) = (0, 0);
        let null = std::ptr::null_mut();
        // SAFETY: two places for descriptors; the rest may be null.
        assert_eq!(unsafe { libc::openpty(&mut user, &mut program, null, null.cast(), null.cast()) }, 0);
        // SAFETY: both were just opened, and nobody else has them.
        let (_user, program) = unsafe { (OwnedFd::from_raw_fd(user), OwnedFd::from_raw_fd(program)) };
        for out in [piped.into(), other.into(), program] {
            let queue = alone(out);
            // More than any of them takes; the thread, which would wait, does not run.
            (0..800).for_each(|_| queue.push(&[b'x'; 1000], Form::Line));
            assert!(queue.is_busy());
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn no_line_overtakes_another_one_whoever_writes_them() {
        let file = std::env::temp_dir().join(format!("sip-proxy-order-{}", std::process::id()));
        let (pipe, writer) = std::io::pipe().unwrap();
        let reading = thread::spawn(move || BufReader::new(pipe).lines().map(Result::unwrap).take(8000).collect());
        let expect_order = |lines: Vec<String>| {
            let mut next = [0; 4];
            for line in lines {
                let (thread, number) = line.split_once(' ').unwrap();
                let next = &mut next[thread.parse::<usize>().unwrap()];
                assert_eq!(number.parse::<usize>(), Ok(*next), "{line}");
                *next += 1;
            }
            assert_eq!(next, [2000; 4]);
        };
        let log = |queue: &Queue| {
            thread::scope(|scope| {
                for thread in 0..4 {
                    scope.spawn(move || {
                        (0..2000).for_each(|number| queue.push(format!("{thread} {number}").as_bytes(), Form::Line));
                    });
                }
            });
            assert!(queue.flush(PATIENCE));
        };
        log(&start(File::create(&file).unwrap().into()));
        expect_order(std::fs::read_to_string(&file).unwrap().lines().map(str::to_owned).collect());
        std::fs::remove_file(&file).unwrap();
        log(&start(writer.into()));
        expect_order(reading.join().unwrap());
    }
}
