//! Verifies nothing: the ceiling of what reading and writing allow. It is no rival.

use super::{accept, multi_thread, task};

pub fn serve() {
    accept(&multi_thread(), |stream, hub| task::connection(stream, hub, |_| true));
}
