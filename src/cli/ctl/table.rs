//! A gateway's status as people read it.

use std::fmt::Write;
use std::time::Duration;

use serde_json::Value;

use crate::core::units::{about, grouped, held, latency, plain};

/// Characters of a row of settings, within what every terminal has.
const WIDTH: usize = 76;

/// The rows of each list that are shown; the JSON has them all.
const ROWS: usize = 10;

/// What `/status` said, as text.
pub fn status(status: &Value) -> String {
    let mut out = String::new();
    head(status, &mut out);
    ledger(&status["ledger"], status["sinks"].is_object(), &mut out);
    fullness(status, &mut out);
    identities(&status["identities"], &mut out);
    tls(&status["tls"], &mut out);
    handlers(status, &mut out);
    listeners(status, &mut out);
    sinks(status, &mut out);
    durable(&status["durable"], &mut out);
    peers(status, &mut out);
    out
}

fn head(status: &Value, out: &mut String) {
    let text = |name: &str| status[name].as_str().unwrap_or("?");
    let quiet = if status["phase"] != "running" && status["quiet"] == true { ", quiet" } else { "" };
    line(
        out,
        format_args!(
            "framegate {} on {}: {}{quiet}, up {}",
            text("version"),
            text("listen"),
            text("phase"),
            age(&status["uptime_seconds"])
        ),
    );
    let rates = &status["rates"];
    if rates.is_object() {
        let pair = |a: &str, b: &str| [&rates[a], &rates[b]];
        line(out, format_args!("\n{:22}{:>14}{:>14}", "a second", "in", "out"));
        let [frames_in, frames_out] = pair("frames_in", "frames_out").map(number);
        line(out, format_args!("  {:20}{frames_in:>14}{frames_out:>14}", "frames"));
        let [bytes_in, bytes_out] = pair("bytes_in", "bytes_out").map(bytes);
        line(out, format_args!("  {:20}{bytes_in:>14}{bytes_out:>14}", "bytes"));
        line(out, format_args!("{:22}{:>14}{:>14}", "latency", "p50", "p99"));
        for (name, stage) in [("read to verified", "verified"), ("verified to written", "written")] {
            let [p50, p99] = ["p50", "p99"].map(|p| micros(&rates[format!("{stage}_us_{p}")]));
            line(out, format_args!("  {name:20}{p50:>14}{p99:>14}"));
        }
    }
}

fn ledger(ledger: &Value, has_sinks: bool, out: &mut String) {
    let count = |name: &str| number(&ledger[name]);
    // Nothing where there are no parts.
    let some = |field: &str, name: &str| match ledger[field].as_u64() {
        None | Some(0) => String::new(),
        Some(_) => format!(" + {name} {}", number(&ledger[field])),
    };
    line(
        out,
        format_args!(
            "\nframes: read {}{} = delivered {} + control {} + rejected {}{} + dropped {} + undelivered {} + in flight {}",
            count("read"),
            some("reassembled", "reassembled"),
            count("delivered"),
            count("control"),
            count("rejected_total"),
            some("fragments", "fragments"),
            count("dropped"),
            count("undelivered"),
            count("in_flight"),
        ),
    );
    // Only what nothing else takes is lost with that.
    if ledger["unmatched"].as_u64().unwrap_or(0) > 0 {
        let lost = if has_sinks { "" } else { ": nobody has them" };
        line(out, format_args!("delivered, but matching no subscriber: {}{lost}", count("unmatched")));
    }
    let rejected = ledger["rejected"].as_object().into_iter().flatten();
    let rejected: Vec<String> = rejected.map(|(name, count)| format!("{name} {}", number(count))).collect();
    if !rejected.is_empty() {
        line(out, format_args!("rejected: {}", rejected.join(", ")));
    }
}

