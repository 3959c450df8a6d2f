//! Arguments in, exit code out; a file a command.
#![deny(clippy::print_stderr, clippy::print_stdout, reason = "they panic where nobody reads what is printed")]

mod access;
mod bench;
mod config_file;
mod ctl;
mod dependent_options;
mod failure;
mod file_listeners;
mod final_ledger;
mod frame_line;
mod http_sink;
mod in_range;
mod layout;
mod layouts;
mod log;
mod periodic_report;
mod policies;
mod post;
mod post_report;
mod ready_file;
mod reload;
mod repair;
mod restart;
mod screen;
mod secret;
mod send;
mod send_frames;
mod send_layout;
mod send_replies;
mod send_report;
mod serve;
mod settings;
mod signals;
mod start_lines;
mod startup;
mod stdout_reader;
mod tail;
mod tail_live;
mod tail_store;
mod tls;
mod verify;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use ::log::LevelFilter;
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use crate::core::units::plain;
pub use crate::core::units::{Size, Time, TimeOrOff};
use failure::spawn;
pub use failure::{Exit, Failure};

/// Verified frames in, in order out: a TCP gateway that checks every frame's SHA-256 and keeps each
/// connection's order.
#[derive(Debug, Parser)]
#[command(name = "framegate", version, max_term_width = 110, arg_required_else_help = false, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    log: Log,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 all done; 1 the work was done and part of it failed; 2 wrong usage or configuration; \
3 the other side could not be reached or went away; 130 ended by a signal (serve: 0, since it finishes what it \
accepted, or 1 where --drain was over before handlers and sinks had done all of it, and 130 at a second signal).";

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the gateway
    Serve(Box<serve::Serve>),
    /// Publishes lines or files
    Send(send::Send),
    /// Subscribes and prints, or prints what is stored
    Tail(tail::Tail),
    /// Loads a gateway or a web server and reports what it did
    Bench(bench::Bench),
    /// POSTs the records of archives, files or a watched folder to a store
    Post(post::Post),
    /// Reads and steers a running gateway
    Ctl(ctl::Ctl),
    /// Checks the frames in stored files
    Verify(verify::Verify),
    /// Shows the layouts of foreign frames, and checks declarations of them
    Layout(layout::LayoutCommand),
    /// Makes tokens for the access file, and checks it
    Access(access::AccessCommand),
}

/// How much is said on standard error.
#[derive(Args, Debug)]
#[command(next_help_heading = "Log")]
struct Log {
    /// Logs more to standard error; twice for everything. RUST_LOG takes precedence
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Logs only errors to standard error
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
}

