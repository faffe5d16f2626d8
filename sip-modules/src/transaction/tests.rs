//! The parts together: workers that share the table, each with a timer queue of its own.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::*;

const WORKERS: usize = 4;
const CALLS: usize = 400;
const BRANCHES: usize = 2;

/// What a worker keeps for a call.
struct Call {
    transaction: Transaction,
    failures_sent: usize,
}

struct Worker<'a> {
    table: &'a TransactionTable<Call>,
    queue: TimerQueue<Call>,
    actions: Actions,
    finished: &'a AtomicUsize,
}

impl Worker<'_> {
    /// Applies an input under the lock, carries out what follows, and schedules.
    fn drive(&mut self, handle: &Handle<Call>, input: impl FnOnce(&mut Transaction, &mut Actions)) {
        let mut call = handle.lock();
        let Call { transaction, failures_sent } = &mut *call;
        input(transaction, &mut self.actions);
        let mut over = false;
        while let Some(action) = self.actions.pop() {
            match action {
                Action::NeedAck { branch } => {
                    transaction.set_ack(branch, b"ACK"[..].into(), &mut self.actions).unwrap()
                }
                Action::NeedCancel { branch } => {
                    transaction.set_cancel(branch, b"CANCEL"[..].into(), 0, &mut self.actions).unwrap()
                }
                Action::ForwardFinal(choice) => {
                    *failures_sent += 1;
                    transaction.local_reply(choice.mapped_status, b"final"[..].into(), 0, &mut self.actions).unwrap();
                }
                Action::Finished => over = true,
                _ => {}
            }
        }
        let deadline = transaction.next_deadline();
        drop(call);
        if over {
            assert!(self.table.remove(handle));
            self.finished.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(deadline) = deadline {
            self.queue.schedule(handle, deadline);
        }
    }
}

fn key(call: usize) -> ServerKey {
    let branch = format!("z9hG4bKcall{call}");
    ServerKey::new(&KeyParts {
        method: b"INVITE",
        branch: Some(branch.as_bytes()),
        sent_by_host: b"192.0.2.1",
        sent_by_port: Some(5060),
        call_id: b"c",
        cseq: 1,
        from_tag: Some(b"t"),
        ruri: b"sip:bob@example.com",
        via: b"",
    })
}

fn request() -> BranchRequest {
    BranchRequest {
        bytes: b"INVITE"[..].into(),
        dest: ([192, 0, 2, 4], 5060).into(),
        ruri: b"sip:bob@192.0.2.4"[..].into(),
        reliable: false,
    }
}

#[test]
fn calls_whose_messages_land_on_different_workers_all_end_and_are_answered_once() {
    let table = TransactionTable::new();
    let finished = AtomicUsize::new(0);
    let created = AtomicUsize::new(0);
    let barrier = Barrier::new(WORKERS);
    let handles: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|_| {
                let (table, finished, created, barrier) = (&table, &finished, &created, &barrier);
                scope.spawn(move || {
                    let mut worker = Worker { table, queue: TimerQueue::new(0), actions: Actions::default(), finished };
                    let mut mine = Vec::new();
                    // Every worker sees every INVITE; one of them creates the transaction.
                    for call in 0..CALLS {
                        let inserted = table.insert(key(call), |_| Call {
                            transaction: Transaction::new(Kind::Invite, false, Config::default()),
                            failures_sent: 0,
                        });
                        match inserted {
                            Inserted::Existing(handle) => {
                                worker.drive(&handle, |tx, out| tx.request_retransmission(out));
                            }
                            Inserted::New(handle) => {
                                created.fetch_add(1, Ordering::Relaxed);
                                for _ in 0..BRANCHES {
                                    // The lock is given back in between, as for a branch callback.
                                    worker.drive(&handle, |tx, out| {
                                        tx.add_branch(request(), 0, out).unwrap();
                                    });
                                }
                                worker.drive(&handle, |tx, out| tx.routed(0, out));
                                mine.push((call, handle));
                            }
                        }
                    }
                    barrier.wait();
                    // Every worker gets every reply, as a network that duplicates would deliver them.
                    for call in 0..CALLS {
                        let id = table.find(&key(call)).unwrap().id();
                        for branch in 0..BRANCHES {
                            let token = BranchToken::new(id, branch).encode();
                            let token = BranchToken::decode(&token).unwrap();
                            let handle = table.find_branch(&token).unwrap();
                            let status = if call % 2 == 0 { 486 } else { 200 };
                            worker.drive(&handle, |tx, out| {
                                let bytes = b"reply"[..].into();
                                tx.reply(token.branch, status, bytes, 0, out).unwrap();
                            });
                        }
                    }
                    barrier.wait();
                    for now in (0..200_000).step_by(50) {
                        let mut due = Vec::new();
                        worker.queue.advance(now, &mut |handle| due.push(handle));
                        for handle in due {
                            worker.drive(&handle, |tx, out| tx.timer(now, out));
                        }
                    }
                    mine
                })
            })
            .collect();
        workers.into_iter().flat_map(|w| w.join().unwrap()).collect()
    });

    assert_eq!(created.into_inner(), CALLS);
    assert_eq!(finished.into_inner(), CALLS);
    assert_eq!(table.stats().current, 0);
    for (call, handle) in handles {
        let failures = usize::from(call % 2 == 0);
        assert_eq!(handle.lock().failures_sent, failures, "call {call}");
    }
}