fn fullness(status: &Value, out: &mut String) {
    line(out, format_args!("\n{:22}{:>14}{:>14}", "how full", "now", "at most"));
    let queues = &status["queues"];
    for (name, depth) in [("connections", &queues["connections"]), ("worker jobs", &queues["jobs"])] {
        line(out, format_args!("  {name:20}{:>14}{:>14}", number(&depth["now"]), number(&depth["max"])));
    }
    let window = &queues["dedup_window"];
    if window.is_object() {
        let [now, max] = ["now", "max"].map(|field| number(&queues["dedup"][field]));
        line(out, format_args!("  {:20}{now:>14}{max:>14}", "digests remembered"));
    }
    let memory = &status["memory"];
    let [used, limit] = ["used_bytes", "limit_bytes"].map(|name| bytes(&memory[name]));
    line(out, format_args!("  {:20}{used:>14}{limit:>14}", "memory"));
    let subscriptions = &status["subscriptions"];
    if subscriptions["patterns"]["now"].as_u64().unwrap_or(0) > 0 {
        let held = ["now", "max"].map(|field| bytes(&subscriptions["bytes"][field]));
        line(out, format_args!("  {:20}{:>14}{:>14}", "of it, patterns", held[0], held[1]));
    }
    for (name, depth) in [
        ("with the handlers", &status["calls"]["in_flight"]),
        ("waiting for them", &status["calls"]["queued"]),
    ] {
        if depth.is_object() {
            line(out, format_args!("  {name:20}{:>14}{:>14}", number(&depth["now"]), number(&depth["max"])));
        }
    }
    let set_aside = &status["calls"]["set_aside"];
    if set_aside.as_u64().unwrap_or(0) > 0 {
        line(out, format_args!("  {:20}{:>14}", "set aside", number(set_aside)));
    }
    let parts = &status["parts"];
    if parts["keys"]["now"].as_u64().unwrap_or(0) > 0 {
        let keys = ["now", "max"].map(|field| number(&parts["keys"][field]));
        line(out, format_args!("  {:20}{:>14}{:>14}", "incomplete messages", keys[0], keys[1]));
        let held = ["now", "max"].map(|field| bytes(&parts["bytes"][field]));
        line(out, format_args!("  {:20}{:>14}{:>14}", "their fragments", held[0], held[1]));
        line(
            out,
            format_args!(
                "\nthe oldest incomplete message has waited {} for a fragment",
                age(&parts["oldest_seconds"])
            ),
        );
    }
    let seconds = |name: &str| window[name].as_f64().unwrap_or(0.0);
    if seconds("reach_seconds") < seconds("window_seconds") {
        line(
            out,
            format_args!(
                "\ncopies are recognised for {}, not for the {} of --dedup: there is no room for more digests; more \
                 --memory or a shorter --dedup mends it",
                age(&window["reach_seconds"]),
                age(&window["window_seconds"])
            ),
        );
    }
    let paused = status["paused_by"].as_object().into_iter().flatten();
    let paused: Vec<String> = paused
        .filter(|(_, by)| by["now"].as_u64().unwrap_or(0) > 0)
        .map(|(cause, by)| format!("{} by {}", number(&by["now"]), cause.replace('_', " ")))
        .collect();
    if !paused.is_empty() {
        line(out, format_args!("\npaused connections: {}", paused.join(", ")));
    }
    let settings = status["settings"].as_object().into_iter().flatten();
    let settings: Vec<String> =
        settings.map(|(name, value)| format!("{name} {}", plain(value.as_str().unwrap_or("?")))).collect();
    line(out, format_args!("\nsettings:"));
    for row in rows_of(&settings) {
        line(out, format_args!("  {row}"));
    }
}

/// Words, each with a comma behind it but the last, in rows that a terminal shows whole.
fn rows_of(words: &[String]) -> Vec<String> {
    let mut rows = vec![String::new()];
    for (index, word) in words.iter().enumerate() {
        let comma = if index + 1 < words.len() { "," } else { "" };
        let row = rows.last_mut().expect("there is one");
        if row.is_empty() {
            *row = format!("{word}{comma}");
        } else if row.len() + 1 + word.len() + comma.len() <= WIDTH {
            let _ = write!(row, " {word}{comma}");
        } else {
            rows.push(format!("{word}{comma}"));
        }
    }
    rows
}

