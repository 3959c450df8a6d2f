//! `POST /ctl/…`: what is asked, and what it is answered.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::request::Response;
use super::watch::Watch;
use super::{LogLevel, Reload, ReloadError};
use crate::core::limits::CTL_WAIT_MAX;
use crate::core::units::Time;
use crate::gateway::control::{Command, Paused, Reviewed, Setting, Unanswered};
use crate::wire::durable::Start;

/// 10 s until every connection was judged again, beside the usual time.
const RELOAD_WAIT: Duration = Duration::from_secs(10);

/// The verbs, for errors.
pub const VERBS: [&str; 7] = ["pause", "resume", "drain", "set", "reload", "rewind", "forget"];

/// What a pause may say.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Pause {
    /// How long to wait until it is quiet.
    wait: Option<Time>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    name: String,
    value: Value,
}

/// A value as people write it, or a bare number.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "the value is neither a text such as \"64MiB\" nor a whole number")]
enum Value {
    Text(String),
    Number(u64),
}

/// Where a durable name goes on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rewind {
    name: String,
    to: String,
}

/// A durable name to be forgotten.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Forget {
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Nothing {}

/// How long a verb with this body may take beside the usual time.
pub fn time(verb: &str, body: &[u8]) -> Duration {
    let wait = match verb {
        "pause" => read::<Pause>(body).ok().and_then(|pause| pause.wait),
        "reload" => Some(Time(RELOAD_WAIT)),
        _ => None,
    };
    wait.map_or(Duration::ZERO, |Time(wait)| wait.min(CTL_WAIT_MAX))
}

/// Carries out a verb.
pub fn steer(
    verb: &str,
    body: &[u8],
    watch: &Watch,
    log: &dyn LogLevel,
    reload: Option<&dyn Reload>,
) -> Response {
    let response = match verb {
        "pause" => pause(body, watch),
        "resume" => resume(body, watch),
        "drain" => drain(body, watch),
        "set" => set(body, watch, log),
        "reload" => self::reload(body, watch, reload),
        "rewind" => rewind(body, watch),
        "forget" => forget(body, watch),
        _ => {
            let wrong = format!("there is no /ctl/{}: choose {}", plain(verb), VERBS.join(", "));
            Err(Response::error(404, wrong))
        }
    };
    watch.forget();
    response.unwrap_or_else(|refused| refused)
}

fn pause(body: &[u8], watch: &Watch) -> Result<Response, Response> {
    let Pause { wait } = read(body)?;
    let wait = wait.map_or(Duration::ZERO, |Time(wait)| wait);
    if wait > CTL_WAIT_MAX {
        let max = Time(CTL_WAIT_MAX);
        return Err(Response::error(400, format!("wait is more than {max}: wait that long, then ask again")));
    }
    let paused = watch.ask(wait, |answer| Command::Pause(wait, answer)).map_err(unanswered)?;
    let Paused { quiet, in_flight, unconfirmed, queued, parked, held } = paused;
    let mut answer = json!({"phase": "paused", "quiet": quiet, "in_flight": in_flight, "queued": queued});
    let more = [("unconfirmed", unconfirmed), ("parked", parked), ("held", held)];
    for (name, count) in more.into_iter().filter(|(_, count)| *count > 0) {
        answer[name] = count.into();
    }
    Ok(Response::json(200, &answer))
}

fn resume(body: &[u8], watch: &Watch) -> Result<Response, Response> {
    let Nothing {} = read(body)?;
    let was_paused = watch.ask(Duration::ZERO, Command::Resume).map_err(unanswered)?;
    Ok(Response::json(200, &json!({"phase": "running", "was_paused": was_paused})))
}

fn drain(body: &[u8], watch: &Watch) -> Result<Response, Response> {
    let Nothing {} = read(body)?;
    log::info!("told to drain");
    watch.drain();
    Ok(Response::json(202, &json!({"phase": "draining"})))
}

