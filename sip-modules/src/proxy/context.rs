//! What every `KSR` function works on: the message being routed and the worker that routes it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kemi_core::{CallbackId, Outcome, ScriptError, Value};

use crate::message::{Edits, Message};
use crate::modules::pv::Avps;
use crate::proxy::statistics::WorkerStatistics;
use crate::proxy::worker_pool::OwnSlot;
use crate::proxy::{Caller, Outbox, Shared};
use crate::tm::Call;
use crate::transaction::{Actions, Handle, ServerKey, TimerQueue};

/// The most bytes of a message's buffers that are kept for the next one.
const KEPT: usize = 16 << 10;

/// The number of the next worker.
static NEXT_WORKER: AtomicU64 = AtomicU64::new(0);

/// The context of the registry: one per worker, lent to the script for each call.
#[derive(Debug)]
pub struct Cx {
    /// What all workers share.
    pub shared: Arc<Shared>,
    /// The message being routed.
    pub msg: MessageState,
    /// What will be sent at the end of the turn.
    pub out: Outbox,
    /// When this worker's transactions must be looked at.
    pub timers: Arc<TimerQueue<Call>>,
    /// The script variables `$var(name)`; they live as long as the worker, as in Kamailio.
    pub vars: BTreeMap<Vec<u8>, Value>,
    /// A buffer for results that are put together, lent to the script until the next call.
    pub scratch: Vec<u8>,
    /// What this worker counts; nobody sees it before the worker has joined the proxy's statistics.
    pub(crate) statistics: Arc<WorkerStatistics>,
    /// Where messages are written before they are queued.
    pub(crate) buffer: Vec<u8>,
    /// An empty message: what `msg` holds on to between two messages.
    pub(crate) nothing: Arc<Message>,
    /// An empty list for the next input of a transaction, with its memory.
    pub(crate) actions: Actions,
    /// Tells this worker from the others of its proxy.
    pub(crate) worker: u64,
    /// Where the worker stands among the others; `None` for one that is alone.
    pub(crate) place: Option<OwnSlot>,
}

impl Cx {
    /// Creates a worker's context without a message.
    #[must_use]
    pub fn new(shared: Arc<Shared>, out: Outbox) -> Cx {
        let timers = Arc::new(TimerQueue::new(shared.now()));
        Cx {
            shared,
            msg: MessageState::default(),
            out,
            timers,
            vars: BTreeMap::new(),
            scratch: Vec::new(),
            statistics: Arc::default(),
            buffer: Vec::new(),
            nothing: Arc::new(Message::new()),
            actions: Actions::default(),
            worker: NEXT_WORKER.fetch_add(1, Ordering::Relaxed),
            place: None,
        }
    }
}

impl Cx {
    /// Calls a callback of the script. What is ready to be sent leaves first: nobody knows how long the script takes.
    pub(crate) fn call_script(&mut self, caller: &dyn Caller, callback: CallbackId) -> Result<Outcome, ScriptError> {
        match self.msg.route {
            // Seldom, and what it does may well be slow: an ACK before it does not wait on the off chance.
            Route::Failure => self.out.flush(),
            _ => self.out.release(),
        }
        caller.call(callback, self, &[])
    }

    /// Writes an error of the script to the log, with the message it was working on.
    pub(crate) fn report(&self, error: &ScriptError) {
        let call_id = self.msg.message.call_id().unwrap_or_default().escape_ascii();
        let method = self.msg.method().escape_ascii();
        self.shared.errors.report(error, format_args!("{method}, Call-ID {call_id}"));
    }
}

/// Where in its life a message is: which callback works on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Route {
    /// The request route.
    #[default]
    Request,
    /// The core's reply route.
    Reply,
    /// A branch route: the request on its way to one destination.
    Branch,
    /// A reply route of the transaction.
    OnReply,
    /// A failure route: the request again, after its branches have failed.
    Failure,
}