/// Nothing where there is no access file.
fn identities(access: &Value, out: &mut String) {
    if !access.is_object() {
        return;
    }
    let count = |name: &str| number(&access[name]);
    line(
        out,
        format_args!(
            "\n{} in {}, {} revoked; frames denied {}, patterns denied {}",
            match access["identities"].as_u64() {
                Some(1) => "1 identity".to_string(),
                _ => format!("{} identities", count("identities")),
            },
            plain(access["file"].as_str().unwrap_or("?")),
            count("revoked"),
            count("not_published"),
            count("not_subscribed"),
        ),
    );
    let refused = access["refused"].as_object().into_iter().flatten();
    let refused: Vec<String> = refused
        .filter(|(_, count)| count.as_u64().unwrap_or(0) > 0)
        .map(|(why, count)| format!("{} {}", why.replace('_', " "), number(count)))
        .collect();
    if !refused.is_empty() {
        line(out, format_args!("connections refused: {}", refused.join(", ")));
    }
}

/// Nothing where no listener speaks TLS.
fn tls(tls: &Value, out: &mut String) {
    if !tls.is_object() {
        return;
    }
    let count = |name: &str| number(&tls[name]);
    line(
        out,
        format_args!(
            "\nTLS handshakes {} full, {} resumed, {} under way; live connections closed by certificates {}",
            count("full"),
            count("resumed"),
            number(&tls["handshakes"]["now"]),
            count("closed"),
        ),
    );
    let failed: Vec<String> = tls["refused"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, count)| count.as_u64().unwrap_or(0) > 0)
        .map(|(why, count)| format!("{} {}", why.replace('_', " "), number(count)))
        .collect();
    if !failed.is_empty() {
        line(out, format_args!("TLS failed: {}", failed.join(", ")));
    }
    for certificate in tls["certificates"].as_array().into_iter().flatten() {
        let part = |name: &str| plain(certificate[name].as_str().unwrap_or("?"));
        line(out, format_args!("the certificate of {} ends at {}", part("listener"), part("ends_at")));
    }
}

/// Nothing where there are no durable names.
fn durable(durable: &Value, out: &mut String) {
    let names = durable["names"]["now"].as_u64().unwrap_or(0);
    if names == 0 {
        return;
    }
    line(
        out,
        format_args!(
            "\ndurable names: {names}, {} connected; furthest behind: {} frames ({}) (framegate ctl subscriptions)",
            number(&durable["subscribers"]),
            number(&durable["lag_frames"]),
            bytes(&durable["lag_bytes"]),
        ),
    );
}

/// What people call a sink.
fn sink_name(name: &str) -> &str {
    match name {
        "store" => "the store",
        "http" => "the HTTP sink",
        name => name,
    }
}

/// Nothing where there are none.
fn handlers(status: &Value, out: &mut String) {
    let calls = &status["calls"];
    if !calls.is_object() {
        return;
    }
    let waiting = [&calls["queued"]["now"], &calls["set_aside"]];
    if waiting.iter().any(|count| count.as_u64().unwrap_or(0) > 0) {
        line(
            out,
            format_args!("\nthe oldest has waited {} for a handler", age(&status["oldest_queued_seconds"])),
        );
    }
    let all = calls["handlers"].as_array().map_or(&[][..], Vec::as_slice);
    if all.is_empty() {
        return;
    }
    line(
        out,
        format_args!(
            "\n{:22}{:>14}{:>14}{:>14}{:>14}{:>14}",
            "handlers", "busy with", "oldest", "done", "failed", "restarts"
        ),
    );
    for handler in all.iter().take(ROWS) {
        let pid = handler["pid"].as_u64().map_or("not running".into(), |pid| format!("process {pid}"));
        let name = format!("{} ({pid})", number(&handler["number"]));
        let [busy, done, failed, restarts] =
            ["busy", "done", "failed", "restarts"].map(|field| number(&handler[field]));
        let oldest = age(&handler["oldest_seconds"]);
        line(out, format_args!("  {name:20}{busy:>14}{oldest:>14}{done:>14}{failed:>14}{restarts:>14}"));
    }
    if all.len() > ROWS {
        line(out, format_args!("  and {} more; --json has them", all.len() - ROWS));
    }
    for handler in all.iter().filter(|handler| handler["trouble"].is_string()).take(ROWS) {
        let trouble = handler["trouble"].as_str().unwrap_or("?");
        line(out, format_args!("  handler {} does not start: {trouble}", number(&handler["number"])));
    }
}

