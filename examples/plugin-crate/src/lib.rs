//! Exports of a library: they work on a type of the library, and any host that has one can lend it.

use kemi::kemi_export;

/// The state of the library, which a host keeps in its context.
#[derive(Debug, Default)]
pub struct Mailbox {
    sent: Vec<(Priority, String)>,
}

/// How urgent a mail is. Scripts read `mail.Priority.HIGH` and pass it.
#[kemi_export(module = "mail")]
#[kemi(rename_all = "lowercase")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// When there is time.
    Low,
    /// At once.
    High,
}

/// Sends a mail; returns how many were sent.
#[kemi_export(module = "mail")]
fn send(mailbox: &mut Mailbox, text: &str, priority: Priority) -> usize {
    mailbox.sent.push((priority, text.to_owned()));
    mailbox.sent.len()
}

impl Mailbox {
    /// Returns what was sent.
    #[must_use]
    pub fn sent(&self) -> &[(Priority, String)] {
        &self.sent
    }
}

/// Links the library: a crate that nothing mentions is left out of the program, and its exports with it.
pub fn link() {}