/// Everything that belongs to the message being routed and is forgotten with it.
#[derive(Clone, Debug)]
pub struct MessageState {
    /// The message as received.
    pub message: Arc<Message>,
    /// Who sent it.
    pub source: SocketAddr,
    /// The listener it came in by.
    pub socket: usize,
    /// The listener it shall leave by, if a module has chosen one (`loose_route`, `lookup`).
    pub send_socket: Option<usize>,
    /// What scripts and modules have changed; applied when the message leaves.
    pub edits: Edits,
    /// The R-URI if it was changed.
    pub new_ruri: Option<Vec<u8>>,
    /// Where the request shall go instead of to its R-URI.
    pub dst_uri: Option<Vec<u8>>,
    /// Route header values from a Path vector, to be put on top when the request leaves.
    pub path: Option<Vec<u8>>,
    /// Message flags 0 to 31; they follow the request into its transaction.
    pub flags: u32,
    /// Branch flags of the branch being worked on.
    pub branch_flags: u32,
    /// Script flags 0 to 31.
    pub script_flags: u32,
    /// Whether replies go to the source port whatever the Via says.
    pub force_rport: bool,
    /// Destinations besides the R-URI.
    pub branches: Vec<ExtraBranch>,
    /// Which callback runs.
    pub route: Route,
    /// The branch, in a branch route or reply route.
    pub branch_index: Option<usize>,
    /// The transaction, once there is one.
    pub transaction: Option<Handle<Call>>,
    /// By what it is found; from when it was looked for until it is made.
    pub(crate) server_key: Option<ServerKey>,
    /// The callbacks armed for the transaction.
    pub armed: Armed,
    /// The waiting times in milliseconds that `t_set_fr` has set for the transaction: after ringing, and before.
    pub fr: (Option<u64>, Option<u64>),
    /// Whether a final reply was sent, statelessly or not.
    pub final_reply: bool,
    /// Whether the script has asked to drop what this route works on (`set_drop`).
    pub drop: bool,
    /// The error that the transaction layer will answer after the script, unless the script answers itself.
    pub delayed_error: Option<(u16, &'static str)>,
    /// Header lines for replies made here (`hdr.append_to_reply`).
    pub reply_headers: Vec<u8>,
    /// What `record_route` and its relatives have done.
    pub record_route: RecordRoute,
    /// The parameters of the proxy's own Route that `loose_route` has consumed.
    pub own_route: Option<Vec<u8>>,
    /// The Max-Forwards that `process_maxfwd` has set.
    pub max_forwards: Option<u32>,
    /// The values of `$avp(name)`; they follow the request into its transaction.
    pub(crate) avps: Avps,
    /// The status that brought the request into a failure route.
    pub failure_status: Option<u16>,
    /// The key under which the request counts as being in progress.
    pub(crate) in_progress: Option<u64>,
}

impl MessageState {
    /// Starts with a message that has just been received.
    #[must_use]
    pub fn new(message: Arc<Message>, source: SocketAddr, socket: usize) -> MessageState {
        MessageState {
            message,
            source,
            socket,
            send_socket: None,
            edits: Edits::new(),
            new_ruri: None,
            dst_uri: None,
            path: None,
            flags: 0,
            branch_flags: 0,
            script_flags: 0,
            force_rport: false,
            branches: Vec::new(),
            route: Route::Request,
            branch_index: None,
            transaction: None,
            server_key: None,
            armed: Armed::default(),
            fr: (None, None),
            final_reply: false,
            drop: false,
            delayed_error: None,
            reply_headers: Vec::new(),
            record_route: RecordRoute::default(),
            own_route: None,
            max_forwards: None,
            avps: Avps::default(),
            failure_status: None,
            in_progress: None,
        }
    }

    /// Starts over with a message that has just been received, and with the buffers that nearly each one needs.
    pub(crate) fn start_over(&mut self, message: Arc<Message>, source: SocketAddr, socket: usize) {
        let (mut edits, mut reply_headers) = (std::mem::take(&mut self.edits), std::mem::take(&mut self.reply_headers));
        if edits.memory() + reply_headers.capacity() > KEPT {
            (edits, reply_headers) = (Edits::new(), Vec::new());
        }
        edits.clear();
        reply_headers.clear();
        *self = MessageState { edits, reply_headers, ..MessageState::new(message, source, socket) };
    }

