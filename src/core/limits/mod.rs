//! Every bound in the gateway, with its reason. Bounds that depend on each other are tied by the
//! asserts at the end, so that a changed number that no longer adds up does not compile.

mod access;
mod admin;
mod conns;
mod durable;
mod http;
mod store;
mod subscriptions;
mod tls;
mod tools;

use std::time::Duration;

pub use access::*;
pub use admin::*;
pub use conns::*;
pub use durable::*;
pub use http::*;
pub use store::*;
pub use subscriptions::*;
pub use tls::*;
pub use tools::*;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Whether the bounds are the small ones: in this crate's own tests, and under the fuzzer, never in a program that depends
/// on this crate, whatever its features.
const CHECKED: bool = cfg!(any(test, all(fuzzing, feature = "check")));

/// The models and the simulation run the same code with bounds so small that every one of them is
/// reached many times a second. Tests that use real sockets see the real ones.
const fn bound(real: usize, checked: usize) -> usize {
    if CHECKED { checked } else { real }
}

/// 256 KiB: the most that one read takes and so the largest batch. Hashing it keeps one worker for
/// about 140 µs; larger reads were not faster on loopback.
pub const READ_MAX: usize = bound(256 * KIB, 4 * KIB);

/// 16 KiB: the first read of a connection, doubled while reads come back full. It is also what a
/// connection that waits to send a large frame may pin, so a thousand of them pin 16 MiB.
pub const READ_MIN: usize = bound(16 * KIB, 256);

/// 1 KiB: such a first read where memory is waited for. Thousands that come at once, begin a long frame and stop do not fill with
/// their beginnings what small frames have.
pub const READ_NEW: usize = bound(KIB, 128);

/// 64 KiB: a socket buffer's worth, and the least that a [`Decoder`](crate::wire::Decoder) offers a read. Its buffer
/// doubles while a frame needs more, as its bytes come.
pub const DECODER_MIN: usize = bound(64 * KIB, KIB);

/// 64 batches read and not yet released: the size of a connection's reorder window.
pub const CONN_BATCHES: usize = bound(64, 6);

/// 1 MiB read and not yet released, per connection: four full reads keep every worker of a small
/// machine busy for one publisher, and what eight publishers have in flight stays in the cache.
pub const CONN_BYTES: usize = bound(MIB, 16 * KIB);

/// 1,024 jobs with the workers: the capacity of both queues. At 256 B a job that is 10 µs of work
/// for each of many publishers; memory bounds the bytes.
pub const JOBS: usize = bound(1024, 12);

/// 64 KiB: a batch up to here is verified by the reactor itself when nothing of its connection is
/// in flight. Hashing it takes 21 µs, a parked hand-off and back 10 to 50. Measured on two cores at
/// 2.8 million frames/s of 256 B, against 16 KiB and a turn of 64 KiB: 0.84 of the CPU a frame, and of the
/// 99th percentile of the latency 0.2.
pub const INLINE_BATCH: usize = bound(64 * KIB, 512);

/// 1 MiB (about 330 µs of hashing, as much as a turn reads) a turn: how much the reactor verifies itself
/// while it keeps up with its sockets.
pub const INLINE_TURN: usize = bound(MIB, 4 * KIB);

/// 64 KiB a turn while it does not: then the workers take what they can, and it reads and writes.
pub const INLINE_TURN_BUSY: usize = bound(64 * KIB, KIB);

/// 256 KiB: the piece of a large frame that one job hashes, so that no job keeps a worker longer
/// than a full batch does. Measured with 8 MiB frames, one at a time, against hashing each when it was
/// whole: 0.8 of the median latency; the same throughput.
pub const PIECE: usize = READ_MAX;

/// 64 KiB: the piece of each of several large frames that one job hashes in lanes together, so that sixteen of them, 1 MiB,
/// keep a worker for about 300 µs.
pub const LANE_PIECE: usize = PIECE / 4;

