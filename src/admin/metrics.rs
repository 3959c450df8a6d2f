//! Everything that is counted, for Prometheus. Names and units are as it advises; no label has a value
//! that a peer chooses.

mod out;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::process::Process;
use crate::gateway::snapshot::{Depth, PauseCause, Phase, SinkUse, Snapshot, SubscriptionsUse};
use crate::wire::Status;
use out::{NONE, Out, deprecated};

/// The media type of the text format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is exposed at one scrape.
#[derive(Debug)]
struct Scrape {
    snapshot: Arc<Snapshot>,
    process: Option<Process>,
}

/// The text that a scrape gets.
pub fn text(snapshot: Arc<Snapshot>, process: Option<Process>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape { snapshot, process }));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry).expect("a String takes everything");
    text
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(encoder);
        out.frames(&self.snapshot)?;
        out.connections(&self.snapshot)?;
        out.queues(&self.snapshot)?;
        out.access(&self.snapshot)?;
        out.tls(&self.snapshot)?;
        out.calls(&self.snapshot)?;
        out.durable(&self.snapshot)?;
        out.sinks(&self.snapshot)?;
        out.stages(&self.snapshot)?;
        match &self.process {
            Some(process) => out.process(process),
            None => Ok(()),
        }
    }
}

impl Out<'_> {
    fn frames(&mut self, snapshot: &Snapshot) -> fmt::Result {
        let ledger = &snapshot.ledger;
        let version: [(&str, &str); 1] = [("version", env!("CARGO_PKG_VERSION"))];
        self.gauge("framegate_build_info", "Version of the running program", 1u64, &version)?;
        let phases = [Phase::Running, Phase::Paused, Phase::Draining].map(|phase| (phase_name(phase), phase));
        self.gauges(
            "framegate_phase",
            "1 for the state that the gateway is in, 0 for the others",
            phases.map(|(name, phase)| ([("phase", name)], u64::from(phase == snapshot.phase))),
        )?;
        self.counter(
            "framegate_frames_read",
            "Frames read, those that are not frames included",
            ledger.read,
        )?;
        self.counters(
            "framegate_frames",
            "Frames by their fate; with framegate_frames_in_flight they add up to those read and the reassembled messages",
            [
                ([("fate", "delivered")], ledger.delivered),
                ([("fate", "control")], ledger.control),
                ([("fate", "rejected")], ledger.rejected.total()),
                // The label becomes "fragments" with the next release: both at once would be counted twice by a sum.
                ([("fate", "assembled")], ledger.fragments),
                ([("fate", "dropped")], ledger.dropped),
                ([("fate", "undelivered")], ledger.undelivered),
            ],
        )?;
        let name = "framegate_messages_reassembled";
        self.counter(name, "Messages reassembled from fragments", ledger.reassembled)?;
        self.counter("framegate_wholes", &deprecated(name, "_total"), ledger.reassembled)?;
        let parts = &snapshot.parts;
        let names = ("framegate_open_keys", "framegate_messages_incomplete");
        self.renamed(names, "Incomplete messages", parts.keys.now)?;
        let names = ("framegate_open_keys_max", "framegate_messages_incomplete_max");
        self.renamed(names, "Incomplete messages at most", parts.keys.max)?;
        let names = ("framegate_parts_bytes", "framegate_fragments_bytes");
        self.renamed(names, "Memory that fragments of incomplete messages take", parts.bytes.now)?;
        let names = ("framegate_parts_bytes_max", "framegate_fragments_bytes_max");
        self.renamed(names, "Memory that they may take", parts.bytes.max)?;
        let names = ("framegate_open_keys_oldest_seconds", "framegate_messages_incomplete_oldest_seconds");
        let help = "Time since the last fragment of the message that has waited longest";
        self.renamed(names, help, parts.oldest.as_secs_f64())?;
        let in_flight = ledger.in_flight();
        self.gauge("framegate_frames_in_flight", "Frames whose outcome is open", in_flight, &NONE)?;
        let help = "Delivered frames that no subscriber's pattern matched";
        self.counter("framegate_frames_unmatched", help, ledger.unmatched)?;
        self.counters(
            "framegate_frames_rejected",
            "Frames refused, by status",
            REFUSALS.map(|status| ([("status", status.name())], ledger.rejected.of(status))),
        )?;
        self.counters(
            "framegate_copies",
            "Copies of frames, one for each subscriber, by what became of them",
            [
                ([("fate", "written")], ledger.copies.written),
                ([("fate", "dropped")], ledger.copies.dropped),
                ([("fate", "undelivered")], ledger.copies.undelivered),
            ],
        )?;
        self.counter("framegate_read_bytes", "Bytes read from peers", ledger.bytes_read)?;
        self.counter("framegate_written_bytes", "Bytes written to peers", ledger.bytes_written)?;
        let help = "Bytes of frames that their connections did not finish";
        self.counter("framegate_unfinished_bytes", help, ledger.bytes_unfinished)?;
        let help = "Bytes that were skipped between frames, where a layout looks for the next start";
        self.counter("framegate_skipped_bytes", help, ledger.bytes_skipped)
    }

    fn connections(&mut self, snapshot: &Snapshot) -> fmt::Result {
        let connections = &snapshot.ledger.connections;
        let Depth { now, max } = snapshot.queues.connections;
        self.gauge("framegate_connections", "Connections that are open", now, &NONE)?;
        self.gauge("framegate_connections_max", "Connections that may be open", max, &NONE)?;
        self.counter("framegate_connections_accepted", "Connections accepted", connections.accepted)?;
        let help = "Connections closed at accept, at the limit";
        self.counter("framegate_connections_refused", help, connections.refused)?;
        self.counter("framegate_connections_closed", "Connections closed", connections.closed)?;
        // As many as the configuration has.
        let listeners = || {
            snapshot
                .ledger
                .listeners
                .iter()
                .map(|listener| ([("listener", listener.name.as_str())], listener))
        };
        self.listed(
            "framegate_listener_connections",
            "Connections that are open, by listener",
            MetricType::Gauge,
            listeners().map(|(label, of)| (label, of.accepted - of.closed)),
        )?;
        self.listed(
            "framegate_listener_frames_read",
            "Frames read, by listener",
            MetricType::Counter,
            listeners().map(|(label, of)| (label, of.read)),
        )?;
        self.listed(
            "framegate_listener_rejected",
            "Frames rejected, by listener",
            MetricType::Counter,
            listeners().map(|(label, of)| (label, of.rejected)),
        )?;
        self.listed(
            "framegate_listener_skipped_bytes",
            "Bytes that were skipped between frames, by listener",
            MetricType::Counter,
            listeners().map(|(label, of)| (label, of.bytes_skipped)),
        )?;
        let causes =
            PauseCause::ALL.map(|cause| ([("cause", cause.name())], snapshot.paused[cause as usize]));
        self.gauges(
            "framegate_paused_connections",
            "Connections that are not read though there may be something to read",
            causes.map(|(label, by)| (label, by.now)),
        )?;
        self.counters(
            "framegate_paused_seconds",
            "Time that connections were so, of all of them together",
            causes.map(|(label, by)| (label, by.total.as_secs_f64())),
        )?;
        let Some(survey) = &snapshot.survey else { return Ok(()) };
        self.gauge("framegate_subscribers", "Connections that subscribe", survey.subscribers, &NONE)?;
        self.gauge("framegate_publishers", "Connections that have sent DATA", survey.publishers, &NONE)?;
        let help = "Bytes that wait in all outboxes, each copy counted";
        self.gauge("framegate_outbox_pending_bytes", help, survey.pending_bytes, &NONE)?;
        let help = "Bytes that wait for the subscriber that is furthest behind";
        self.gauge("framegate_outbox_pending_max_bytes", help, survey.pending_bytes_max, &NONE)
    }

    fn queues(&mut self, snapshot: &Snapshot) -> fmt::Result {
        let queues = &snapshot.queues;
        let help = "Entries of the queue to the workers, and remembered digests";
        let depths = [("worker_jobs", queues.jobs), ("dedup_digests", queues.dedup)];
        self.gauges(
            "framegate_queue_depth",
            help,
            depths.map(|(name, depth)| ([("queue", name)], depth.now)),
        )?;
        let help = "What they hold at most";
        self.gauges(
            "framegate_queue_limit",
            help,
            depths.map(|(name, depth)| ([("queue", name)], depth.max)),
        )?;
        if let Some(window) = &queues.dedup_window {
            let help = "For how long digests are to be remembered";
            self.gauge("framegate_dedup_window_seconds", help, window.window.as_secs_f64(), &NONE)?;
            let help = "For how long all of them are: less where there was no room for more";
            self.gauge("framegate_dedup_reach_seconds", help, window.reach.as_secs_f64(), &NONE)?;
            let help = "Digests forgotten before their time, for want of room";
            self.counter("framegate_dedup_forgotten_early", help, window.forgotten_early)?;
        }
        let help = "Batches and large frames read and not distributed";
        self.gauge("framegate_batches_in_flight", help, queues.in_flight, &NONE)?;
        self.gauge("framegate_outbox_items", "Items in all outboxes", queues.outbox_items, &NONE)?;
        let [small, large] = queues.lines;
        self.gauges(
            "framegate_memory_waiting_connections",
            "Connections in line for memory",
            [([("for", "small")], small), ([("for", "large")], large)],
        )?;
        let memory = &snapshot.memory;
        self.gauges(
            "framegate_memory_used_bytes",
            "Bytes charged: for small frames and replies, for large frames, for handlers' answers, for outboxes' entries, for subscriptions",
            [
                ([("for", "small")], memory.small_bytes),
                ([("for", "large")], memory.large_bytes),
                ([("for", "answers")], memory.answers_bytes),
                ([("for", "entries")], memory.entries_bytes),
                ([("for", "subscriptions")], memory.subscriptions_bytes),
            ],
        )?;
        self.gauge("framegate_memory_limit_bytes", "Their bound", memory.limit_bytes, &NONE)?;
        let SubscriptionsUse { patterns, shapes, bytes } = snapshot.subscriptions;
        let help = "Patterns, each counted for every connection that holds it";
        self.gauge("framegate_subscriptions", help, patterns.now, &NONE)?;
        self.gauge("framegate_subscriptions_max", "Patterns at most", patterns.max, &NONE)?;
        self.gauge("framegate_subscription_shapes", "Shapes of patterns", shapes.now, &NONE)?;
        self.gauge("framegate_subscription_shapes_max", "Shapes at most", shapes.max, &NONE)?;
        self.gauge(
            "framegate_subscriptions_bytes",
            "What patterns and those who hold them take",
            bytes.now,
            &NONE,
        )?;
        self.gauge("framegate_subscriptions_bytes_max", "What they may take", bytes.max, &NONE)?;
        self.gauge("framegate_workers", "Threads that verify", snapshot.workers.threads as u64, &NONE)?;
        let help = "Time that they were busy, of all of them together";
        self.counter("framegate_worker_busy_seconds", help, snapshot.workers.busy.as_secs_f64())
    }

    /// Nothing where there is no access file.
    fn access(&mut self, snapshot: &Snapshot) -> fmt::Result {
        let Some(access) = &snapshot.access else { return Ok(()) };
        self.gauge("framegate_access_identities", "Identities in the access file", access.identities, &NONE)?;
        let help = "How often the access file was read again";
        self.counter("framegate_access_reloads", help, access.reloads)?;
        self.listed(
            "framegate_access_refused_connections",
            "Connections that the access file does not let be here, by why",
            MetricType::Counter,
            access.refused.iter().map(|&(reason, count)| ([("reason", reason)], count)),
        )?;
        self.counters(
            "framegate_access_denied",
            "Frames and patterns that their connections may not publish or subscribe to",
            [
                ([("what", "publish")], access.not_published),
                ([("what", "subscribe")], access.not_subscribed),
                ([("what", "taken")], access.patterns_taken),
            ],
        )?;
        let help = "Connections that wait to hear that their token is wrong";
        self.gauge("framegate_access_delayed_connections", help, access.delayed.now, &NONE)
    }

    /// Nothing where no listener speaks TLS.
    fn tls(&mut self, snapshot: &Snapshot) -> fmt::Result {
        let Some(tls) = &snapshot.tls else { return Ok(()) };
        let help = "TLS handshakes under way";
        self.gauge("framegate_tls_handshakes_now", help, tls.handshakes.now, &NONE)?;
        self.counters(
            "framegate_tls_handshakes",
            "TLS handshakes that succeeded: full, or by which an earlier session was resumed",
            [([("kind", "full")], tls.full), ([("kind", "resumed")], tls.resumed)],
        )?;
        self.listed(
            "framegate_tls_failed_connections",
            "Connections that ended for a reason of TLS, by which",
            MetricType::Counter,
            tls.refused.iter().map(|&(reason, count)| ([("reason", reason)], count)),
        )?;
        let help = "Live connections that were closed since their certificate is not taken any more";
        self.counter("framegate_tls_closed_connections", help, tls.closed)?;
        let ends = tls.certificates.iter().map(|certificate| {
            let until = certificate.until.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            ([("listener", certificate.listener.clone())], until.as_secs())
        });
        self.listed(
            "framegate_tls_certificate_ends_timestamp_seconds",
            "When the certificate of a listener ends",
            MetricType::Gauge,
            ends,
        )
    }

    /// Nothing where there is no store.
    fn durable(&mut self, snapshot: &Snapshot) -> fmt::Result {
        let Some(durable) = &snapshot.durable else { return Ok(()) };
        let help = "Connections with a durable subscription or a replay";
        self.gauge("framegate_durable_subscribers", help, durable.subscribers, &NONE)?;
        self.gauge("framegate_durable_names", "Durable names that are kept", durable.names.now, &NONE)?;
        self.gauge("framegate_durable_names_max", "Names at most", durable.names.max, &NONE)?;
        let help = "Frames of all topics that were stored since the last that is done, of the name where that is most";
        self.gauge("framegate_durable_lag_frames", help, durable.lag_frames, &NONE)?;
        let help = "Bytes of all topics that were stored since the last that is done, of the name where that is most";
        self.gauge("framegate_durable_lag_bytes", help, durable.lag_bytes, &NONE)?;
        let help = "How long ago the last frame that is done was stored, of the name where that is longest; 0 where nothing came since";
        self.gauge("framegate_durable_lag_seconds", help, durable.lag_time.as_secs_f64(), &NONE)?;
        let each = || durable.furthest.iter().map(|name| ([("name", name.name.as_str())], name.lag_frames));
        let help = "Frames that each of the names is behind which are furthest behind, at most 20";
        self.listed("framegate_durable_name_lag_frames", help, MetricType::Gauge, each())
    }

    /// Nothing where there is no handler.
    fn calls(&mut self, snapshot: &Snapshot) -> fmt::Result {
        let Some(calls) = &snapshot.calls else { return Ok(()) };
        let (ledger, [in_flight, queued]) = (&snapshot.ledger.calls, [calls.in_flight, calls.queued]);
        self.gauge("framegate_calls_in_flight", "Frames with the handlers", in_flight.now, &NONE)?;
        self.gauge("framegate_calls_in_flight_max", "Frames with them at most", in_flight.max, &NONE)?;
        self.gauge("framegate_calls_queued", "Frames that wait for a handler", queued.now, &NONE)?;
        self.gauge("framegate_calls_queued_max", "Frames that wait at most", queued.max, &NONE)?;
        let help =
            "Frames that wait beyond those, of connections that are not read until they get their turn";
        self.gauge("framegate_calls_set_aside", help, calls.set_aside, &NONE)?;
        if let Some(survey) = &snapshot.survey {
            let help = "How long the frame that has waited longest for a handler has";
            self.gauge("framegate_calls_oldest_seconds", help, survey.oldest_queued.as_secs_f64(), &NONE)?;
        }
        self.counters(
            "framegate_calls",
            "Frames that handlers answered or failed with, by what became of them",
            [
                ([("outcome", "passed")], ledger.answered - ledger.replaced - ledger.refused),
                ([("outcome", "replaced")], ledger.replaced),
                ([("outcome", "refused")], ledger.refused),
                ([("outcome", "failed")], ledger.failed),
            ],
        )?;
        let help = "Frames given to a second handler since the first failed";
        self.counter("framegate_calls_tried_again", help, ledger.tried_again)?;
        let help =
            "Frames given to a handler once more since their answer came before its turn and found no room";
        self.counter("framegate_calls_repeated", help, ledger.repeated)?;
        let handlers = &calls.handlers;
        let running = handlers.iter().filter(|handler| handler.pid.is_some()).count() as u64;
        self.gauge("framegate_handlers", "Handlers that run", running, &NONE)?;
        let failed = handlers.iter().map(|handler| handler.failed).sum::<u64>();
        self.counter("framegate_handlers_failed", "Processes of handlers that failed", failed)
    }

    /// Nothing where there is no sink.
    fn sinks(&mut self, snapshot: &Snapshot) -> fmt::Result {
        let Some(sinks) = &snapshot.sinks else { return Ok(()) };
        let given = &snapshot.ledger.to_sinks;
        let fates = [([("fate", "confirmed")], given.confirmed), ([("fate", "refused")], given.refused)];
        let name = "framegate_sink_frames";
        self.counters(name, "Frames given to the sinks, by their outcome there", fates)?;
        self.counters("framegate_sunk", &deprecated(name, "_total"), fates)?;
        let names = ("framegate_sunk_unconfirmed", "framegate_sink_pending_frames");
        self.renamed(names, "Frames given to the sinks and not acknowledged yet", given.unconfirmed())?;
        let names = ("framegate_sunk_oldest_seconds", "framegate_sink_oldest_pending_seconds");
        self.renamed(names, "How long the oldest of them has been pending", sinks.oldest.as_secs_f64())?;
        let each = || sinks.each.iter().map(|sink| ([("sink", sink.name)], sink));
        self.listed(
            "framegate_sink_lag_bytes",
            "Bytes that a sink was given and has not acknowledged",
            MetricType::Gauge,
            each().map(|(label, sink)| (label, sink.lag_bytes)),
        )?;
        self.listed(
            "framegate_sink_trouble",
            "1 while a sink cannot work, else 0",
            MetricType::Gauge,
            each().map(|(label, sink)| (label, u64::from(sink.trouble.is_some()))),
        )?;
        self.listed(
            "framegate_sink_failures",
            "Attempts of a sink that failed",
            MetricType::Counter,
            each().map(|(label, sink)| (label, sink.failures)),
        )?;
        let counted = |of: fn(&SinkUse) -> &[(&'static str, u64)]| {
            sinks.each.iter().flat_map(move |sink| {
                of(sink).iter().map(|&(what, count)| ([("sink", sink.name), ("what", what)], count))
            })
        };
        let help = "What a sink has done, by what it counts";
        self.listed("framegate_sink_done", help, MetricType::Counter, counted(|sink| &sink.done))?;
        let help = "What a sink is at, by what it counts";
        self.listed("framegate_sink_now", help, MetricType::Gauge, counted(|sink| &sink.now))?;
        // At most so many that nobody's memory is filled with them: those that the status shows.
        let topics = || {
            sinks.each.iter().flat_map(|sink| {
                sink.topics.iter().map(|of| ([("sink", sink.name), ("topic", of.topic.as_str())], of))
            })
        };
        let frames = topics().map(|(label, of)| (label, of.frames));
        let help = "Frames of the busiest topics that a sink has";
        self.listed("framegate_sink_topic_frames", help, MetricType::Counter, frames)?;
        let bytes = topics().map(|(label, of)| (label, of.bytes));
        let help = "Bytes of the busiest topics that a sink has";
        self.listed("framegate_sink_topic_bytes", help, MetricType::Counter, bytes)
    }

    fn stages(&mut self, snapshot: &Snapshot) -> fmt::Result {
        let by = &snapshot.ledger.verified;
        self.counters(
            "framegate_verified",
            "Batches verified by the loop itself and by workers, and pieces of large frames",
            [
                ([("by", "loop")], by.inline),
                ([("by", "workers")], by.workers),
                ([("by", "pieces")], by.pieces),
            ],
        )?;
        let help = "Jobs of the workers that the loop did while it would have waited for them";
        self.counter("framegate_jobs_helped", help, by.helped)?;
        self.counter("framegate_jobs_paired", "Jobs that were hashed beside another", by.paired)?;
        let help = "Batches that were distributed as one, without a look at each frame";
        self.counter("framegate_batches_plain", help, by.plain)?;
        let stages = &snapshot.stages;
        let help = "From a batch's reading to its verdict";
        self.seconds("framegate_read_to_verified_seconds", help, &stages.read_to_verified)?;
        let help = "From a verdict's effect to the last byte of a run of frames written to a subscriber";
        self.seconds("framegate_verified_to_written_seconds", help, &stages.verified_to_written)?;
        self.seconds("framegate_turn_seconds", "A turn of the loop, without its wait", &stages.turn)?;
        let longest = stages.turn_longest.as_secs_f64();
        self.gauge("framegate_turn_longest_seconds", "The longest turn since the start", longest, &NONE)?;
        self.histogram("framegate_batch_frames", "Frames of a batch", &stages.batch_frames, 1.0, 0..=14)?;
        self.histogram("framegate_batch_bytes", "Bytes of a batch", &stages.batch_bytes, 1.0, 6..=24)
    }

    fn process(&mut self, process: &Process) -> fmt::Result {
        let cpu = process.cpu.as_secs_f64();
        self.counter("process_cpu_seconds", "Processor time of the whole process", cpu)?;
        let resident = process.resident_bytes;
        self.gauge("process_resident_memory_bytes", "Memory of the process", resident, &NONE)?;
        self.gauge("process_open_fds", "Open file descriptors", process.open_files, &NONE)?;
        let start = process.started.as_secs_f64();
        self.gauge("process_start_time_seconds", "When it started, in Unix time", start, &NONE)
    }
}

