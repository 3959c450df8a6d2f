//! `framegate ctl`: reads and steers a running gateway.

mod subscriptions;
mod table;

use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::in_range::in_range;
use super::settings::ADMIN;
use super::{Exit, Failure, Time, print, secret};
use crate::client::Tls;
use crate::core::limits::{ANSWER_TIMEOUT, START_PATIENCE, START_PAUSE};
use crate::gateway::control::Setting;
use crate::http::connect::{Answer, Failure as Unanswered, ask, without_number};
use crate::http::wire::{Fault, Field, Method, Missing, Target};
use crate::runtime::net::LinkError;
use crate::runtime::tls::said_of;
use crate::wire::durable::Start;

/// Reads and steers a running gateway, over HTTP.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, arg_required_else_help = false)]
pub struct Ctl {
    /// Where the gateway's --admin is
    #[arg(long, value_name = "ADDR", default_value = ADMIN, global = true)]
    admin: String,
    /// The token of the gateway's --admin-token-file [default: none]
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    tls: super::tls::ClientTls,
    /// Prints the answer as one JSON object
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Shows what it does, how full it is, who is slow and who was closed
    #[command(after_help = "Example:\n  framegate ctl status")]
    Status,
    /// Takes nothing more in and gives handlers nothing more; what was accepted is finished
    #[command(after_help = "Example:\n  framegate ctl pause --wait 1m")]
    Pause {
        /// Waits until that is done, at most this long; then it exits 1; 0 does not wait [default: does not wait; of --wait alone: 1h]
        #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "1h", value_parser = in_range::<Time>())]
        wait: Option<Time>,
    },
    /// Takes in again
    #[command(after_help = "Example:\n  framegate ctl resume")]
    Resume,
    /// Finishes what was accepted and ends, as TERM does
    #[command(after_help = "Example:\n  framegate ctl drain")]
    Drain,
    /// Reads the access file and the files of TLS again, and judges every connection by them
    ///
    /// If anything in them is wrong, what was in force stays so, and the exit code is 2. Otherwise connections that may not be
    /// here any more are closed, and patterns taken that may not be subscribed to any more. It is over when all are judged, and
    /// names the settings that changed in the file of --config and need a restart.
    #[command(after_help = "Example:\n  framegate ctl reload")]
    Reload,
    /// Lists the durable names: where each is, how far it is behind, and whether a connection has it
    #[command(
        after_help = "Example:\n  framegate ctl subscriptions --json | jq '.names[] | select(.lag_frames > 1000)'"
    )]
    Subscriptions,
    /// Has a durable name go on at another place; a subscriber that has it is closed, and comes again there
    #[command(after_help = "Example:\n  framegate ctl rewind billing --to 2h")]
    Rewind {
        /// Which
        #[arg(value_name = "NAME")]
        name: String,
        /// Where: new, oldest, seq 17, 2h (that long ago) or 2026-11-29T22:00Z
        #[arg(long, value_name = "WHERE")]
        to: Start,
    },
    /// Forgets a durable name that no subscriber has
    #[command(after_help = "Example:\n  framegate ctl forget billing")]
    Forget {
        /// Which
        #[arg(value_name = "NAME")]
        name: String,
    },
    #[command(about = set_about(), after_help = "Example:\n  framegate ctl set memory 512MiB")]
    Set {
        /// Which
        #[arg(value_name = "NAME")]
        name: String,
        /// To what, as the option of serve has it
        #[arg(value_name = "VALUE")]
        value: String,
    },
}

fn set_about() -> String {
    format!("Changes a setting: {} or log", Setting::NAMES.join(", "))
}

const EXAMPLES: &str = "\
Exits 3 where no gateway answers.

Examples:
  framegate ctl status
  framegate ctl pause --wait && systemctl restart database && framegate ctl resume
  framegate ctl set memory 512MiB
  framegate ctl set log debug
  framegate ctl set max-in-flight 10
  framegate ctl reload
  framegate ctl subscriptions
  framegate ctl rewind billing --to oldest
  framegate ctl status --json | jq '.slow[0]'";

/// One request waits this long for quiet; then it is asked again.
const WAIT_EACH: Duration = Duration::from_secs(30);

/// A gateway with many connections needs a moment to judge all of them.
const RELOAD_WAIT: Duration = Duration::from_secs(15);

/// How long an answer may take beside that.
const TIMEOUT: Duration = ANSWER_TIMEOUT.saturating_mul(2);

