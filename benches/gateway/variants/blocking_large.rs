//! Hashes frames of up to 16 KiB in the task and larger ones with `spawn_blocking`, as guides advise.

use futures_util::future::Either;

use super::{accept, multi_thread, ordered};
use crate::wire::header_of;

/// 16 KiB take 9 µs to hash, less than it costs to have it done elsewhere.
const SMALL: usize = 16 << 10;

pub fn serve() {
    accept(&multi_thread(), |stream, hub| {
        let split = |run, items: &mut _| ordered::pieces(run, items, SMALL);
        ordered::connection(stream, hub, split, |item| {
            if header_of(&item).frame_len() <= SMALL {
                return Either::Left(std::future::ready(ordered::check(item)));
            }
            let checked = tokio::task::spawn_blocking(|| ordered::check(item));
            Either::Right(async { checked.await.expect("verifying does not panic") })
        })
    });
}
