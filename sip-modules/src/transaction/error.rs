//! Why a transaction refuses an input.

/// Why an input was refused; the transaction is as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// A final reply was sent or is being built, so neither a branch nor another reply can follow.
    #[error("the transaction already has its final reply")]
    Answered,
    /// The caller has cancelled the INVITE, so no further branch is tried; answer it with 487.
    #[error("the caller has cancelled the request: no further branch is tried")]
    Canceled,
    /// A provisional status was given where a final one ends the wait.
    #[error("status {0} is not a final one (200 to 699)")]
    NotFinal(u16),
    /// The index names no branch of this transaction.
    #[error("branch {0} does not exist in this transaction")]
    NoSuchBranch(usize),
    /// No failure handler was being waited for.
    #[error("no failure route of this transaction is running")]
    NotDeciding,
    /// The status code is outside 100 to 699.
    #[error("status {0} is not a SIP status (100 to 699)")]
    Status(u16),
    /// All branches are in use.
    #[error("a transaction has at most {max} branches", max = super::MAX_BRANCHES)]
    TooManyBranches,
}
