//! How other threads bring the reactor something: they wake it once for many things.

mod flag;
mod panics;
mod queue;
mod sync {
    pub use std::sync::atomic::{AtomicBool, Ordering};
}

pub use flag::WakeFlag;
pub use panics::Panicked;
pub use queue::WakeQueue;
