//! A disk that fails when it is told to, and at a crash forgets what was not synced.
//!
//! It is as unkind as a disk may be. A sync that fails has written some pages and not others, and the
//! next one does not try those again. At a crash every page that was not synced is there or is not, a
//! length is the old or the new one, and of what was made, renamed and removed in a folder since it was
//! synced, only a beginning is there.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::sinks::store::{Files, Listed, Stamp, Unsynced};

/// Bytes that are on the disk or not as one.
const PAGE: usize = 64;

/// What goes wrong next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// One call fails; of what it was to do, some is done.
    Error,
    /// Every call that needs room fails until [`SimDisk::heal`].
    Full,
    /// The machine stops: every call fails until [`SimDisk::restart`].
    Crash,
}

/// Files in memory, shared by everyone who has a clone.
#[derive(Clone)]
pub struct SimDisk(Rc<RefCell<State>>);

struct State {
    files: Vec<Content>,
    folders: BTreeMap<PathBuf, Folder>,
    /// Calls until the fault.
    countdown: Option<(usize, Fault)>,
    full: bool,
    stopped: bool,
    /// Says that a sync is done without doing it.
    lies: bool,
    /// Syncs of the folder that all are in.
    #[cfg(test)]
    root_syncs: u64,
    /// Waits for files and folders that were synced together.
    #[cfg(test)]
    sync_waits: u64,
    dice: u64,
    /// What files are said to be written to at.
    time: Stamp,
}

#[derive(Default)]
struct Content {
    cached: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
    modified: Stamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    File(usize),
    Folder,
}

#[derive(Default)]
struct Folder {
    cached: BTreeMap<String, Node>,
    durable: BTreeMap<String, Node>,
    /// What changes the one into the other.
    changes: Vec<Change>,
}

enum Change {
    Put(String, Node),
    Rename(String, String),
    Remove(String),
}

