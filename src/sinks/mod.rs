//! Where distributed frames go beside their subscribers.

pub mod store;
