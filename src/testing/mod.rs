//! Models that the rooms are compared with, and the simulation of the whole gateway. The same
//! `check_*` functions are driven by the tests and by the fuzz targets; each panics if it finds a fault.

pub mod heap;
pub mod models;
pub mod simulation;