impl Ctl {
    /// Asks, and prints the answer.
    pub fn run(self) -> Result<Exit, Failure> {
        let token = secret::token("--token-file", self.token_file.as_deref())?;
        // As it stands in a browser's line of addresses.
        let tls = self.tls.load()?;
        let scheme = if tls.is_some() { "https://" } else { "http://" };
        let admin = self.admin.strip_prefix(scheme).unwrap_or(&self.admin).trim_end_matches('/').to_owned();
        let gateway = Remote { admin, authorization: token.map(|token| token.header()), tls };
        match self.verb {
            Verb::Status => {
                let status = gateway.get("/status")?;
                print(&if self.json { status.to_string() } else { table::status(&status) })?;
                Ok(Exit::Done)
            }
            Verb::Pause { wait } => pause(&gateway, wait, self.json),
            Verb::Resume => {
                let answer = gateway.post("resume", &json!({}), Duration::ZERO)?;
                let was_paused = answer["was_paused"] == true;
                say(&answer, self.json, if was_paused { "resumed" } else { "it was not paused" })?;
                Ok(Exit::Done)
            }
            Verb::Drain => {
                let answer = gateway.post("drain", &json!({}), Duration::ZERO)?;
                say(&answer, self.json, "draining: it ends when what was accepted is finished")?;
                Ok(Exit::Done)
            }
            Verb::Reload => {
                let answer = gateway.post("reload", &json!({}), RELOAD_WAIT)?;
                say(&answer, self.json, &reloaded(&answer))?;
                Ok(Exit::Done)
            }
            Verb::Subscriptions => {
                let answer = gateway.get("/subscriptions")?;
                print(&if self.json { answer.to_string() } else { subscriptions::table(&answer) })?;
                Ok(Exit::Done)
            }
            Verb::Rewind { name, to } => {
                let body = json!({"name": name, "to": to.to_string()});
                let answer = gateway.post("rewind", &body, Duration::ZERO)?;
                say(&answer, self.json, &subscriptions::rewound(&answer))?;
                Ok(Exit::Done)
            }
            Verb::Forget { name } => {
                let answer = gateway.post("forget", &json!({"name": name}), Duration::ZERO)?;
                let text = format!("{name} is forgotten; it was at {}", answer["position"]);
                say(&answer, self.json, &text)?;
                Ok(Exit::Done)
            }
            Verb::Set { name, value } => {
                let answer = gateway.post("set", &json!({"name": name, "value": value}), Duration::ZERO)?;
                let part = |name: &str| answer[name].as_str().unwrap_or("?").to_string();
                let also = answer["also"].as_str().map_or(String::new(), |also| format!(" ({also})"));
                let text = format!("{}: {} -> {}{also}", part("name"), part("old"), part("new"));
                say(&answer, self.json, &text)?;
                Ok(Exit::Done)
            }
        }
    }
}

fn pause(gateway: &Remote, wait: Option<Time>, json: bool) -> Result<Exit, Failure> {
    let Time(wait) = wait.unwrap_or(Time(Duration::ZERO));
    let began = Instant::now();
    loop {
        let left = wait.saturating_sub(began.elapsed());
        let each = left.min(WAIT_EACH);
        let answer = gateway.post("pause", &json!({"wait": Time(each).to_string()}), each)?;
        let quiet = answer["quiet"] == true;
        if !quiet && left > each {
            continue;
        }
        say(&answer, json, &paused(&answer))?;
        return Ok(if quiet || wait.is_zero() { Exit::Done } else { Exit::Partly });
    }
}

/// What is finished in a pause, and what waits for what.
fn paused(answer: &Value) -> String {
    let count = |name: &str| answer[name].as_u64().unwrap_or(0);
    let plural = |n: u64, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    if answer["quiet"] != true {
        let left = |name, what| format!("{} {what} yet", plural(count(name), "frame is", "frames are"));
        let finished = left("in_flight", "not finished");
        return match (count("in_flight"), count("unconfirmed")) {
            (_, 0) => format!("paused; {finished}"),
            (0, _) => format!("paused; {}", left("unconfirmed", "not confirmed by the sinks")),
            _ => format!("paused; {finished}, {}", left("unconfirmed", "not confirmed by the sinks")),
        };
    }
    let waits: Vec<String> = [
        ("queued", "frame waits", "frames wait", "for a handler"),
        ("parked", "frame waits", "frames wait", "for room for a fragment (--parts-memory, --max-keys)"),
        ("held", "fragment waits", "fragments wait", "for the others of its message"),
    ]
    .into_iter()
    .filter(|&(name, ..)| count(name) > 0)
    .map(|(name, one, many, what)| format!("{} {what}", plural(count(name), one, many)))
    .collect();
    match waits.is_empty() {
        true => "paused, and everything that was accepted is finished".into(),
        false => format!("paused, and all else that was accepted is finished; {}", waits.join(", ")),
    }
}