/// Nothing where there are none.
/// Where there are several.
fn listeners(status: &Value, out: &mut String) {
    let all = status["ledger"]["listeners"].as_array().map_or(&[][..], Vec::as_slice);
    if all.len() < 2 {
        return;
    }
    let [connections, read, rejected, skipped] = ["connections", "frames read", "rejected", "skipped"];
    line(out, format_args!("\n{:36}{connections:>14}{read:>14}{rejected:>14}{skipped:>14}", "listeners"));
    for listener in all {
        let count = |name: &str| listener[name].as_u64().unwrap_or(0);
        let open = grouped(count("accepted").saturating_sub(count("closed")));
        let name = plain(listener["name"].as_str().unwrap_or("?"));
        let [read, rejected] = ["read", "rejected"].map(|name| number(&listener[name]));
        let skipped = bytes(&listener["bytes_skipped"]);
        line(out, format_args!("  {name:34}{open:>14}{read:>14}{rejected:>14}{skipped:>14}"));
    }
    let skipped = &status["ledger"]["bytes_skipped"];
    if skipped.as_u64().unwrap_or(0) > 0 {
        line(out, format_args!("skipped between frames: {}", bytes(skipped)));
    }
}

fn sinks(status: &Value, out: &mut String) {
    let sinks = &status["sinks"];
    let all = sinks["each"].as_array().map_or(&[][..], Vec::as_slice);
    if all.is_empty() {
        return;
    }
    let given = &status["ledger"]["to_sinks"];
    let [put, confirmed, refused] = ["put", "confirmed", "refused"].map(|name| number(&given[name]));
    line(out, format_args!("\nsinks: frames put {put}, confirmed {confirmed}, refused {refused}"));
    for sink in all {
        let name = sink_name(sink["name"].as_str().unwrap_or("?"));
        let lag = bytes(&sink["lag_bytes"]);
        let oldest = age(&sinks["oldest_seconds"]);
        let done = sink["done"].as_object().into_iter().flatten();
        let done = done.chain(sink["now"].as_object().into_iter().flatten());
        let done: Vec<String> = done.map(|(what, count)| format!("{what} {}", number(count))).collect();
        let waits = match sink["lag_bytes"].as_u64() {
            Some(0) => "all is confirmed".to_string(),
            _ => format!("{lag} not confirmed, the oldest for {oldest}"),
        };
        line(out, format_args!("  {name}: {waits}; {}", done.join(", ")));
        if let Some(trouble) = sink["trouble"].as_str() {
            let failures = number(&sink["failures"]);
            let failed =
                format!("{failures} {} failed", if failures == "1" { "attempt" } else { "attempts" });
            line(out, format_args!("  {name} is in trouble: {} ({failed})", plain(trouble)));
        }
        let topics = sink["topics"].as_array().map_or(&[][..], Vec::as_slice);
        for topic in topics.iter().take(ROWS) {
            let (topic, frames, size) = (&topic["topic"], number(&topic["frames"]), bytes(&topic["bytes"]));
            let topic = topic.as_str().filter(|topic| !topic.is_empty()).unwrap_or("(the empty topic)");
            line(out, format_args!("    {}: {}, {size}", plain(topic), plural(&frames, "frame")));
        }
        if topics.len() > ROWS {
            line(
                out,
                format_args!("    and less of other topics; --json has {} of them", topics.len() - ROWS),
            );
        }
    }
}

