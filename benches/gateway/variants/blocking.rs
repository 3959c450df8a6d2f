//! Hashes each frame with `spawn_blocking`; FuturesOrdered restores the order.

use super::{accept, multi_thread, ordered};

pub fn serve() {
    accept(&multi_thread(), |stream, hub| {
        ordered::connection(stream, hub, ordered::each, |frame| {
            let checked = tokio::task::spawn_blocking(|| ordered::check(frame));
            async { checked.await.expect("verifying does not panic") }
        })
    });
}