fn set(body: &[u8], watch: &Watch, log: &dyn LogLevel) -> Result<Response, Response> {
    let Set { name, value } = read(body)?;
    let value = match value {
        Value::Text(text) => text,
        Value::Number(number) => number.to_string(),
    };
    let wrong = |wrong: String| Response::error(400, wrong);
    let change = if name == "log" {
        log.set_level(&plain(&value)).map_err(wrong)?
    } else {
        let name = plain(&name);
        let setting = Setting::parse(&name, &plain(&value)).map_err(|why| {
            // Which names there are, and the one that is not the gate's.
            let more = if Setting::NAMES.contains(&&*name) { "" } else { ", log" };
            wrong(why + more)
        })?;
        let set = watch.ask(Duration::ZERO, |answer| Command::Set(setting, answer));
        set.map_err(unanswered)?.map_err(wrong)?
    };
    Ok(Response::json(200, &change))
}

fn rewind(body: &[u8], watch: &Watch) -> Result<Response, Response> {
    let Rewind { name, to } = read(body)?;
    let wrong = |wrong: String| Response::error(400, wrong);
    let to: Start = to.parse().map_err(|why| wrong(format!("to: {why}")))?;
    let moved = watch.ask(Duration::ZERO, |answer| Command::Rewind(name, to, answer));
    Ok(Response::json(200, &moved.map_err(unanswered)?.map_err(wrong)?))
}

fn forget(body: &[u8], watch: &Watch) -> Result<Response, Response> {
    let Forget { name } = read(body)?;
    let forgotten = watch.ask(Duration::ZERO, |answer| Command::Forget(name, answer));
    let forgotten = forgotten.map_err(unanswered)?.map_err(|why| Response::error(409, why))?;
    Ok(Response::json(200, &json!({"name": forgotten.name, "position": forgotten.old - 1})))
}

/// What came of a reload.
#[derive(Debug, Serialize)]
struct Answered {
    #[serde(flatten)]
    reviewed: Reviewed,
    needs_restart: Vec<String>,
}

fn reload(body: &[u8], watch: &Watch, reload: Option<&dyn Reload>) -> Result<Response, Response> {
    let Nothing {} = read(body)?;
    let refused = |why: ReloadError| match why {
        ReloadError::Unanswered(why) => unanswered(why),
        why => Response::error(409, why.to_string()),
    };
    let asked = reload.ok_or(ReloadError::Nothing).and_then(|reload| reload.reload()).map_err(refused)?;
    let reviewed = watch.wait(RELOAD_WAIT, &asked.reviewed).map_err(unanswered)?;
    Ok(Response::json(200, &Answered { reviewed, needs_restart: asked.needs_restart }))
}

/// Reads a body; one without a byte is an empty object.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Response> {
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|wrong| Response::error(400, format!("the body is wrong: {wrong}")))
}

/// What came from outside, fit for a line of an answer or a log.
fn plain(text: &str) -> String {
    crate::core::units::plain(&text.chars().take(64).collect::<String>())
}

/// Why there is no answer, as a response.
pub fn unanswered(why: Unanswered) -> Response {
    let status = match why {
        Unanswered::Busy | Unanswered::Gone => 503,
        Unanswered::Late => 504,
    };
    Response::error(status, why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_strictly() {
        assert_eq!(read::<Pause>(b"").unwrap().wait, None);
        assert_eq!(read::<Pause>(b" {\"wait\":\"30s\"} ").unwrap().wait, Some(Time(Duration::from_secs(30))));
        for body in [&b"{\"wiat\":1}"[..], b"{\"wait\":\"soon\"}", b"[", b"\xff"] {
            assert_eq!(read::<Pause>(body).unwrap_err().status, 400);
        }
        assert!(read::<Set>(b"{\"name\":\"workers\",\"value\":3}").is_ok());
        assert!(read::<Set>(b"{\"name\":\"workers\"}").is_err());
        let said = serde_json::from_str::<Value>("true").unwrap_err().to_string();
        assert!(said.contains("neither a text"), "{said}");
        assert_eq!(time("pause", b"{\"wait\":\"1h\"}"), CTL_WAIT_MAX);
        assert_eq!(time("resume", b"{\"wait\":\"1h\"}"), Duration::ZERO);
    }

    #[test]
    fn what_comes_from_outside_stays_on_its_line() {
        assert_eq!(plain("a\nb\u{1b}[2J"), "a\\nb\\u{1b}[2J");
        assert_eq!(plain(&"x".repeat(1000)).len(), 64);
    }
}