impl Change {
    fn apply(&self, to: &mut BTreeMap<String, Node>) {
        match self {
            Change::Put(name, node) => {
                to.insert(name.clone(), *node);
            }
            Change::Rename(from, name) => {
                let node = to.remove(from).expect("changes are made in order");
                to.insert(name.clone(), node);
            }
            Change::Remove(name) => {
                to.remove(name);
            }
        }
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> SimDisk {
        SimDisk(Rc::new(RefCell::new(State {
            files: Vec::new(),
            folders: BTreeMap::from([(PathBuf::new(), Folder::default())]),
            countdown: None,
            full: false,
            stopped: false,
            lies: false,
            #[cfg(test)]
            root_syncs: 0,
            #[cfg(test)]
            sync_waits: 0,
            dice: 1,
            time: Stamp(0),
        })))
    }

    /// An empty disk that says that it has synced files when it has not.
    #[cfg(test)]
    pub fn that_lies() -> SimDisk {
        let disk = SimDisk::new();
        disk.0.borrow_mut().lies = true;
        disk
    }

    /// How often the folder that all are in was synced.
    #[cfg(test)]
    pub fn root_syncs(&self) -> u64 {
        self.0.borrow().root_syncs
    }

    /// How often something was waited for that was synced.
    #[cfg(test)]
    pub fn sync_waits(&self) -> u64 {
        self.0.borrow().sync_waits
    }

    /// The calendar says this.
    pub fn set_time(&self, time: Stamp) {
        self.0.borrow_mut().time = time;
    }

    /// Something goes wrong after so many further calls; `dice` chooses how.
    pub fn break_after(&self, calls: usize, fault: Fault, dice: u64) {
        let mut state = self.0.borrow_mut();
        state.countdown = Some((calls, fault));
        state.dice = dice | 1;
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        let mut state = self.0.borrow_mut();
        (state.countdown, state.full) = (None, false);
    }

    /// Whether nothing is to go wrong.
    pub fn is_healthy(&self) -> bool {
        let state = self.0.borrow();
        state.countdown.is_none() && !state.full && !state.stopped
    }

    /// Whether the machine stopped.
    pub fn is_stopped(&self) -> bool {
        self.0.borrow().stopped
    }

    /// The machine stops, if it has not, and starts with what its disk holds.
    pub fn restart(&self) {
        let mut state = self.0.borrow_mut();
        let State { files, folders, dice, .. } = &mut *state;
        files.iter_mut().for_each(|content| content.crash(dice));
        let mut reached = BTreeMap::new();
        let mut open = vec![PathBuf::new()];
        while let Some(path) = open.pop() {
            // One whose own content never reached the disk is empty.
            let mut folder = folders.remove(&path).unwrap_or_default();
            let kept = roll(dice, folder.changes.len() + 1);
            folder.changes.iter().take(kept).for_each(|change| change.apply(&mut folder.durable));
            folder.changes.clear();
            folder.cached = folder.durable.clone();
            let inside = folder.cached.iter().filter(|(_, node)| **node == Node::Folder);
            open.extend(inside.map(|(name, _)| path.join(name)));
            reached.insert(path, folder);
        }
        state.folders = reached;
        (state.countdown, state.full, state.stopped) = (None, false, false);
    }

    /// Every file's path and bytes.
    pub fn all(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut all = Vec::new();
        self.each(|folder, name, bytes| all.push((folder.join(name), bytes.to_vec())));
        all
    }

    /// Shows every file: its folder, its name and its bytes.
    pub fn each(&self, mut see: impl FnMut(&Path, &str, &[u8])) {
        let state = self.0.borrow();
        for (path, folder) in &state.folders {
            for (name, node) in &folder.cached {
                if let Node::File(at) = node {
                    see(path, name, &state.files[*at].cached);
                }
            }
        }
    }

    /// Somebody takes a folder of the first level away, with all that is in it, whether the disk is well or not.
    pub fn take_folder(&self, path: &Path) {
        let mut state = self.0.borrow_mut();
        state.folders.retain(|other, _| !other.starts_with(path));
        let root = state.folder(Path::new("")).expect("it is always there");
        if root.cached.contains_key(&name(path)) {
            root.change(Change::Remove(name(path)));
            root.sync();
        }
    }

    /// Somebody takes a file away.
    pub fn take_file(&self, path: &Path) {
        let mut state = self.0.borrow_mut();
        if let Ok(folder) = state.folder(parent(path))
            && folder.cached.contains_key(&name(path))
        {
            folder.change(Change::Remove(name(path)));
            folder.sync();
        }
    }

    /// Puts a file there, durably.
    pub fn put(&self, folder: &Path, name: &str, bytes: &[u8]) {
        let mut state = self.0.borrow_mut();
        state.files.push(Content { cached: bytes.into(), durable: bytes.into(), ..Content::default() });
        let node = Node::File(state.files.len() - 1);
        let mut above = PathBuf::new();
        for part in folder.iter() {
            let part = part.to_str().expect("the model's names are UTF-8").to_string();
            state.folder(&above).expect("it was made").put(part.clone(), Node::Folder);
            above.push(part);
            state.folders.entry(above.clone()).or_default();
        }
        state.folder(folder).expect("it was made").put(name.into(), node);
        state.folders.values_mut().for_each(Folder::sync);
    }
}

/// A number below `n`.
fn roll(dice: &mut u64, n: usize) -> usize {
    // xorshift64
    *dice ^= *dice << 13;
    *dice ^= *dice >> 7;
    *dice ^= *dice << 17;
    (*dice % n as u64) as usize
}

fn system(message: &str) -> io::Error {
    io::Error::other(message.to_string())
}

impl State {
    /// Counts a call. With an error, what it was to do is done in part, as the dice say.
    fn call(&mut self, needs_room: bool) -> io::Result<()> {
        if self.stopped {
            return Err(system("the machine has stopped"));
        }
        if let Some((left, fault)) = &mut self.countdown {
            if *left > 0 {
                *left -= 1;
            } else {
                let fault = *fault;
                self.countdown = None;
                match fault {
                    Fault::Error => return Err(system("input/output error")),
                    Fault::Full => self.full = true,
                    Fault::Crash => {
                        self.stopped = true;
                        return Err(system("the machine stops"));
                    }
                }
            }
        }
        if self.full && needs_room { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn folder(&mut self, path: &Path) -> io::Result<&mut Folder> {
        self.folders.get_mut(path).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn find(&mut self, path: &Path) -> io::Result<usize> {
        match self.folder(parent(path))?.cached.get(&name(path)) {
            Some(Node::File(at)) => Ok(*at),
            Some(Node::Folder) => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().expect("a file is in a folder")
}

fn name(path: &Path) -> String {
    path.file_name().and_then(|name| name.to_str()).expect("the model's names are UTF-8").into()
}

impl Folder {
    fn put(&mut self, name: String, node: Node) {
        if self.cached.get(&name) != Some(&node) {
            self.change(Change::Put(name, node));
        }
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.cached);
        self.changes.push(change);
    }

    fn sync(&mut self) {
        self.changes.clear();
        self.durable = self.cached.clone();
    }
}

impl Content {
    fn append(&mut self, bytes: &[u8]) {
        let start = self.cached.len();
        self.cached.extend_from_slice(bytes);
        self.dirty.extend(start / PAGE..self.cached.len().div_ceil(PAGE));
    }

    fn truncate(&mut self, len: usize) {
        self.cached.truncate(len);
        self.dirty.retain(|page| page * PAGE < len);
        // The end of the last page is made zeros.
        if len > 0 {
            self.dirty.insert((len - 1) / PAGE);
        }
    }

    /// Writes the dirty pages that `keeps` says, and forgets that the others were dirty.
    fn write_back(&mut self, len: usize, mut keeps: impl FnMut() -> bool) {
        self.durable.resize(len, 0);
        for page in std::mem::take(&mut self.dirty) {
            let range = page * PAGE..((page + 1) * PAGE).min(self.cached.len()).min(len);
            if keeps() && !range.is_empty() {
                self.durable[range.clone()].copy_from_slice(&self.cached[range]);
            }
        }
    }

    fn crash(&mut self, dice: &mut u64) {
        let len = if roll(dice, 2) == 0 { self.durable.len() } else { self.cached.len() };
        self.write_back(len, || roll(dice, 2) == 0);
        self.cached = self.durable.clone();
    }
}

impl Files for SimDisk {
    type File = usize;

    fn make_folder(&mut self, path: &Path) -> io::Result<bool> {
        let mut state = self.0.borrow_mut();
        state.call(true)?;
        let above = state.folder(parent(path))?;
        match above.cached.get(&name(path)) {
            Some(Node::File(_)) => return Err(ErrorKind::AlreadyExists.into()),
            Some(Node::Folder) => return Ok(false),
            None => above.put(name(path), Node::Folder),
        }
        state.folders.entry(path.into()).or_default();
        Ok(true)
    }

    fn is_folder(&mut self, path: &Path) -> io::Result<bool> {
        let mut state = self.0.borrow_mut();
        state.call(false)?;
        Ok(state.folders.contains_key(path))
    }

    fn sync_folder(&mut self, path: &Path) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.call(false)?;
        #[cfg(test)]
        {
            state.root_syncs += u64::from(path == Path::new(""));
        }
        state.folder(path)?.sync();
        Ok(())
    }

    fn list(&mut self, path: &Path) -> io::Result<Vec<Listed>> {
        let mut state = self.0.borrow_mut();
        state.call(false)?;
        let entries = state.folder(path)?.cached.iter();
        Ok(entries
            .map(|(name, node)| Listed { name: name.clone(), is_folder: *node == Node::Folder })
            .collect())
    }

    fn create(&mut self, path: &Path) -> io::Result<usize> {
        let mut state = self.0.borrow_mut();
        state.call(true)?;
        if state.folder(parent(path))?.cached.contains_key(&name(path)) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        state.files.push(Content::default());
        let file = state.files.len() - 1;
        state.folder(parent(path))?.put(name(path), Node::File(file));
        Ok(file)
    }

    fn open(&mut self, path: &Path) -> io::Result<usize> {
        let mut state = self.0.borrow_mut();
        state.call(false)?;
        state.find(path)
    }

    fn len(&mut self, file: &mut usize) -> io::Result<u64> {
        let mut state = self.0.borrow_mut();
        state.call(false)?;
        Ok(state.files[*file].cached.len() as u64)
    }

    fn read(&mut self, file: &mut usize, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let mut state = self.0.borrow_mut();
        state.call(false)?;
        let rest = state.files[*file].cached.get(at as usize..).unwrap_or_default();
        let n = rest.len().min(bytes.len());
        bytes[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn append(&mut self, file: &mut usize, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.0.borrow_mut();
        let called = state.call(true);
        let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let dice = &mut state.dice;
        // Now and then fewer than all, and a few even of a call that fails.
        let n = match &called {
            Ok(()) if roll(dice, 4) > 0 => all.len(),
            _ => roll(dice, all.len() + 1),
        };
        let n = if called.is_ok() { n.max(1) } else { n };
        let time = state.time;
        state.files[*file].append(&all[..n]);
        state.files[*file].modified = time;
        called.map(|()| n)
    }

    fn sync(&mut self, file: &mut usize) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        let called = state.call(false);
        let State { files, dice, stopped, lies, .. } = &mut *state;
        let content = &mut files[*file];
        match &called {
            Ok(()) if *lies => {}
            Ok(()) => content.write_back(content.cached.len(), || true),
            Err(_) if *stopped => {}
            Err(_) => {
                let len = if roll(dice, 2) == 0 { content.durable.len() } else { content.cached.len() };
                content.write_back(len, || roll(dice, 2) == 0);
            }
        }
        called
    }

    fn sync_each(&mut self, all: &mut [Unsynced<'_, usize>]) -> Vec<io::Result<()>> {
        #[cfg(test)]
        {
            self.0.borrow_mut().sync_waits += u64::from(!all.is_empty());
        }
        let sync = |one: &mut Unsynced<'_, usize>| match one {
            Unsynced::File(file) => self.sync(file),
            Unsynced::Folder(path) => self.sync_folder(path),
        };
        all.iter_mut().map(sync).collect()
    }

    fn truncate(&mut self, file: &mut usize, len: u64) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.call(false)?;
        state.files[*file].truncate(len as usize);
        Ok(())
    }

    fn size(&mut self, path: &Path) -> io::Result<u64> {
        let mut state = self.0.borrow_mut();
        state.call(false)?;
        let file = state.find(path)?;
        Ok(state.files[file].cached.len() as u64)
    }

    fn is_at(&mut self, file: &mut usize, path: &Path) -> io::Result<bool> {
        let mut state = self.0.borrow_mut();
        state.call(false)?;
        Ok(state.find(path).is_ok_and(|there| there == *file))
    }

    fn modified(&mut self, path: &Path) -> io::Result<Stamp> {
        let mut state = self.0.borrow_mut();
        state.call(false)?;
        let file = state.find(path)?;
        Ok(state.files[file].modified)
    }

    fn set_modified(&mut self, file: &mut usize, at: Stamp) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.call(false)?;
        state.files[*file].modified = at;
        Ok(())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.call(false)?;
        state.find(from)?;
        state.folder(parent(from))?.change(Change::Rename(name(from), name(to)));
        Ok(())
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.call(false)?;
        state.find(path)?;
        state.folder(parent(path))?.change(Change::Remove(name(path)));
        Ok(())
    }
}
