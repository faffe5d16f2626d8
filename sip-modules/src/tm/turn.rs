//! One script at a time for each transaction.
//!
//! Replies of one request may come in on several workers at once. Each may run a reply route, and the last of them the failure
//! route; what one of these sets (flags, AVPs, callbacks) the next one finds. So they take turns: while a script runs for a
//! transaction, what would run another one is put down there, and whoever ends its turn goes on with it. Nobody waits.
//! The request route is not among them: a slow one must not hold its own replies up.

use std::collections::VecDeque;

use crate::proxy::{Caller, Cx, MessageState};
use crate::tm::{Call, perform, reply};
use crate::transaction::{Choice, Handle};

/// How many replies wait for a transaction's script at most; what comes beyond is dropped, and sent again by its sender.
const MAX_WAITING: usize = 32;

/// What waits for its turn.
#[derive(Debug)]
pub(super) enum Job {
    /// A reply, with the branch that it answers.
    Reply(Box<MessageState>, usize),
    /// The failure route.
    Failure(Choice),
}

/// Whose turn it is, and what waits for the next one.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The worker that runs a script for the transaction.
    taken: Option<u64>,
    waiting: VecDeque<Job>,
}

impl Turns {
    /// How many bytes it holds on the heap.
    pub(super) fn memory(&self) -> usize {
        let jobs = self.waiting.iter().map(|job| match job {
            Job::Reply(state, _) => size_of::<MessageState>() + state.memory(),
            Job::Failure(_) => 0,
        });
        self.waiting.capacity() * size_of::<Job>() + jobs.sum::<usize>()
    }
}

/// A worker's turn; over when it is dropped, however that comes.
#[derive(Debug)]
pub(super) struct Turn(Handle<Call>);

/// What asking for a turn came to.
pub(super) enum Asked {
    /// It begins, and is to be [ended](end).
    Begun(Turn),
    /// It is this worker's already.
    Mine,
    /// It is another worker's: this one's job is done by that one, or was dropped if there is no room for it.
    Waits,
}

/// Asks for the turn to run a script for the transaction; the job is put down if it is another worker's.
pub(super) fn ask(worker: u64, handle: &Handle<Call>, job: impl FnOnce() -> Job) -> Asked {
    let mut call = handle.lock();
    match call.turns.taken {
        None => {
            call.turns.taken = Some(worker);
            Asked::Begun(Turn(handle.clone()))
        }
        Some(holder) if holder == worker => Asked::Mine,
        Some(_) => {
            let job = job();
            // There is one failure route at a time, and nothing repeats it.
            if call.turns.waiting.len() < MAX_WAITING || matches!(job, Job::Failure(_)) {
                call.turns.waiting.push_back(job);
            } else {
                tracing::debug!("a reply is dropped: {MAX_WAITING} wait for the script of their transaction already");
            }
            Asked::Waits
        }
    }
}

