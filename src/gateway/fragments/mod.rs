//! Messages that come in parts.

pub(in crate::gateway) mod assembly;
pub(in crate::gateway) mod copies;
