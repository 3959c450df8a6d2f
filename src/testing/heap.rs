//! What the gateway has allocated, counted on the simulation's thread alone.
//!
//! In tests every allocation has a header that says whose it is: what is allocated within [`gateway`] is counted until
//! it is freed, by any thread, anywhere; what peers, sinks, workers and the oracle allocate (by default, and
//! within [`world`]) is not. A run is one thread's, so other tests disturb no count. With [`trace`] it is
//! also known where each byte was allocated, at some 100 µs an allocation.
//!
//! No crate does this: `stats_alloc`, `cap` and `dhat` count the whole process, `allocation-counter` a thread without
//! regard to whose memory is freed, and `tracking-allocator` (last changed in 2022) takes a callback and a `RefCell`
//! for each allocation and copies what grows.
//!
//! Sound: each block is the system's, [`HEADER`] bytes (or its own alignment, where that is more) longer, and the
//! pointer that is given out is so far behind its beginning; so it is aligned as asked for, the 16 bytes before it are
//! ours, and the layout by which it is freed tells where its beginning is.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Tests allocate with this.
#[cfg(test)]
#[global_allocator]
static COUNTING: Counting = Counting;

/// The system's allocator, with a header before each block. A fuzz target may allocate with it, too.
pub struct Counting;

/// Bytes before a block: the run that it is counted in (0: none), and where it was allocated.
const HEADER: usize = 16;

/// Bytes that a block counts beside its own: what an allocator takes for it, about.
pub const BLOCK: usize = 16;

/// The header of a block.
#[derive(Clone, Copy)]
struct Owner {
    run: u32,
    site: u32,
}

#[derive(Default)]
struct Count {
    run: Cell<u32>,
    inside: Cell<bool>,
    bytes: Cell<usize>,
    blocks: Cell<u64>,
    traced: Cell<bool>,
}

/// Where blocks were allocated, and what of each place is there.
#[derive(Default)]
struct Sites {
    known: HashMap<String, u32>,
    all: Vec<(String, isize, isize)>,
}

thread_local! {
    static COUNT: Count = const {
        Count {
            run: Cell::new(0),
            inside: Cell::new(false),
            bytes: Cell::new(0),
            blocks: Cell::new(0),
            traced: Cell::new(false),
        }
    };
    static SITES: RefCell<Sites> = RefCell::default();
}

/// Begins to count anew on this thread.
pub fn begin(traced: bool) {
    static RUNS: AtomicU32 = AtomicU32::new(1);
    COUNT.with(|count| {
        count.inside.set(false);
        count.run.set(RUNS.fetch_add(1, Relaxed));
        count.bytes.set(0);
        count.blocks.set(0);
        count.traced.set(traced);
    });
    SITES.with_borrow_mut(|sites| *sites = Sites::default());
}

/// Bytes that the gateway has allocated since [`begin`] and not freed, each block with [`BLOCK`] bytes more.
pub fn bytes() -> usize {
    COUNT.with(|count| count.bytes.get())
}

/// How often the gateway has allocated since [`begin`], or made a block larger or smaller.
pub fn allocations() -> u64 {
    COUNT.with(|count| count.blocks.get())
}

/// What is allocated until this is dropped is the gateway's.
#[must_use]
pub fn gateway() -> Scope {
    Scope::new(true)
}

/// What is allocated until this is dropped is not.
#[must_use]
pub fn world() -> Scope {
    Scope::new(false)
}

/// The end of [`gateway`] or [`world`].
pub struct Scope {
    before: bool,
}

impl Scope {
    fn new(inside: bool) -> Scope {
        Scope { before: COUNT.with(|count| count.inside.replace(inside)) }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        COUNT.with(|count| count.inside.set(self.before));
    }
}

/// The places that have the most bytes, where they are traced.
pub fn most(places: usize) -> String {
    if !COUNT.with(|count| count.traced.get()) {
        return String::new();
    }
    let _scope = world();
    let mut all = SITES.with_borrow(|sites| sites.all.clone());
    all.sort_unstable_by_key(|(_, bytes, _)| -bytes);
    let shown = all.iter().take(places);
    shown.map(|(name, bytes, blocks)| format!("\n  {bytes} bytes in {blocks} blocks: {name}")).collect()
}

