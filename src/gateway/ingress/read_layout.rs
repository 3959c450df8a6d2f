//! Cutting what came at a listener with a layout, and having it verified.

use std::net::SocketAddr;

use super::Ingress;
use super::read::{Grant, ReadOutcome, keep_partial, take_scratch, taken};
use super::reading::Begun;
use crate::core::limits::{BUFFER_OVERHEAD, FRAME_PROGRESS, INLINE_BATCH, READ_MAX, READ_MIN};
use crate::core::memory::{Buffer, Share};
use crate::gateway::conn::Conn;
use crate::gateway::ctx::Ctx;
use crate::gateway::dialect::{Dialect, LargeBytes};
use crate::gateway::observe::notices::Notice;
use crate::gateway::secure;
use crate::runtime::net::Net;
use crate::runtime::pool::{Job, Pool, Ticket, Work};
use crate::wire::layout::{Converted, Cut, LargeRun, Layout, Malformed, Run, Spot, shown};

/// 64 bytes of a frame whose length is not known yet are what a connection costs, as the beginning of a native header.
const HEAD: usize = 64;
/// 512 bytes of a frame that ends where its last bytes stand are charged at first, then as many as it may have.
const OPEN: usize = 512;

/// What a read of a connection with a layout gave.
pub struct Foreign {
    /// Whole frames.
    pub run: Option<Run>,
    /// What follows them is no frame, and the connection ends.
    pub fault: Option<Malformed>,
    /// How often the next start was looked for.
    pub scanned: u32,
    /// What is said of the first thing that was no frame.
    pub notice: Option<String>,
}

impl Ingress {
    /// Makes a run of the whole frames in the lent buffer, of which `tail` bytes were left of the read before, and keeps
    /// what follows them.
    pub(super) fn cut_layout<N: Net, P>(
        &mut self,
        conn: &mut Conn<N::Socket>,
        ctx: &mut Ctx<N, P>,
        tail: usize,
        filled: usize,
        finishes: bool,
        grant: Grant,
    ) -> ReadOutcome {
        let mut dialect = conn.dialect.take().expect("it came at a listener with a layout");
        // Frames for which no room was asked are those that were begun.
        let frames_max = if finishes { 1 } else { dialect.layout.frames_max(filled) };
        let max = ctx.config.payload_max;
        let mut frames: Vec<Spot> = Vec::new();
        let (mut at, mut bytes) = (0, 0);
        let mut foreign = Foreign { run: None, fault: None, scanned: 0, notice: None };
        let mut begun = None;
        let is_judged = conn.standing.is_some() && ctx.access.has_fields();
        let mut is_known_anew = false;
        let may_cut_on = dialect.cut(|layout, cutter| {
            let may_cut_on = loop {
                if (frames.len() == frames_max || is_known_anew) && at < filled {
                    break true;
                }
                match cutter.next(layout, &ctx.scratch[at..filled], max) {
                    Cut::Frame { len, shape } => {
                        let (start, end) = (at as u32, (at + len) as u32);
                        frames.push(Spot { start, end, shape: shape as u16 });
                        // Who it is may change with it: what is behind it is of the next run.
                        is_known_anew = is_judged && layout.keeps(shape);
                        bytes += len;
                        at += len;
                    }
                    Cut::Skip(n) => {
                        ctx.count_skipped(conn.listener, n);
                        at += n;
                    }
                    Cut::More(least) => {
                        let have = filled - at;
                        begun = match least {
                            _ if have == 0 || least <= HEAD => None,
                            least if have == READ_MAX => Some(Begun::Foreign(least)),
                            // Either its last byte is missing, or it is not known where it ends.
                            least if least == have + 1 && have < OPEN => {
                                Some(Begun::Foreign(OPEN.min(READ_MAX)))
                            }
                            least if least == have + 1 => Some(Begun::Foreign(READ_MAX)),
                            least => Some(Begun::Foreign(least)),
                        };
                        break false;
                    }
                    Cut::Malformed(malformed) => {
                        // A format in code may know the way on where a declared one has to look for it.
                        let goes_on = cutter.is_scanning();
                        if foreign.notice.is_none() {
                            let bytes = &ctx.scratch[at..filled];
                            foreign.notice = Some(notice(
                                (conn.peer, conn.listener),
                                ctx,
                                layout,
                                goes_on,
                                malformed,
                                bytes,
                            ));
                        }
                        if !goes_on {
                            foreign.fault = Some(malformed);
                            break false;
                        }
                        foreign.scanned += 1;
                    }
                }
            };
            (may_cut_on, may_cut_on)
        });
        let rest: Box<[u8]> =
            if foreign.fault.is_some() { Box::default() } else { ctx.scratch[at..filled].into() };
        let whole = frames.last().map_or(0, |spot| spot.end as usize);
        if !frames.is_empty() {
            let count = frames.len();
            conn.reading.frame_len = (whole / count) as u32;
            ctx.timing.batch(count as u32, bytes);
            let buffer = take_scratch(&mut ctx.scratch, &ctx.memory, whole);
            let room = ctx.memory.charge(Share::Small, dialect.layout.room(count, bytes));
            let (layout, kept) = (dialect.layout.clone(), dialect.kept());
            foreign.run = Some(Run { layout, buffer, frames, kept, room });
        }
        let is_same = tail > 0 && foreign.run.is_none() && at == 0;
        if may_cut_on {
            // What is left is cut without reading more.
            begun = Some(Begun::Foreign(rest.len().max(1)));
            conn.reading.readable = true;
        }
        let room = begun.as_ref().map_or(0, |begun| dialect.layout.room(1, begun.len()));
        conn.dialect = Some(dialect);
        keep_partial(conn, ctx, rest, begun, room, is_same, grant);
        ReadOutcome::Foreign(Box::new(foreign))
    }