fn peers(status: &Value, out: &mut String) {
    let mut list = |title: &str, none: &str, rows: &Value, row: &dyn Fn(&Value) -> String| {
        let rows = rows.as_array().map_or(&[][..], Vec::as_slice);
        line(out, format_args!("\n{}", if rows.is_empty() { none } else { title }));
        for peer in rows.iter().take(ROWS) {
            let address = peer["address"].as_str().unwrap_or("?");
            let name = peer["identity"].as_str().map_or(String::new(), |name| format!(" ({})", plain(name)));
            let address = format!("{address}{name}");
            line(
                out,
                format_args!("  {address:24}{}, connected for {}", row(peer), age(&peer["age_seconds"])),
            );
        }
        if rows.len() > ROWS {
            line(out, format_args!("  and {} more; --json has them", rows.len() - ROWS));
        }
    };
    list("slow subscribers:", "no subscriber is behind", &status["slow"], &|peer| {
        let mut row = format!(
            "{} wait, the oldest for {}; took nothing for {}",
            bytes(&peer["pending_bytes"]),
            age(&peer["oldest_unsent_seconds"]),
            age(&peer["taken_nothing_seconds"])
        );
        if peer["dropped"].as_u64().unwrap_or(0) > 0 {
            let _ = write!(row, "; {} dropped", plural(&number(&peer["dropped"]), "frame"));
        }
        row
    });
    list("paused publishers:", "no publisher is paused", &status["paused"], &|peer| {
        let cause = peer["cause"].as_str().unwrap_or("?").replace('_', " ");
        let by = peer["by"].as_str().map(|by| format!(" {by}")).unwrap_or_default();
        format!("for {}, by {cause}{by}", age(&peer["paused_seconds"]))
    });
    let counted = status["ledger"]["rejected_total"].as_u64().unwrap_or(0) > 0;
    let none =
        if counted { "no connection that is open had frames refused" } else { "no frames were refused" };
    list("frames refused:", none, &status["rejected"], &|peer| {
        let last = peer["last"].as_str().unwrap_or("?");
        format!("{} refused, the last {} ago ({last})", number(&peer["rejected"]), age(&peer["last_seconds"]))
    });
    list("closed lately:", "no connection was closed yet", &status["closed"], &|peer| {
        let reason = peer["reason"].as_str().unwrap_or("?");
        let [read, written] = ["frames_read", "frames_written"].map(|name| number(&peer[name]));
        format!(
            "{} ago: {}; sent {}, got {written}",
            age(&peer["ago_seconds"]),
            plain(reason),
            plural(&read, "frame")
        )
    });
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("a String takes everything");
}

/// `1 frame`, `2 frames`; of a number that is shown already.
fn plural(number: &str, what: &str) -> String {
    format!("{number} {what}{}", if number == "1" { "" } else { "s" })
}

/// With its thousands apart.
fn number(value: &Value) -> String {
    value.as_f64().map_or("-".into(), |number| grouped(number.round() as u64))
}

fn bytes(value: &Value) -> String {
    value.as_f64().map_or("-".into(), |bytes| held(bytes as u64))
}

fn micros(value: &Value) -> String {
    value.as_f64().map_or("-".into(), latency)
}

