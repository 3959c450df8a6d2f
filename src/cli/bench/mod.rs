//! `framegate bench`: loads other programs and says what they did.

mod frames;
mod http;
mod output;
mod own;
mod threshold;
mod watch;

use std::net::IpAddr;

use clap::{Args, Subcommand};

use super::{Exit, Failure, signals};
use crate::tools::bench::Stop;

/// Loads a gateway or a web server and reports what it did.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, arg_required_else_help = false)]
pub struct Bench {
    #[command(subcommand)]
    which: Which,
}

#[derive(Debug, Subcommand)]
enum Which {
    /// Loads a gateway with frames
    Frames(frames::Frames),
    /// Holds and uses many connections to a web server
    Http(http::Http),
}

const EXAMPLES: &str = "\
Examples:
  framegate bench frames
  framegate bench http http://localhost:8080/ -c 10000
  framegate bench http --help";

impl Bench {
    /// Runs one of them.
    pub fn run(self) -> Result<Exit, Failure> {
        match self.which {
            Which::Frames(frames) => frames.run(),
            Which::Http(http) => http.run(),
        }
    }
}

/// A signal ends the load early, and what was measured is reported.
fn end_at_signal(stop: Stop) -> Result<(), Failure> {
    signals::on_signal(move || {
        log::info!("ending with what was measured; a second signal ends at once");
        stop.stop();
    })
}

/// Where connections come from.
#[derive(Args, Debug)]
#[command(next_help_heading = "Connections")]
pub struct Source {
    /// Local addresses to connect from, in turn; each has some 28,000 ports [default: the system's choice]
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    pub bind: Vec<IpAddr>,
}
