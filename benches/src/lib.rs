//! What a call costs: each bench asks one question and has its baseline beside it.

pub mod timing;