impl Owner {
    /// Whose a new block of so many bytes is.
    fn of_new(bytes: usize) -> Owner {
        COUNT.with(|count| {
            if !count.inside.get() || count.run.get() == 0 {
                return Owner { run: 0, site: 0 };
            }
            count.bytes.set(count.bytes.get() + bytes + BLOCK);
            count.blocks.set(count.blocks.get() + 1);
            let site = if count.traced.get() { traced(bytes) } else { 0 };
            Owner { run: count.run.get(), site }
        })
    }

    /// The block has changed from so many bytes to so many; `None` where it is freed.
    fn changes(self, before: usize, after: Option<usize>) {
        if self.run == 0 {
            return;
        }
        COUNT.with(|count| {
            // What a run before this one left is counted no more.
            if count.run.get() != self.run {
                return;
            }
            let with_block = |bytes: usize| bytes + BLOCK;
            count.blocks.set(count.blocks.get() + u64::from(after.is_some()));
            let after = after.map_or(0, with_block);
            count.bytes.set(count.bytes.get() + after - with_block(before));
            if count.traced.get() {
                let _scope = world();
                SITES.with_borrow_mut(|sites| {
                    let (_, bytes, blocks) = &mut sites.all[self.site as usize];
                    *bytes += after as isize - with_block(before) as isize;
                    *blocks -= isize::from(after == 0);
                });
            }
        });
    }
}

/// Notes where a new block of so many bytes is allocated.
fn traced(bytes: usize) -> u32 {
    let _scope = world();
    let trace = std::backtrace::Backtrace::force_capture().to_string();
    let name = name_of(&trace);
    SITES.with_borrow_mut(|sites| {
        let next = sites.all.len() as u32;
        let site = *sites.known.entry(name.clone()).or_insert(next);
        if site == next {
            sites.all.push((name, 0, 0));
        }
        let (_, all, blocks) = &mut sites.all[site as usize];
        *all += (bytes + BLOCK) as isize;
        *blocks += 1;
        site
    })
}

/// The innermost places of this crate that are not of the checks: by file and line where the build knows them, else by
/// function.
fn name_of(trace: &str) -> String {
    let mut places: Vec<&str> = Vec::new();
    let mut function = "";
    for line in trace.lines().map(str::trim) {
        if let Some(place) = line.strip_prefix("at ") {
            // The line behind a function's is more exact than its name, which is cut short with lines only.
            if is_ours(function) {
                places.pop();
            }
            if let Some(place) = place.strip_prefix("./src/").filter(|place| !place.starts_with("testing/")) {
                places.push(place);
            }
            function = "";
        } else if let Some((_, name)) = line.split_once(": ") {
            function = name;
            places.extend(is_ours(name).then_some(name));
        }
    }
    places.truncate(3);
    places.join(" < ")
}

fn is_ours(function: &str) -> bool {
    function.contains("framegate::") && !function.contains("framegate::testing::")
}

/// The block with its header, and how far behind its beginning the block itself is; none if that is too large.
fn with_header(layout: Layout) -> Option<(Layout, usize)> {
    let offset = HEADER.max(layout.align());
    let size = layout.size().checked_add(offset)?;
    Some((Layout::from_size_align(size, offset).ok()?, offset))
}

/// Where the header of a block is that begins so far behind `block`.
fn header(block: *mut u8, offset: usize) -> *mut Owner {
    block.wrapping_add(offset - HEADER).cast()
}

impl Counting {
    fn allocate(layout: Layout, allocate: impl FnOnce(Layout) -> *mut u8) -> *mut u8 {
        let Some((whole, offset)) = with_header(layout) else { return std::ptr::null_mut() };
        let block = allocate(whole);
        if block.is_null() {
            return block;
        }
        // SAFETY: the first `offset` bytes of the block, which is aligned to as many, are for this.
        unsafe { header(block, offset).write(Owner::of_new(layout.size())) };
        block.wrapping_add(offset)
    }
}

