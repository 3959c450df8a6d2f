//! What came of a load of frames.

use std::fmt;
use std::time::Instant;

use serde::Serialize;

use super::Options;
use super::conn::{Conn, Role, Stage};
use super::tally::Group;
use crate::core::units::{bytes, grouped, held, many, short};
use crate::tools::bench::page::Page;
use crate::tools::bench::{Doubt, Figures, Own, Percentiles, Spent};

/// What a gateway did under a load of frames. The keys of the JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where it was.
    pub gateway: String,
    /// Whether the load started it itself.
    pub gateway_is_own: bool,
    /// Whether it closed every connection before the load was over.
    pub gateway_gone: bool,
    /// What its process spent while it was measured, where that was watched.
    pub gateway_spent: Option<Spent>,
    /// Connections that published.
    pub publishers: usize,
    /// Connections that each were to get every frame.
    pub subscribers: usize,
    /// Connections that said nothing.
    pub idle: usize,
    /// The topic; of a layout's frames, a pattern that matches all.
    pub topic: String,
    /// What publishers and idle connections spoke; none for the native protocol.
    pub layout: Option<LayoutReport>,
    /// Frames a second that were to be sent; none for as fast as the gateway reads.
    pub rate: Option<f64>,
    /// What became of the frames.
    pub frames: Frames,
    /// What became of the large ones.
    pub large: Option<Large>,
    /// What was measured.
    #[serde(flatten)]
    pub figures: Figures,
}

/// What became of frames: `sent · subscribers = received + bad + lost + undelivered`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Frames {
    /// Bytes of each payload: of a layout's frames, the whole frame as the device sent it.
    pub payload_bytes: usize,
    /// Frames sent, in all.
    pub sent: u64,
    /// Frames that were to be sent by the schedule.
    pub due: Option<u64>,
    /// Frames sent a second while it was measured.
    pub sent_per_s: f64,
    /// Bytes sent a second while it was measured.
    pub sent_bytes_per_s: f64,
    /// Bytes received a second, by all subscribers together, while it was measured.
    pub received_bytes_per_s: f64,
    /// Different frames that each subscriber received, added up.
    pub received: u64,
    /// Of those that subscribers should have received and did not.
    pub lost: u64,
    /// Not received by subscribers whose connection ended.
    pub undelivered: u64,
    /// Frames that the gateway itself said it dropped (GAP).
    pub told_dropped: u64,
    /// Frames on the topic that this load did not send.
    pub foreign: u64,
}

/// What was loaded where the publishers are devices that speak a layout.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayoutReport {
    /// The layout.
    pub name: String,
    /// Where its listener was.
    pub listener: String,
    /// Bytes of each frame.
    pub frame_bytes: usize,
    /// Answers that came as they are declared for a frame that is accepted.
    pub replies: u64,
    /// Answers that came as they are declared for one that is not.
    pub refused: u64,
    /// Declared replies that did not come.
    pub unanswered: u64,
}

/// What became of the large frames beside.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Large {
    /// Connections that published them.
    pub publishers: usize,
    /// What became of them.
    pub frames: Frames,
    /// Frames received a second.
    pub done_per_s: f64,
    /// How long they took from the write that began them.
    pub latency_us: Option<Percentiles>,
}

/// How measuring ended.
pub(super) struct Window {
    pub end: Instant,
    pub own: Own,
    pub gateway: Option<Spent>,
    pub interrupted: bool,
    pub gone: bool,
}

/// At 99 in 100 of what was due, the schedule was kept.
const KEPT: f64 = 0.99;

impl Report {
    pub(super) fn new(
        groups: &mut [Group],
        conns: &[Conn],
        options: &Options,
        [gateway, listener]: [String; 2],
        window: Window,
    ) -> Report {
        let frames: Vec<Frames> = (0..groups.len()).map(|at| fates(at, groups, conns, options)).collect();
        let layout = layout_report(&mut groups[0], conns, listener);
        let mut figures = Figures::new(&groups[0].measure, window.own, window.end, window.interrupted);
        let large = groups.get(1).map(|group| {
            let of = Figures::new(&group.measure, Own::default(), window.end, window.interrupted);
            for (kind, count, example) in of.errors.iter() {
                figures.errors.add(kind, count, || format!("large: {example}"));
            }
            Large {
                publishers: group.publishers.len(),
                frames: frames[1],
                done_per_s: of.done_per_s,
                latency_us: of.latency_us,
            }
        });
        figures.doubts = Doubt::find(&figures);
        figures.doubts.extend(doubts(&frames, groups[0].sent_in_time.0, layout.is_some()));
        Report {
            gateway,
            gateway_is_own: false,
            gateway_gone: window.gone,
            gateway_spent: window.gateway,
            publishers: options.publishers,
            subscribers: options.subscribers,
            idle: options.idle,
            topic: groups[0].topic.clone(),
            layout,
            rate: options.rate,
            frames: frames[0],
            large,
            figures,
        }
    }