/// What came of a reload.
fn reloaded(answer: &Value) -> String {
    let count = |name: &str| answer[name].as_u64().unwrap_or(0);
    let of = |n: u64, one: &str, more: &str| format!("{n} {}", if n == 1 { one } else { more });
    let names: Vec<&str> =
        answer["needs_restart"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let restart = match names.is_empty() {
        true => String::new(),
        false => format!(
            "\nchanged, and read at the start alone: {}: restart the gateway for them",
            names.join(", ")
        ),
    };
    format!(
        "reloaded: {}; of {}, {} closed; {} taken from the others{restart}",
        of(count("identities"), "identity", "identities"),
        of(count("connections"), "connection", "connections"),
        of(count("closed"), "was", "were"),
        of(count("patterns_taken"), "pattern", "patterns"),
    )
}

fn say(answer: &Value, json: bool, text: &str) -> Result<(), Failure> {
    print(&if json { answer.to_string() } else { text.to_string() })
}

/// A gateway's admin server.
struct Remote {
    admin: String,
    authorization: Option<String>,
    tls: Option<Tls>,
}

impl Remote {
    fn get(&self, path: &str) -> Result<Value, Failure> {
        self.ask(&Method::GET, path, &[], "", TIMEOUT)
    }

    fn post(&self, verb: &str, body: &Value, wait: Duration) -> Result<Value, Failure> {
        let field = |name: &'static str, value: &str| {
            Field::new(name, value.as_bytes()).expect("a token is letters, digits and signs")
        };
        let mut fields = vec![field("Content-Type", "application/json")];
        fields.extend(self.authorization.as_ref().map(|given| field("Authorization", given)));
        let timeout = wait.saturating_add(TIMEOUT);
        self.ask(&Method::POST, &format!("/ctl/{verb}"), &fields, &body.to_string(), timeout)
    }

    fn ask(
        &self,
        method: &Method,
        path: &str,
        fields: &[Field],
        body: &str,
        timeout: Duration,
    ) -> Result<Value, Failure> {
        let admin = &self.admin;
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let target: Option<Target> = format!("{scheme}://{admin}{path}").parse().ok();
        // Nothing but a host and a port, so that all of the path is ours.
        let target = target.filter(|target| target.path() == path && target.authorization().is_none());
        let target = target.ok_or_else(|| {
            Failure::usage(format!("--admin {admin}: not of the form HOST:PORT: write it as {ADMIN}"))
        })?;
        let stranger = || gone(format!("what answers at {admin} is not a gateway: check --admin"));
        let tls = self.tls.as_ref().map(|tls| tls.0.for_http(target.host())).transpose();
        let tls = tls.map_err(Failure::usage)?;
        let answer = patiently(|| ask(method, &target, tls.as_ref(), fields, body.as_bytes(), timeout));
        let Answer { status, body } = answer.map_err(|failure| {
            let why = match failure {
                Unanswered::Link(LinkError::Tls(why)) => {
                    return gone(format!("no TLS with the gateway at {admin}: {}", said_of(&why)));
                }
                Unanswered::Connect(why) | Unanswered::Link(LinkError::Broken(why)) => without_number(&why),
                Unanswered::Response(fault) if fault != Fault::Closed(Missing::Everything) => {
                    return stranger();
                }
                failure => failure.to_string(),
            };
            gone(format!("no gateway answers at {admin}: {why}: is it running, with this --admin?"))
        })?;
        let value = serde_json::from_slice(&body).ok().filter(Value::is_object).ok_or_else(stranger)?;
        if (200..300).contains(&status) {
            return Ok(value);
        }
        let wrong = value["error"].as_str().ok_or_else(stranger)?;
        Err(match status {
            401 => Failure::usage(format!("{wrong}: name its file with --token-file")),
            400..500 => Failure::usage(wrong),
            _ => gone(wrong.to_string()),
        })
    }
}

/// Asks again for a moment where nobody listens: the gateway may have been started on the line before. What is
/// refused has done nothing.
fn patiently(ask: impl Fn() -> Result<Answer, Unanswered>) -> Result<Answer, Unanswered> {
    let began = Instant::now();
    loop {
        match ask() {
            Err(Unanswered::Connect(why))
                if why.kind() == io::ErrorKind::ConnectionRefused && began.elapsed() < START_PATIENCE =>
            {
                thread::sleep(START_PAUSE);
            }
            result => return result,
        }
    }
}

fn gone(message: String) -> Failure {
    Failure { exit: Exit::Gone, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_says_what_waits_for_what() {
        for (answer, said) in [
            (json!({"quiet": false, "in_flight": 1}), "paused; 1 frame is not finished yet"),
            (
                json!({"quiet": false, "in_flight": 0, "unconfirmed": 5}),
                "paused; 5 frames are not confirmed by the sinks yet",
            ),
            (json!({"quiet": true}), "paused, and everything that was accepted is finished"),
            (
                json!({"quiet": true, "queued": 2}),
                "paused, and all else that was accepted is finished; 2 frames wait for a handler",
            ),
            (
                json!({"quiet": true, "queued": 0, "parked": 3, "held": 1}),
                "paused, and all else that was accepted is finished; 3 frames wait for room for a fragment \
                 (--parts-memory, --max-keys), 1 fragment waits for the others of its message",
            ),
        ] {
            assert_eq!(paused(&answer), said);
        }
    }
}