/// The statuses with which a frame can be refused.
const REFUSALS: [Status; 9] = [
    Status::BadDigest,
    Status::Busy,
    Status::Rejected,
    Status::Expired,
    Status::Duplicate,
    Status::Malformed,
    Status::TooLarge,
    Status::Unauthorized,
    Status::Closing,
];

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Running => "running",
        Phase::Paused => "paused",
        Phase::Draining => "draining",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::watch::tests::some_snapshot;

    #[test]
    fn every_family_is_there_with_its_values() {
        let text = text(Arc::new(some_snapshot()), None);
        for line in [
            "# TYPE framegate_frames_read_total counter",
            "framegate_frames_read_total 10",
            "framegate_tls_handshakes_now 3",
            "framegate_tls_handshakes_total{kind=\"resumed\"} 5",
            "framegate_tls_failed_connections_total{reason=\"unknown_ca\"} 4",
            "framegate_tls_closed_connections_total 1",
            "framegate_tls_certificate_ends_timestamp_seconds{listener=\"native+tls=127.0.0.1:7453\"} 1800000000",
            "framegate_frames_total{fate=\"delivered\"} 7",
            "framegate_frames_rejected_total{status=\"BAD_DIGEST\"} 2",
            "framegate_frames_in_flight 1",
            "framegate_phase{phase=\"running\"} 1",
            "framegate_phase{phase=\"draining\"} 0",
            "framegate_paused_connections{cause=\"subscriber\"} 3",
            "framegate_paused_seconds_total{cause=\"subscriber\"} 1.5",
            "framegate_memory_used_bytes{for=\"small\"} 100",
            "framegate_memory_used_bytes{for=\"subscriptions\"} 0",
            "framegate_subscriptions 6",
            "framegate_subscription_shapes_max 10",
            "framegate_subscriptions_bytes 700",
            "framegate_worker_busy_seconds_total 2.0",
            "framegate_turn_seconds_bucket{le=\"+Inf\"} 3",
            "framegate_turn_seconds_count 3",
            "framegate_subscribers 2",
            "framegate_calls_in_flight 3",
            "framegate_calls_queued_max 10000",
            "framegate_calls_set_aside 25000",
            "framegate_calls_total{outcome=\"passed\"} 2",
            "framegate_handlers 1",
            "framegate_handlers_failed_total 4",
            "framegate_access_refused_connections_total{reason=\"revoked\"} 2",
            "framegate_access_denied_total{what=\"publish\"} 3",
            "framegate_dedup_window_seconds 3600.0",
            "framegate_dedup_reach_seconds 90.5",
            "framegate_dedup_forgotten_early_total 7",
            "framegate_sink_topic_frames_total{sink=\"store\",topic=\"orders.eu\"} 4",
            "framegate_sink_topic_bytes_total{sink=\"store\",topic=\"orders.eu\"} 500",
            "# HELP framegate_sunk_total Deprecated, it goes with the next release: use framegate_sink_frames_total",
            "# TYPE framegate_sink_oldest_pending_seconds gauge",
            "# TYPE framegate_sunk_oldest_seconds gauge",
            "framegate_messages_reassembled_total 0",
            "framegate_wholes_total 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
        // 100, 100 and 1,000 µs.
        assert!(text.contains("framegate_turn_seconds_bucket{le=\"0.000128\"} 2"), "{text}");
        assert!(text.contains("framegate_turn_seconds_sum 0.0012"), "{text}");
    }

    #[test]
    fn all_refusals_have_a_series() {
        for status in Status::ALL {
            let is_refusal =
                !matches!(status, Status::Ok | Status::Gap | Status::Position | Status::Slow | Status::Taken);
            assert_eq!(REFUSALS.contains(&status), is_refusal, "{status}");
        }
    }
}