/// To the two largest units.
fn age(value: &Value) -> String {
    let time = value.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.map_or("-".into(), about)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_and_times_are_short() {
        for (value, shown) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(number(&json!(value)), shown);
        }
        assert_eq!((number(&Value::Null), bytes(&json!(1536))), ("-".into(), "1.5 KiB".into()));
        for (seconds, shown) in [(0.25, "250ms"), (59.9, "59s"), (3_725.0, "1h 2m"), (200_000.0, "2d 7h")] {
            assert_eq!(age(&json!(seconds)), shown);
        }
        assert_eq!((micros(&json!(12)), micros(&json!(1_500))), ("12.0 µs".into(), "1.50 ms".into()));
    }

    #[test]
    fn a_status_of_any_shape_is_shown() {
        let full = json!({
            "version": "1", "listen": "a:1", "phase": "paused", "quiet": true, "uptime_seconds": 61.0,
            "rates": {"frames_in": 1000, "verified_us_p50": 12},
            "ledger": {"read": 3, "unmatched": 1, "rejected": {"BAD_DIGEST": 2}, "rejected_total": 2},
            "queues": {
                "jobs": {"now": 1, "max": 1024},
                "dedup": {"now": 50, "max": 50},
                "dedup_window": {"window_seconds": 3600.0, "reach_seconds": 90.5, "forgotten_early": 7},
            },
            "subscriptions": {"patterns": {"now": 3, "max": 9}, "bytes": {"now": 2048, "max": 4096}},
            "paused_by": {"in_flight": {"now": 2}},
            "settings": {"memory": "1MiB"},
            "calls": {"queued": {"now": 0, "max": 9}, "set_aside": 25_000, "handlers": [{"number": 2, "busy": 0, "trouble": "it exited with status 1"}]},
            "sinks": {"oldest_seconds": 2.0, "each": [
                {"name": "store", "lag_bytes": 2048, "done": {"frames": 5}, "failures": 3, "trouble": "the disk is full",
                 "topics": [{"topic": "orders.eu", "frames": 4000, "bytes": 4096}, {"topic": "", "frames": 1}]},
            ]},
            "identities": {"file": "a.toml", "identities": 3, "revoked": 1, "not_published": 7, "refused": {"wrong_token": 2}},
            "slow": [{"address": "b:2", "identity": "desk", "pending_bytes": 2048, "dropped": 4}],
            "paused": [{"address": "c:3", "cause": "subscriber", "by": "b:2", "paused_seconds": 5.0}],
        });
        let text = status(&full);
        for part in [
            "framegate 1 on a:1: paused, quiet, up 1m 1s",
            "rejected: BAD_DIGEST 2",
            "delivered, but matching no subscriber: 1\n",
            "paused connections: 2 by in flight",
            "  digests remembered              50            50",
            "  of it, patterns            2.0 KiB       4.0 KiB",
            "copies are recognised for 1m 30s, not for the 1h of --dedup",
            "3 identities in a.toml, 1 revoked; frames denied 7, patterns denied -",
            "connections refused: wrong token 2\n",
            "  b:2 (desk) ",
            "2.0 KiB wait",
            "4 frames dropped",
            "for 5s, by subscriber b:2",
            "handler 2 does not start: it exited with status 1",
            "  the store: 2.0 KiB not confirmed, the oldest for 2s; frames 5",
            "the store is in trouble: the disk is full (3 attempts failed)",
            "    orders.eu: 4,000 frames, 4.0 KiB",
            "    (the empty topic): 1 frame, -",
            "settings:\n  memory 1MiB\n",
            "no connection was closed yet",
            "  waiting for them                 0             9\n  set aside                   25,000\n",
            "the oldest has waited - for a handler",
            // Who sent what was refused is gone.
            "\nno connection that is open had frames refused\n",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        let unmatched = json!({"ledger": {"unmatched": 1234}});
        assert!(status(&unmatched).contains("matching no subscriber: 1,234: nobody has them\n"));
        let words: Vec<String> = (0..40).map(|n| format!("setting-{n} {n}MiB")).collect();
        let rows = rows_of(&words);
        assert!(rows.len() > 5 && rows.iter().all(|row| row.len() <= WIDTH), "{rows:?}");
        assert_eq!(rows.join(" "), words.join(", "));
        // Another version may leave anything out.
        let empty = status(&json!({}));
        assert!(empty.contains("no subscriber is behind") && empty.contains("\nno frames were refused\n"));
    }
}
