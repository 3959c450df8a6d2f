//! What people see: times, pauses, connections that stand out, lines in the log.

#[cfg(any(test, feature = "check"))]
pub(in crate::gateway) mod invariants;
pub(in crate::gateway) mod notices;
pub(in crate::gateway) mod pauses;
pub(in crate::gateway) mod survey;
pub(in crate::gateway) mod timing;
