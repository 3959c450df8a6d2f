//! How other threads bring the reactor something: they wake it once for many things.

mod flag;
mod sync {
    pub use std::sync::atomic::{AtomicBool, Ordering};
}

pub use flag::WakeFlag;