    /// The memory for a frame that does not fit in one read is granted.
    pub(super) fn begin_large_foreign<N: Net, P>(
        &mut self,
        conn: &mut Conn<N::Socket>,
        ctx: &mut Ctx<N, P>,
    ) -> Result<ReadOutcome, ReadOutcome> {
        let partial = conn.reading.partial.as_mut().expect("a large frame begins with its header");
        let total = partial.begun.as_ref().expect("it is known how large it is").len();
        partial.charge = ctx.memory.charge(Share::Large, total + BUFFER_OVERHEAD);
        let first = std::mem::take(&mut partial.bytes);
        let mut bytes = vec![0; total].into_boxed_slice();
        bytes[..first.len()].copy_from_slice(&first);
        conn.reading.read_size = READ_MIN as u32;
        conn.reading.frame_since = ctx.now.into();
        conn.reading.frame_mark = first.len() as u32;
        let dialect = conn.dialect.as_mut().expect("it came at a listener with a layout");
        let room = ctx.memory.charge(Share::Small, dialect.layout.room(1, total));
        dialect.begin_large(LargeBytes { bytes, received: first.len(), room });
        Ok(ReadOutcome::Nothing)
    }

    /// Reads the next bytes of such a frame. When all are there it is a run of its own.
    pub(super) fn read_large_foreign<N: Net, P>(
        &mut self,
        conn: &mut Conn<N::Socket>,
        ctx: &mut Ctx<N, P>,
    ) -> Result<ReadOutcome, ReadOutcome> {
        let mut dialect = conn.dialect.take().expect("it came at a listener with a layout");
        let large = dialect.large().expect("it was begun");
        let end = large.bytes.len().min(large.received + READ_MAX);
        let Ctx { net, secure, .. } = ctx;
        let socket = conn.socket.as_mut().expect("only a connection that is gone has no socket");
        let into = &mut large.bytes[large.received..end];
        let result = secure::read(net, &mut secure.scratch, socket, conn.secure.as_deref_mut(), into);
        let n = taken(conn, ctx, result, end - large.received);
        large.received += *n.as_ref().unwrap_or(&0);
        if large.received - conn.reading.frame_mark as usize >= FRAME_PROGRESS {
            conn.reading.frame_mark = large.received as u32;
            conn.reading.frame_since = ctx.now.into();
        }
        let outcome = match n {
            Ok(_) if large.received == large.bytes.len() => Ok(cut_large(conn, ctx, &mut dialect)),
            Ok(_) => Ok(ReadOutcome::Nothing),
            Err(outcome) => Err(outcome),
        };
        conn.dialect = Some(dialect);
        outcome
    }