/// 512 KiB of a large frame read ahead of the worker that hashes it. More would only push each other
/// out of the cache before they are hashed.
pub const LARGE_BACKLOG: usize = 2 * PIECE;

/// 15 frames: in a batch with more, the last one of an odd number hashed alone costs too little to look
/// for another batch to hash beside it.
pub const PAIRED_FRAMES: usize = 15;

/// 64 connections accepted a turn, then the others get theirs.
pub const ACCEPT_TURN: usize = bound(64, 2);

/// 4,096 connections waiting in the kernel to be accepted; the usual `somaxconn`.
pub const BACKLOG: i32 = 4096;

/// 100 ms without accepting after the system refused a file descriptor.
pub const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// 160 file descriptors kept for everything that is not a publisher's or subscriber's connection: the
/// admin server's, the libraries', and those of the moment.
pub const RESERVED_FILES: u64 = 160;

/// 1 MiB read in a turn from all connections together; then what it brought is written before more is
/// read, while it is still in the cache.
pub const READ_TURN: usize = bound(MIB, 8 * KIB);

/// 64 slices a vectored write: 1,024 is the system's bound, but a socket buffer takes less.
pub const WRITE_SLICES: usize = bound(64, 3);

/// 4 MiB written to one peer a turn, where there is no other: as much as a socket takes.
pub const WRITE_TURN: usize = bound(4 * MIB, 6 * KIB);

/// 2 MiB, half a millisecond, where there are others: twice what a turn reads, so that nothing piles up.
/// Measured with small frames beside two publishers of 8 MiB frames, and the shortest outbox first, against
/// 4 MiB in any order: of the small ones' latency 0.7 at the median and at the 99th percentile, and as many bytes
/// of the large ones. One subscriber alone would lose 4 to 10 %.
pub const WRITE_TURN_SHARED: usize = bound(2 * MIB, 4 * KIB);

/// 16 MiB written in a turn to all peers together, some 5 ms: a publisher waits no longer for what others get,
/// however many they are. One subscriber of many publishers never reaches it. With 4 MiB, a hundred subscribers got a
/// third less at saturation with frames of 256 B: each write was too small.
pub const WRITE_TURN_ALL: usize = bound(16 * MIB, 12 * KIB);

/// 64 KiB of it for each peer at least: less is not worth a write. Those for whom nothing is left come first in the next
/// turn. A peer that waits for no more than that waits for no other.
pub const WRITE_SHARE: usize = bound(64 * KIB, 512);

/// 10 ms after a turn in which several were written to, others are likely to come.
pub const WRITE_SHARED_FOR: Duration = Duration::from_millis(10);

/// 1,024 events a poll.
pub const EVENTS: usize = 1024;

/// 128 KiB of replies that a peer has not taken: then its own reading stops.
pub const REPLIES_UNREAD: usize = bound(128 * KIB, KIB);

/// 30 s for each 64 KiB of a frame that a peer has begun (or its rest): then it is closed.
pub const FRAME_TIMEOUT: Duration = Duration::from_secs(30);
/// See [`FRAME_TIMEOUT`].
pub const FRAME_PROGRESS: usize = bound(64 * KIB, KIB);

/// 2 s to close, for a peer that the gateway closes and that has taken everything.
pub const LINGER: Duration = Duration::from_secs(2);

/// 100 ms: a subscriber that took something this recently is reading, only not as fast as others
/// write; its publishers are held for a moment instead of applying the slow policy to it.
pub const PATIENCE_IDLE: Duration = Duration::from_millis(100);

/// 1 s: the longest that a subscriber may hold its publishers before it has caught up.
pub const PATIENCE_TOTAL: Duration = Duration::from_secs(1);

/// 1 s: memory is taken back from peers that have stalled for as long, once someone has waited for it for as long, or
/// before that, where it is nearly full and stalled peers hold much of it (see [`RECLAIM_SHARE`]). A peer for which more
/// waits than is free has stalled after [`PATIENCE_IDLE`].
pub const RECLAIM_AFTER: Duration = Duration::from_secs(1);