// SAFETY: see the top of the file; all else is the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: a block with its header is never empty.
        Counting::allocate(layout, |whole| unsafe { System.alloc(whole) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: likewise.
        Counting::allocate(layout, |whole| unsafe { System.alloc_zeroed(whole) })
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        let (whole, offset) = with_header(layout).expect("it was allocated");
        let block = ptr.wrapping_sub(offset);
        // SAFETY: `allocate` gave it out with this layout, and wrote its header.
        let owner = unsafe { header(block, offset).read() };
        owner.changes(layout.size(), None);
        // SAFETY: likewise.
        unsafe { System.dealloc(block, whole) };
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let (whole, offset) = with_header(layout).expect("it was allocated");
        let Some(new) = size.checked_add(offset) else { return std::ptr::null_mut() };
        // SAFETY: `allocate` gave it out with this layout; the header moves with it.
        let block = unsafe { System.realloc(ptr.wrapping_sub(offset), whole, new) };
        if block.is_null() {
            return block;
        }
        // SAFETY: likewise.
        let owner = unsafe { header(block, offset).read() };
        owner.changes(layout.size(), Some(size));
        block.wrapping_add(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_gateway_allocates_is_counted_until_it_is_freed() {
        begin(false);
        let not_counted = vec![0_u8; 1_000];
        let mut counted = {
            let _scope = gateway();
            let _worlds = {
                let _scope = world();
                vec![0_u8; 500]
            };
            vec![1_u8; 100]
        };
        assert_eq!(bytes(), 100 + BLOCK);
        // It stays the gateway's, wherever it grows and is freed.
        counted.reserve_exact(900);
        assert_eq!(bytes(), 1_000 + BLOCK);
        counted.shrink_to_fit();
        assert_eq!(bytes(), 100 + BLOCK);
        {
            let _scope = gateway();
            drop(not_counted);
            assert_eq!(bytes(), 100 + BLOCK);
        }
        drop(counted);
        assert_eq!(bytes(), 0);
        // A new one, and twice the same in another size.
        assert_eq!(allocations(), 3);
    }

    #[test]
    fn blocks_are_aligned_zeroed_and_kept() {
        #[repr(align(256))]
        #[derive(Clone)]
        struct Wide(u8);
        begin(false);
        let _scope = gateway();
        let mut wide: Vec<Wide> = (0..9).map(Wide).collect();
        wide.reserve(1_000);
        assert!(wide.as_ptr().addr().is_multiple_of(256) && (0..9).all(|at| wide[at as usize].0 == at));
        assert_eq!(vec![0_u8; 70_000], [0; 70_000]);
        assert_eq!(bytes(), wide.capacity() * 256 + BLOCK);
        drop(wide);
        assert_eq!(bytes(), 0);
    }

    #[test]
    fn threads_and_runs_do_not_disturb_each_other() {
        begin(false);
        let of_the_run_before = {
            let _scope = gateway();
            vec![0_u8; 100]
        };
        std::thread::spawn(|| {
            begin(false);
            let _scope = gateway();
            let _other = vec![0_u8; 1_000];
        })
        .join()
        .unwrap();
        assert_eq!(bytes(), 100 + BLOCK);
        begin(false);
        drop(of_the_run_before);
        assert_eq!(bytes(), 0);
    }

    #[test]
    fn a_trace_names_the_place() {
        begin(true);
        let cache = {
            let _scope = gateway();
            crate::core::memory::Memory::new(1 << 20, 1 << 10).buffer()
        };
        // Of the file or of the function.
        assert!(most(1).contains("core/memory.rs") || most(1).contains("core::memory::"), "{}", most(3));
        drop(cache);
        assert!(bytes() == 0 && most(1).contains("\n  0 bytes in 0 blocks"), "{}", most(3));
    }
}