/// Ends a turn, after what has come to wait meanwhile.
pub(super) fn end(cx: &mut Cx, turn: Turn, caller: &dyn Caller) {
    let handle = &turn.0;
    loop {
        let job = {
            let mut call = handle.lock();
            let job = call.turns.waiting.pop_front();
            if job.is_none() {
                call.turns.taken = None;
            }
            job
        };
        match job {
            Some(Job::Reply(state, branch)) => {
                let outside = std::mem::replace(&mut cx.msg, *state);
                reply::answer(cx, handle, branch, caller);
                cx.msg = outside;
            }
            Some(Job::Failure(choice)) => perform::run_failure_route(cx, handle, choice, caller),
            None => return,
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // After a panic; what waits is taken up by the next turn.
        if std::thread::panicking() {
            self.0.lock().turns.taken = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::Arc;

    use kemi_core::{Arg, CallbackId, Outcome, ScriptError};

    use super::*;
    use crate::message::Message;
    use crate::modules::testing::{INVITE, cx};
    use crate::proxy::{Outbox, Route};
    use crate::tm::{self, NoCaller};

    /// A script that sets a flag for each reply, and while it works on the first one has another worker receive the second.
    struct Meanwhile {
        other: RefCell<Option<(Cx, MessageState)>>,
        log: RefCell<Vec<String>>,
    }

    impl Caller for Meanwhile {
        fn call(&self, _: CallbackId, cx: &mut Cx, _: &[Arg<'_>]) -> Result<Outcome, ScriptError> {
            let status = cx.msg.message.status().unwrap_or_default();
            self.log.borrow_mut().push(match cx.msg.route {
                Route::Failure => format!("failure {:#x}", cx.msg.flags),
                _ => format!("{status} of {} begins", cx.worker),
            });
            if let Some((mut other, msg)) = self.other.borrow_mut().take() {
                other.msg = msg;
                tm::on_reply(&mut other, self);
            }
            if cx.msg.route == Route::OnReply {
                cx.msg.flags |= 1 << (status % 10);
                self.log.borrow_mut().push(format!("{status} ends"));
            }
            Ok(Outcome::Exit)
        }
    }

    /// The reply of a branch's callee.
    fn reply(cx: &Cx, branch: usize, status: &str) -> MessageState {
        let handle = cx.msg.transaction.as_ref().unwrap();
        let sent = handle.lock().machine.branches()[branch].request().bytes.clone();
        let request = String::from_utf8(sent.to_vec()).unwrap();
        let (_, headers) = request.split_once("\r\n").unwrap();
        let (headers, _) = headers.split_once("\r\n\r\n").unwrap();
        let headers: Vec<_> = headers.lines().filter(|line| !line.starts_with("Content-")).collect();
        let text = format!("SIP/2.0 {status}\r\n{}\r\nContent-Length: 0\r\n\r\n", headers.join("\r\n"));
        MessageState::new(Arc::new(Message::parse(text.as_bytes()).unwrap()), "127.0.0.8:5070".parse().unwrap(), 0)
    }

    #[test]
    fn what_would_run_a_script_meanwhile_runs_it_afterwards_and_finds_what_was_set() {
        let mut one = cx(&INVITE.replace("sip:bob:pw@example.org:5070;transport=udp?x=y", "sip:bob@127.0.0.8:5070"));
        one.out = Outbox::detached(1);
        let callback = one.shared.routes.request;
        one.msg.armed.reply = Some(callback);
        one.msg.armed.failure = Some(callback);
        one.msg
            .branches
            .push(crate::proxy::ExtraBranch { ruri: b"sip:b@127.0.0.8:5071".to_vec(), ..Default::default() });
        assert_eq!(tm::relay(&mut one, &NoCaller), 1);
        let handle = one.msg.transaction.clone().unwrap();
        let (first, second) = (reply(&one, 0, "481 Gone"), reply(&one, 1, "486 Busy"));
        tm::finish(&mut one, &NoCaller, false);

        let two = Cx::new(Arc::clone(&one.shared), Outbox::detached(1));
        let script = Meanwhile { other: RefCell::new(Some((two, second))), log: RefCell::default() };
        let worker = one.worker;
        one.msg = first;
        tm::on_reply(&mut one, &script);
        let log = script.log.into_inner();
        assert_eq!(
            log,
            [
                format!("481 of {worker} begins"),
                "481 ends".to_owned(),
                format!("486 of {worker} begins"),
                "486 ends".to_owned(),
                "failure 0x42".to_owned(),
            ]
        );
        assert!(handle.lock().turns.taken.is_none() && handle.lock().turns.waiting.is_empty());
    }

    #[test]
    fn a_turn_ends_with_a_panic_and_no_more_than_so_many_replies_wait_for_one() {
        let mut one = cx(INVITE);
        tm::create(&mut one, &NoCaller);
        let handle = one.msg.transaction.clone().unwrap();
        let job = || Job::Reply(Box::default(), 0);
        let Asked::Begun(turn) = ask(1, &handle, job) else { panic!("nobody has it") };
        for _ in 0..=MAX_WAITING {
            assert!(matches!(ask(2, &handle, job), Asked::Waits));
        }
        assert!(matches!(ask(1, &handle, job), Asked::Mine));
        assert_eq!(handle.lock().turns.waiting.len(), MAX_WAITING);
        let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _turn = turn;
            panic!("on purpose");
        }));
        assert!(died.is_err());
        assert!(matches!(ask(2, &handle, job), Asked::Begun(_)));
    }
}
