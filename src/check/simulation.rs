//! The whole gateway, simulated.