/// 256 bytes charged for each buffer beside its bytes: the allocation's header, its counts, its
/// place in a queue, a run and the ledger's part of it.
pub const BUFFER_OVERHEAD: usize = 256;

/// 128 bytes charged for each entry of an outbox: its place in a queue that may be half empty, and the
/// run that it points to, as if nobody shared it.
pub const OUTBOX_ENTRY: usize = 128;

/// 32 buffers of [`READ_MAX`] kept for reuse, so that a steady stream of full reads asks the
/// allocator for nothing: 8 MiB above `--memory`.
pub const SPARE_BUFFERS: usize = 32;

/// 1/4 of the memory is never given to large frames, so that small ones always pass.
pub const SMALL_SHARE: usize = 4;

/// 2 MiB: the least memory for small frames: what one read may come to hold (see [`read_need`]).
pub const SMALL_MIN: usize = bound(2 * MIB, 36 * KIB);

/// 1/4 of the memory is kept for what handlers answer, where there are handlers: so the answers of what is
/// in flight find room while publishers fill the rest.
pub const ANSWER_SHARE: usize = 4;

/// Beside one largest frame, the least memory for answers: one read of a handler.
pub const ANSWER_MIN: usize = 3 * READ_MAX + 4 * BUFFER_OVERHEAD + CALL;

/// 8 connections that call seldom are called one after the other, then one of those that always call: so nobody waits for
/// ever, however many come and go.
pub const FRESH_TURNS: usize = bound(8, 3);

/// 1 KiB charged for each call: its entry, the header and digest that it is sent with, the places in its
/// connection's order of it and of what follows it, and what its replies take beside their bytes.
pub const CALL: usize = 1024;

/// 384 bytes charged for each step that is held in a connection's order behind a call that takes long: its entries, and
/// what it is beside its bytes. Steps that are over and done take none: however many there are, they are one run.
pub const STEP: usize = 384;

/// 64 such steps of a connection that are no calls (a SUBSCRIBE, a PING, a frame that is refused): then no more of its
/// calls begin, and it is not read, until the call that they wait for is done.
pub const STEPS_ASIDE: usize = bound(64, 3);

/// 4 KiB, for each frame that may be with the handlers: the least room for answers that wait for those to earlier
/// frames. With more memory it is what a quarter of that leaves beside the largest answer.
pub const ANSWER_WAITS: usize = bound(4 * KIB, CALL);

/// 160 bytes set aside for the reply to a frame that wants one: 64 and a reason.
pub const REPLY_MAX: usize = 64 + REASON_MAX;

/// 96 bytes of reason in a reply, the rest is cut off.
pub const REASON_MAX: usize = 96;

/// 1 KiB of the reason why a sink has refused a frame: 200 characters of what a store said, and what is around them.
/// That is more than is set aside for a reply, and held until its publisher takes it, as outboxes bound it.
pub const SINK_REASON_MAX: usize = KIB;

/// The least bytes of a frame.
pub const FRAME_MIN: usize = 64;

/// Bytes that a read which fills a buffer up to `filled` may come to hold: the batch (a buffer of
/// which half may be empty), the replies to its frames, and the rest of the small frame that it begins.
pub const fn read_need(filled: usize) -> usize {
    2 * filled + filled / FRAME_MIN * REPLY_MAX + partial_need(READ_MAX) + 2 * BUFFER_OVERHEAD
}

/// Bytes that a small frame of `total` bytes may come to hold: its buffer, which is a whole lent one
/// if it fills half of that, and its reply.
pub const fn partial_need(total: usize) -> usize {
    let buffer = if total >= READ_MAX / 2 { READ_MAX } else { total };
    buffer + REPLY_MAX + 2 * BUFFER_OVERHEAD
}

/// 256 KiB that reads leave free beside what they need: with what a read needs, it is room for a whole frame that was
/// begun, as the native frame too that a foreign one becomes.
pub const BEGUN_RESERVE: usize = READ_MAX;