    /// Why nothing of the gateway is left, if it is so.
    pub fn gone(&self) -> Option<&str> {
        self.gateway_gone.then(|| self.figures.errors.iter().next().map_or("", |(_, _, example)| example))
    }
}

/// What devices were answered. What is missing is counted as an error.
fn layout_report(group: &mut Group, conns: &[Conn], listener: String) -> Option<LayoutReport> {
    let devices = group.devices.as_ref()?;
    let mut of = LayoutReport {
        name: devices.layout.name().to_string(),
        listener,
        frame_bytes: devices.frame_len,
        replies: 0,
        refused: 0,
        unanswered: 0,
    };
    let mut example = None;
    for conn in conns {
        let Role::Publisher { group: 0, index } = conn.role else { continue };
        of.replies += conn.answers.replied();
        of.refused += conn.answers.refused();
        // Of a connection that the gateway ended, that is the error.
        let missing = conn.answers.missing(&devices.senders[index], group.publishers[index].finished());
        if missing > 0 && !conn.closed_by_gateway {
            of.unanswered += missing;
            example.get_or_insert_with(|| {
                format!("{}: number {} was not answered", conn.name(), conn.answers.next())
            });
        }
    }
    group.measure.errors(Instant::now(), "unanswered", of.unanswered, || example.unwrap_or_default());
    Some(of)
}

/// What became of one group's frames. What is lost is counted as an error.
fn fates(at: usize, groups: &mut [Group], conns: &[Conn], options: &Options) -> Frames {
    let group = &groups[at];
    let seconds =
        group.measure.ended(Instant::now()).duration_since(group.measure.started()).as_secs_f64().max(1e-9);
    let mut frames = Frames {
        payload_bytes: match &group.devices {
            Some(devices) => devices.frame_len,
            None if at == 0 => options.payload,
            None => options.large_payload,
        },
        sent: group.sent().0,
        due: group.schedule.map(|_| group.due),
        sent_per_s: group.sent_in_time.0 as f64 / seconds,
        sent_bytes_per_s: group.sent_in_time.1 as f64 / seconds,
        received_bytes_per_s: group.measure.bytes_received() as f64 / seconds,
        told_dropped: group.told_dropped,
        foreign: group.foreign,
        ..Frames::default()
    };
    let mut example = None;
    for conn in conns {
        if !matches!(conn.role, Role::Subscriber { group, .. } if group == at) {
            continue;
        }
        frames.received += conn.arrived;
        let missing = frames.sent.saturating_sub(conn.arrived + conn.bad);
        if conn.stage == Stage::Closed {
            frames.undelivered += missing;
        } else if missing > 0 {
            frames.lost += missing;
            example.get_or_insert_with(|| first_lost(conn, group));
        }
    }
    let told = frames.told_dropped;
    let now = Instant::now();
    groups[at].measure.errors(now, "lost", frames.lost, || {
        let example = example.unwrap_or_default();
        if told > 0 {
            format!("{example}; the gateway told of {told} that it dropped (GAP)")
        } else {
            example
        }
    });
    frames
}

fn first_lost(conn: &Conn, group: &Group) -> String {
    let first = conn.sequences.iter().zip(&group.publishers).enumerate().find_map(
        |(index, (sequence, publisher))| {
            let tail = (sequence.next() < publisher.finished()).then(|| sequence.next());
            Some((index, sequence.first_missing().or(tail)?))
        },
    );
    first.map_or_else(
        || conn.name(),
        |(index, number)| format!("{}: number {number} of publisher {index} never came", conn.name()),
    )
}

