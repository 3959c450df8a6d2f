//! The load generators, and what they share: what is measured, how it is reported, and when it is not to
//! be believed.
//!
//! A load runs on one thread and one [`Reactor`](crate::runtime::net::Reactor) and writes what happens into a
//! [`Measure`]: each thing done with how long it took, each error by kind, how many connections are
//! alive. Beside it, [`Usage`] keeps what the generator itself spent and how late it was. At the end
//! both make [`Figures`], with [`Doubt`]s in plain words where the generator, not the other side, may
//! be what was measured.

pub mod checks;
mod doubts;
mod errors;
mod figures;
pub mod frames;
pub mod http;
mod latency;
mod measure;
pub mod page;
mod plot;
mod progress;
mod series;
mod stop;
mod usage;

pub use crate::runtime::net::{is_out_of_files, kind_of};
pub use doubts::Doubt;
pub use errors::{BAD_STATUS, Errors};
pub use figures::{Connections, Figures};
pub use latency::{Latency, Percentiles};
pub use measure::Measure;
pub use plot::{Line, Panel, Plot, Scale};
pub use progress::{Progress, Ticker};
pub use series::{Interval, Series};
pub use stop::Stop;
pub use usage::{Own, Process, Spent, Usage};