/// 1/4 of what small frames may have is never given to those that are begun and longer than a small read.
pub const LIGHT_SHARE: usize = 4;

/// Where that is less: what one small read needs free.
pub const LIGHT_MIN: usize = read_need(READ_MIN) + BEGUN_RESERVE;

/// 1/8 of the memory for the deduplication window; beyond it the oldest digests are forgotten early.
pub const DEDUP_SHARE: usize = 8;

/// 112 bytes for each remembered digest: 64 in the list, which grows by a quarter, and up to 12 in the table, which
/// doubles; the rest is an allocator's.
pub const DEDUP_ENTRY: usize = 112;

/// 100 subscribers that lost frames are named in the ledger; further ones are added up.
pub const NAMED_LOSERS: usize = 100;

/// 10 s between two log lines of the same kind; what comes between is counted.
pub const NOTICE_EVERY: Duration = Duration::from_secs(10);

/// 256 bytes for each open message: its place in the slab, half of which may be empty, in the table, and the
/// first allocation of its parts.
pub const MESSAGE_COST: usize = 256;

/// 96 bytes for each part beside its payload: its place in its message, of which half may be empty, and an
/// allocation's header.
pub const PART_COST: usize = 96;

/// 32 bytes for a part's copied payload beside its bytes: the allocation's header, and its rounding.
pub const PART_COPIED: usize = 32;

/// 160 bytes for the reply that a part is owed, beside the memory set aside for its bytes.
pub const PART_OWED: usize = 160;

/// 144 bytes for a part that is held where there is deduplication, and for each frame that waits for the sinks there:
/// its digest, and its place among those that copies are looked for in.
pub const PART_KNOWN: usize = 144;

/// 8 copies of a part that wait for what becomes of it: a publisher that connects again and sends again has one.
pub const PART_COPIES: usize = bound(8, 2);

/// 4,096 parts told EXPIRED a turn (some 2 ms), and the messages that they belonged to; the rest in the next.
pub const LEASES_TURN: usize = bound(4096, 3);

/// 64 connections that wait for room for a part and are tried in a turn.
pub const PARTED_TURN: usize = bound(64, 2);

/// 1,000,000 messages open at once unless it is set.
pub const KEYS_DEFAULT: usize = 1_000_000;

/// 1/4 of what parts may cost is kept for the messages that are open already.
pub const MESSAGE_RESERVE: usize = 4;

/// 256 tables for the open messages: with a million of them, one that grows moves some 4,000, in less than a
/// millisecond, and they grow one after another.
pub const PART_SHARDS: usize = bound(256, 2);

/// 16 MiB of reassembled messages whose digests are not made, some 10 ms of one worker: then nothing is read until they
/// are. Reading is faster than hashing, and without a bound they would fill the memory.
pub const MESSAGES_UNHASHED: usize = bound(16 * MIB, 4 * KIB);

/// 512 bytes that such a message takes beside its bytes.
pub const UNHASHED_COST: usize = bound(512, 64);

/// 1/2 of the memory may hold frames that a sink has not confirmed: then publishers wait, and the rest is for
/// those who subscribe.
pub const DURABLE_SHARE: usize = 2;

/// 256 bytes for each ticket that a sink's word is waited for under, beside its places in tables: the place in the sink's
/// queues, and what a reply of its own takes beside its bytes.
pub const TICKET: usize = 256;

/// 64 publishers that go on in a turn once a sink has room: they may have filled it by then.
pub const DURABLE_WAKE_TURN: usize = bound(64, 2);

/// 4,096 of a sink's words and of the replies that they free, a turn: some 6 ms. A sync may bring many more at once.
pub const OUTCOMES_TURN: usize = bound(4096, 3);

/// 10,000 frames on their way to the HTTP sink's store, however many go at once: the capacity of both queues.
/// Memory bounds the bytes.
pub const HTTP_PUTS: usize = bound(10_000, 8);

/// 64 commands on their way to the gate from other threads; each of them waits for its answer.
pub const COMMANDS: usize = 64;