    /// How many bytes it holds on the heap, the message included.
    pub(crate) fn memory(&self) -> usize {
        let texts = [&self.new_ruri, &self.dst_uri, &self.path, &self.own_route];
        let texts: usize = texts.into_iter().flatten().map(Vec::capacity).sum();
        let preset: usize = self.record_route.preset.iter().map(Vec::capacity).sum();
        let headers = self.reply_headers.capacity() + self.record_route.params.capacity() + preset;
        self.message.memory() + self.edits.memory() + self.avps.memory() + texts + headers
    }

    /// Returns whether it belongs to a dialog: whether To has a tag.
    pub(crate) fn is_within_dialog(&self) -> bool {
        self.message.to_tag().is_some()
    }

    /// Returns the current R-URI; empty for a reply.
    #[must_use]
    pub fn ruri(&self) -> &[u8] {
        self.new_ruri.as_deref().or_else(|| self.message.ruri()).unwrap_or_default()
    }

    /// Returns the method: of a reply the one in its CSeq, empty if that cannot be read.
    #[must_use]
    pub fn method(&self) -> &[u8] {
        match self.message.method() {
            Some(method) => method.as_bytes(),
            None => self.message.cseq().map_or(&[], |cseq| cseq.method.as_bytes()),
        }
    }
}

/// What each branch has a copy of its own of.
#[derive(Clone, Debug)]
pub(crate) struct BranchState {
    edits: Edits,
    record_route: RecordRoute,
    new_ruri: Option<Vec<u8>>,
    dst_uri: Option<Vec<u8>>,
    path: Option<Vec<u8>>,
    branch_flags: u32,
    send_socket: Option<usize>,
    route: Route,
    branch_index: Option<usize>,
    drop: bool,
}

impl MessageState {
    /// Copies what each branch may change for itself.
    pub(crate) fn branch_state(&self) -> BranchState {
        BranchState {
            edits: self.edits.clone(),
            record_route: self.record_route.clone(),
            new_ruri: self.new_ruri.clone(),
            dst_uri: self.dst_uri.clone(),
            path: self.path.clone(),
            branch_flags: self.branch_flags,
            send_socket: self.send_socket,
            route: self.route,
            branch_index: self.branch_index,
            drop: self.drop,
        }
    }

    /// Puts it back.
    pub(crate) fn restore_after_branch(&mut self, before: BranchState) {
        let BranchState {
            edits,
            record_route,
            new_ruri,
            dst_uri,
            path,
            branch_flags,
            send_socket,
            route,
            branch_index,
            drop,
        } = before;
        self.edits = edits;
        self.record_route = record_route;
        self.new_ruri = new_ruri;
        self.dst_uri = dst_uri;
        self.path = path;
        self.branch_flags = branch_flags;
        self.send_socket = send_socket;
        self.route = route;
        self.branch_index = branch_index;
        self.drop = drop;
    }
}

impl Default for MessageState {
    fn default() -> Self {
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        MessageState::new(Arc::new(Message::new()), nowhere, 0)
    }
}

/// The callbacks that `t_on_branch`, `t_on_reply` and `t_on_failure` have set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Armed {
    /// Called for each branch before it is sent.
    pub branch: Option<CallbackId>,
    /// Called for each reply of the transaction.
    pub reply: Option<CallbackId>,
    /// Called when all branches have failed.
    pub failure: Option<CallbackId>,
}

/// One destination besides the R-URI.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtraBranch {
    /// The R-URI.
    pub ruri: Vec<u8>,
    /// Where it goes instead of to its R-URI.
    pub dst_uri: Option<Vec<u8>>,
    /// Route header values from a Path vector.
    pub path: Option<Vec<u8>>,
    /// The branch flags.
    pub flags: u32,
    /// The listener to leave by.
    pub send_socket: Option<usize>,
}

/// What the record-routing functions have done to the message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordRoute {
    /// Whether a Record-Route was added.
    pub added: bool,
    /// Parameters for it, from `add_rr_param`, each with its semicolon.
    pub params: Vec<u8>,
    /// The addresses that `record_route_preset` has given it; empty for the ones of the proxy's sockets.
    pub preset: Vec<Vec<u8>>,
    /// The socket besides the one the request came in by that the headers name.
    pub(crate) outbound: Option<usize>,
}