/// Runs the command that `args` (the program's name first) ask for.
pub fn run(args: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> ExitCode {
    signals::survive_file_size_limit();
    let ended = match Cli::try_parse_from(args) {
        Ok(cli) => {
            let journal = cli.log.begin(&cli.command);
            match cli.command {
                Command::Serve(serve) => serve.run(journal),
                Command::Send(send) => send.run(),
                Command::Tail(tail) => tail.run(),
                Command::Bench(bench) => bench.run(),
                Command::Post(post) => post.run(),
                Command::Ctl(ctl) => ctl.run(),
                Command::Verify(verify) => verify.run(),
                Command::Layout(layout) => layout.run(),
                Command::Access(access) => access.run(),
            }
        }
        Err(error) if !error.use_stderr() => {
            // Help and version; the reader of a pipe may be gone.
            let _ = error.print();
            Ok(Exit::Done)
        }
        Err(error) => Err(Failure::usage(one_line(&error))),
    };
    match ended {
        Ok(exit) => exit.into(),
        Err(failure) => {
            complain(&failure);
            failure.exit.into()
        }
    }
}

impl Log {
    fn begin(&self, command: &Command) -> log::Journal {
        let level = match (self.quiet, self.verbose, command) {
            (true, ..) => LevelFilter::Error,
            (_, 0, Command::Serve(_) | Command::Bench(_) | Command::Post(_)) => LevelFilter::Info,
            (_, 0, _) => LevelFilter::Warn,
            (_, 1, _) => LevelFilter::Debug,
            (_, _, _) => LevelFilter::Trace,
        };
        log::Journal::begin(level)
    }
}

/// Says in a line what is wrong. Where nobody reads that (`2>&1 | head -1`, a full disk), the exit code is left.
fn complain(what: &dyn Display) {
    let what = plain(&what.to_string());
    screen::above(|| drop(writeln!(io::stderr(), "framegate: {what}")));
}

/// Prints a report, which ends in a line break.
fn print(report: &str) -> Result<(), Failure> {
    let line_break = if report.ends_with('\n') { "" } else { "\n" };
    match io::stdout().write_all(format!("{report}{line_break}").as_bytes()) {
        Ok(()) => Ok(()),
        // Nobody is left to read it.
        Err(why) if why.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(why) => Err(Failure { exit: Exit::Partly, message: format!("cannot print the report: {why}") }),
    }
}

/// clap's message without its usage, which the `--help` that it names gives in full.
fn one_line(error: &clap::Error) -> String {
    let rendered = error.render().to_string();
    let text = rendered.strip_prefix("error: ").unwrap_or(&rendered);
    let (said, usage) = text.split_once("Usage: ").unwrap_or((text, ""));
    let (said, _) = said.split_once("For more information").unwrap_or((said, ""));
    let said: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let said = said.join(" ").replace(" tip: ", "; ");
    match error.kind() {
        // The message holds its own mend.
        ErrorKind::ValueValidation => said,
        ErrorKind::InvalidValue if said.contains("[possible values: ") => said,
        _ => {
            let command: Vec<&str> = usage
                .split(' ')
                .take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
                .collect();
            let command = if command.is_empty() { "framegate".to_string() } else { command.join(" ") };
            format!("{said}; see {command} --help")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_usage_error_is_one_line() {
        for args in [
            &["framegate"][..],
            &["framegate", "dance"],
            &["framegate", "serve", "--memroy", "1GiB"],
            &["framegate", "serve", "--memory", "lots"],
            &["framegate", "serve", "--slow", "sometimes"],
            &["framegate", "serve", "--memory"],
            &["framegate", "serve", "-v", "-q"],
        ] {
            let error = Cli::try_parse_from(args).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            let line = one_line(&error);
            assert!(!line.contains('\n') && line.len() < 250, "{args:?}: {line}");
        }
    }

    /// Every option of every command, as the words before it on the command line.
    fn every_option() -> Vec<(Vec<String>, clap::Arg)> {
        fn collect(command: &clap::Command, before: &[String], all: &mut Vec<(Vec<String>, clap::Arg)>) {
            let here = [before, &[command.get_name().to_string()]].concat();
            all.extend(command.get_arguments().map(|arg| (here.clone(), arg.clone())));
            command.get_subcommands().for_each(|nested| collect(nested, &here, all));
        }
        let mut all = Vec::new();
        collect(&Cli::command(), &[], &mut all);
        all
    }

    /// What an option needs beside it to be read at all.
    fn beside(words: &[String]) -> &'static [&'static str] {
        match words.last().map(String::as_str) {
            Some("http") => &["http://h/"],
            Some("post") => &["a", "http://h/"],
            Some("check") => &["a"],
            _ => &[],
        }
    }

    /// A number or a time that can be given has a range: an option of a new type is put in one list or the other.
    #[test]
    fn every_number_and_time_has_a_range_and_it_holds() {
        use crate::{gateway, http::wire as http, sinks};
        use std::any::TypeId;
        let words = [
            TypeId::of::<bool>(),
            TypeId::of::<u8>(), // how often -v was given
            TypeId::of::<String>(),
            TypeId::of::<OsString>(),
            TypeId::of::<std::path::PathBuf>(),
            TypeId::of::<std::net::IpAddr>(),
            TypeId::of::<gateway::SlowPolicy>(),
            TypeId::of::<gateway::BadDigestPolicy>(),
            TypeId::of::<gateway::Overflow>(),
            TypeId::of::<gateway::Pressure>(),
            TypeId::of::<sinks::store::SyncPolicy>(),
            TypeId::of::<crate::runtime::tls::ClientAuth>(),
            TypeId::of::<crate::wire::Width>(),
            TypeId::of::<tail::Format>(),
            TypeId::of::<crate::wire::durable::Start>(),
            TypeId::of::<post::What>(),
            TypeId::of::<http::Target>(),
            TypeId::of::<http::Field>(),
            TypeId::of::<http::Method>(),
            TypeId::of::<crate::http::dispatch::judge::OkWhen>(),
            TypeId::of::<crate::tools::bench::http::StatusRange>(),
            TypeId::of::<post::Delimiter>(),
        ];
        let mut ranges = crate::core::ranges::RANGES.to_vec();
        for (command, arg) in every_option() {
            let kind = arg.get_value_parser().type_id();
            if words.iter().any(|word| kind == *word) {
                continue;
            }
            let name = arg.get_long().expect("a number is no positional argument");
            let shown = format!("{} --{name}", command.join(" "));
            let last = command.last().unwrap();
            let at = ranges.iter().position(|range| range.command == last && range.option == name);
            let range = ranges.swap_remove(at.unwrap_or_else(|| panic!("{shown} has no range in ranges.rs")));
            let (taken, refused) = crate::core::ranges::tests::cases(&range);
            if range.check("0").is_ok() {
                let help = arg.get_long_help().or(arg.get_help()).expect("a help").to_string();
                let said = help.split_once("[default").map_or(&*help, |(said, _)| said);
                let zero = said.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == "0");
                assert!(zero, "{shown}: the help does not say what 0 is: {help}");
            }
            let given = |value: &str| {
                let value = if name == "fail-above" { format!("p99={value}") } else { value.to_string() };
                let option = [format!("--{name}={value}")];
                let beside = beside(&command).iter().map(ToString::to_string);
                let needed = match name {
                    "since" => vec!["--store=x".to_string()],
                    "window" => vec!["--durable=x".to_string()],
                    _ => Vec::new(),
                };
                Cli::try_parse_from(command.iter().cloned().chain(option).chain(needed).chain(beside))
            };
            for value in taken {
                assert!(given(&value).is_ok(), "{shown} {value}: {}", given(&value).unwrap_err());
            }
            for value in refused {
                let line = one_line(&given(&value).expect_err(&format!("{shown} {value}")));
                let said = line.contains(&value)
                    && line.contains(&format!("--{name} "))
                    && line.contains(&range.bounds.to_string());
                assert!(said && line.len() < 300, "{shown} {value}: {line}");
            }
        }
        assert!(ranges.is_empty(), "no option has these: {ranges:?}");
    }

    #[test]
    fn every_command_has_an_example_and_every_option_a_help() {
        let cli = Cli::command();
        // The verbs of `ctl` are shown by its own examples.
        let nested = cli.get_subcommands().filter(|command| command.get_name() != "ctl");
        let nested = nested.flat_map(clap::Command::get_subcommands);
        for command in cli.get_subcommands().chain(nested).filter(|command| command.get_name() != "help") {
            let example = command.get_after_help().expect("an example").to_string();
            let shown = example.lines().any(|line| {
                line.contains("framegate ") && line.split(' ').any(|word| word == command.get_name())
            });
            assert!(shown, "{example}");
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some(), "{} {}", command.get_name(), arg.get_id());
            }
        }
    }
}