/// 5 s for the answer to a command: a turn takes milliseconds, so a loop that is later than this is stuck.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// 64 who wait until a paused gateway is quiet; further ones are answered at once.
pub const WAITERS: usize = 64;

/// 1,024 connections looked at a turn (some 50 µs), so that counting 100,000 of them holds nobody up.
pub const SURVEY_TURN: usize = bound(1024, 2);

/// 20 rows in each list of connections that stand out: as many as someone reads.
pub const SURVEY_ROWS: usize = 20;

/// 100 connections that ended are remembered.
pub const CLOSED_KEPT: usize = 100;

/// 4,096 worker threads: more is probably a typing error.
pub const WORKERS_MAX: usize = 4096;

/// 1,024 handlers: more is probably a typing error.
pub const HANDLERS_MAX: usize = 1024;

/// 256 calls of a handler in Rust with the workers: the rest of the queue is for verifying.
pub const WORKERS_CALLS: usize = JOBS / 4;

/// 64 KiB asked of a handler at once: what a pipe holds.
pub const HANDLER_READ: usize = bound(64 * KIB, KIB);

/// 1 MiB of a connection's frames that were answered and wait for an earlier call: then no more of its
/// calls begin.
pub const CALLED_BYTES: usize = bound(MIB, 4 * KIB);

/// 2 s for a handler to end after its input has.
pub const HANDLER_GRACE: Duration = Duration::from_secs(2);

/// 100 ms until a handler is started again that ended without an answer, doubled each time.
pub const HANDLER_PAUSE_FIRST: Duration = Duration::from_millis(100);
/// 5 s at most.
pub const HANDLER_PAUSE_MAX: Duration = Duration::from_secs(5);

/// 4 KiB of a line that a handler logs, the rest is left out.
pub const LOG_LINE: usize = 4 * KIB;

/// 64 KiB of a handler's log a turn: what a pipe holds.
pub const LOG_TURN: usize = 64 * KIB;

/// 1 GiB: the largest `--max-payload`, well within the header's 32 bits.
pub const PAYLOAD_MAX: usize = 1024 * MIB;

const _: () = {
    assert!(READ_MIN <= READ_MAX);
    assert!(CONN_BYTES >= 4 * READ_MAX, "a connection's credit covers reads while others are verified");
    assert!(CONN_BATCHES <= JOBS, "one connection's window fits in the queues");
    assert!(TICKET >= BUFFER_OVERHEAD, "a reply takes the room of its ticket");
    assert!(INLINE_BATCH <= INLINE_TURN_BUSY && INLINE_TURN_BUSY <= INLINE_TURN);
    assert!(SMALL_MIN >= read_need(READ_MAX) + LIGHT_MIN, "beside the reserve one read always fits");
    assert!(MESSAGES_UNHASHED >= 4 * (INLINE_BATCH + UNHASHED_COST), "the workers do not run dry meanwhile");
    assert!(WRITE_SLICES <= 1024, "the system's bound of a vectored write");
    assert!(WRITE_TURN_SHARED <= WRITE_TURN && WRITE_TURN <= WRITE_TURN_ALL);
    assert!(READ_TURN <= WRITE_TURN_ALL, "one subscriber of everything holds nobody up");
    assert!(READ_TURN <= WRITE_TURN_SHARED || CHECKED, "nothing piles up");
    assert!(FRAME_PROGRESS <= READ_MAX);
    assert!(RESERVED_FILES as usize >= ADMIN_CONNECTIONS + 64, "the admin server's sockets among them");
    assert!(ADMIN_PAGES < ADMIN_CONNECTIONS, "open pages keep nobody out");
    assert!(PAYLOAD_MAX as u64 <= u32::MAX as u64);
    assert!(CONN_SHAPES <= SHAPES && SUBSCRIPTIONS_SHARE >= 2);
    assert!(ANSWER_WAITS >= CALL, "a copy of a frame that is with a handler can wait for it");
    assert!(CALL >= STEP, "what a call leaves behind takes the room of the call");
};
