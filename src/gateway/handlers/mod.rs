//! Frames that a handler answers before they are distributed.

pub(in crate::gateway) mod answered;
pub(in crate::gateway) mod answers;
pub(in crate::gateway) mod calling;
pub(in crate::gateway) mod drafts;
pub(in crate::gateway) mod log_lines;
pub(in crate::gateway) mod processes;
pub(in crate::gateway) mod stage;
pub(in crate::gateway) mod waits;
pub(in crate::gateway) mod with_workers;
mod write;