fn doubts(frames: &[Frames], sent_in_time: u64, is_foreign: bool) -> Vec<Doubt> {
    let mut doubts = Vec::new();
    if let Some(due) = frames[0].due
        && (sent_in_time as f64) < due as f64 * KEPT
    {
        doubts.push(Doubt::Other(format!(
            "the gateway did not keep up: only {} of {} frames could be sent when they were due",
            grouped(sent_in_time),
            grouped(due)
        )));
    }
    let foreign: u64 = frames.iter().map(|one| one.foreign).sum();
    if foreign > 0 {
        doubts.push(Doubt::Other(format!(
            "{} of another publisher came on the topic{}",
            many(foreign, "frame"),
            if is_foreign {
                "s that are subscribed: they take their share of the gateway"
            } else {
                ": give an unused --topic"
            }
        )));
    }
    doubts
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut page = Page::default();
        let own = if self.gateway_is_own { ", started for this" } else { "" };
        page.row("gateway", format!("{}{own}", self.gateway));
        if let Some(layout) = &self.layout {
            page.row("listener", format!("{} of layout {}", layout.listener, layout.name));
        }
        page.row("load", self.load());
        page.row("frames", self.frames.equation(self.subscribers));
        if let Some(answers) = self.layout.as_ref().and_then(LayoutReport::answers) {
            page.row("answers", answers);
        }
        page.row("rate", self.frames.rates(self.subscribers, self.figures.done_per_s));
        page.percentiles("latency", self.figures.latency_us.as_ref());
        if self.rate.is_none() && self.figures.latency_us.is_some() {
            page.row(
                "",
                "from the write on, so it holds what waits in every buffer; give a --rate to leave that out",
            );
        }
        if let Some(large) = &self.large {
            page.row("large frames", large.frames.equation(1));
            page.row("", large.frames.rates(1, large.done_per_s));
            page.percentiles("", large.latency_us.as_ref());
        }
        self.figures.show_errors(&mut page);
        let own = &self.figures.generator;
        let mut label = "spent";
        if let Some(spent) = &self.gateway_spent {
            page.row(label, format!("gateway    {}", spent.shown(&self.each(spent.cpu_s))));
            label = "";
        }
        page.row(label, format!("generator  {}", own.shown(&self.each(own.cpu_s))));
        self.figures.show_doubts(&mut page);
        page.fmt(f)
    }
}

impl Report {
    fn load(&self) -> String {
        let pace = match self.rate {
            Some(rate) => format!("at {} frames/s", grouped(rate as u64)),
            None => "as fast as the gateway reads".to_string(),
        };
        let mut load =
            format!("{} {pace}, {}", self.publishers(), many(self.subscribers as u64, "subscriber"));
        if let Some(large) = &self.large {
            load += &format!(
                ", {} of {}",
                many(large.publishers as u64, "publisher"),
                held(large.frames.payload_bytes as u64)
            );
        }
        if self.idle > 0 {
            load += &format!(", {}", many(self.idle as u64, "idle connection"));
        }
        format!("{load}, {:.1} s", self.figures.seconds)
    }

    /// How many publishers there are, and of what.
    pub fn publishers(&self) -> String {
        let (many, held) =
            (many(self.publishers as u64, "publisher"), held(self.frames.payload_bytes as u64));
        match &self.layout {
            Some(layout) => format!("{many} of {} frames of {held}", layout.name),
            None => format!("{many} of {held}"),
        }
    }

    /// Processor time a frame, where frames are of one size.
    fn each(&self, cpu_s: f64) -> String {
        let sent = self.frames.sent_per_s * self.figures.seconds;
        if self.large.is_some() || sent < 1.0 {
            return String::new();
        }
        format!(", {:.2} µs a frame", cpu_s * 1e6 / sent)
    }
}

impl LayoutReport {
    /// Nothing where nothing was answered, and nothing should have been.
    fn answers(&self) -> Option<String> {
        let [replies, refused, missing] = [self.replies, self.refused, self.unanswered].map(grouped);
        let is_silent = self.replies + self.refused + self.unanswered == 0;
        (!is_silent).then(|| format!("{replies} as declared, {refused} refused, {missing} missing"))
    }
}

impl Frames {
    fn equation(&self, subscribers: usize) -> String {
        let mut text = format!("{} sent", grouped(self.sent));
        match subscribers {
            0 => return text,
            1 => {}
            _ => text += &format!(" × {} subscribers", grouped(subscribers as u64)),
        }
        text += &format!(", {} received, {} lost", grouped(self.received), grouped(self.lost));
        if self.undelivered > 0 {
            text += &format!(", {} undelivered at a connection's end", grouped(self.undelivered));
        }
        text
    }

    fn rates(&self, subscribers: usize, received_per_s: f64) -> String {
        let of_bytes = |rate: f64| format!("{}/s", bytes(rate as u64));
        let sent = format!("{} frames/s in ({})", short(self.sent_per_s), of_bytes(self.sent_bytes_per_s));
        if subscribers == 0 {
            return sent;
        }
        format!("{sent}, {} frames/s out ({})", short(received_per_s), of_bytes(self.received_bytes_per_s))
    }
}