    /// Verifies a run here where that is cheaper than waking a worker, else hands it over.
    pub fn convert<N: Net, P: Pool>(
        &mut self,
        conn: &mut Conn<N::Socket>,
        ctx: &mut Ctx<N, P>,
        run: Run,
    ) -> Option<Converted> {
        let frames = run.frames.len() as u32;
        let bytes = run.frames.last().map_or(0, |spot| spot.end as usize);
        let dialect = conn.dialect.as_mut().expect("it came at a listener with a layout");
        conn.traffic.frames_read += u64::from(frames);
        ctx.count_read(conn.listener, frames);
        let order = &mut conn.order;
        // It is hashed twice: once as theirs, once as ours. What somebody else's code takes for it is not known.
        let is_cheap = !run.layout.is_code() && 2 * bytes <= INLINE_BATCH.min(ctx.inline_left);
        if order.window.is_empty() && is_cheap {
            ctx.inline_left -= 2 * bytes;
            ctx.ledger.verified.inline += 1;
            let converted = run.convert(&ctx.config.scheme, &ctx.memory);
            ctx.timing.verified(ctx.now, ctx.now);
            return Some(converted);
        }
        dialect.set_keeping(run.keeps());
        // A large one has memory of its own.
        if bytes <= READ_MAX {
            order.bytes_in_flight += bytes as u32;
        }
        self.begin(order, frames);
        let number = order.window.begin();
        let ticket = Ticket { conn: conn.id.key(), number, since: ctx.now };
        let memory = ctx.memory.clone();
        let work = match run.is_large() {
            true => Work::LargeRun(Box::new(LargeRun::new(run, memory))),
            false => Work::Run(Box::new(run), memory),
        };
        ctx.submit(Job { ticket, work });
        None
    }
}

/// All bytes of a large frame are there.
fn cut_large<N: Net, P>(
    conn: &mut Conn<N::Socket>,
    ctx: &mut Ctx<N, P>,
    dialect: &mut Dialect,
) -> ReadOutcome {
    let large = dialect.take_large().expect("it was read");
    let partial = conn.reading.partial.take().expect("it stands for the large frame");
    let total = large.bytes.len();
    let mut foreign = Foreign { run: None, fault: None, scanned: 0, notice: None };
    let (kept, may_cut_on) = (dialect.kept(), dialect.may_cut_on());
    dialect.cut(|layout, cutter| {
        match cutter.next(layout, &large.bytes, ctx.config.payload_max) {
            Cut::Frame { len, shape } if len == total => {
                ctx.timing.batch(1, total);
                let frames = vec![Spot { start: 0, end: total as u32, shape: shape as u16 }];
                let buffer = Buffer::new(large.bytes, partial.charge);
                foreign.run = Some(Run { layout: layout.clone(), buffer, frames, kept, room: large.room });
            }
            cut => {
                // Its length was known from its first bytes, and all that can be wrong is what stands at its end.
                let Cut::Malformed(malformed) = cut else { unreachable!("{cut:?} of a frame that is whole") };
                let goes_on = cutter.is_scanning();
                foreign.notice =
                    Some(notice((conn.peer, conn.listener), ctx, layout, goes_on, malformed, &large.bytes));
                if goes_on {
                    let skip = cutter.next(layout, &large.bytes, ctx.config.payload_max);
                    assert_eq!(skip, Cut::Skip(total), "what begins within a large frame is not looked for");
                    ctx.count_skipped(conn.listener, total);
                    foreign.scanned = 1;
                } else {
                    foreign.fault = Some(malformed);
                }
            }
        }
        (may_cut_on, ())
    });
    ReadOutcome::Foreign(Box::new(foreign))
}

/// What is said where a stream cannot be cut; nothing where it would only be counted.
fn notice<N, P>(
    (peer, listener): (SocketAddr, u16),
    ctx: &Ctx<N, P>,
    layout: &Layout,
    goes_on: bool,
    malformed: Malformed,
    bytes: &[u8],
) -> String {
    if !ctx.notices.is_due(Notice::Layout, listener, ctx.now) {
        return String::new();
    }
    let (name, first) = (layout.name(), shown(bytes));
    let like = ctx
        .layouts
        .likeness(layout, bytes)
        .map_or(String::new(), |like| format!(", which looks like {like}"));
    let then = if goes_on { "the next start is looked for" } else { "it is closed" };
    let what = match malformed {
        Malformed::Dirt => "bytes that belong to no frame; they begin with".to_string(),
        _ => format!("what is no frame: {}; it begins with", malformed.say(layout)),
    };
    format!("{peer} (layout {name}) sent {what} {first}{like}: {then}")
}
