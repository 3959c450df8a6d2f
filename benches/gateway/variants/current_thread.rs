//! As streamed, with every task on one thread.

use super::{accept, streamed};

pub fn serve() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a reactor");
    accept(&runtime, streamed::connection);
}
