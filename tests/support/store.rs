//! A store over HTTP that misbehaves as it is told, and remembers what it was sent.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

/// Longer than anything takes; a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What the store does with a request.
#[derive(Clone, Copy)]
pub enum Act {
    /// Answers with a status, further header lines and a body.
    Answer(u16, &'static str, &'static str),
    /// Answers with 200 after so long.
    Later(Duration),
    /// Answers with 200 once it is released.
    Held,
    /// Answers nothing.
    Hang,
    /// Breaks the connection off.
    Reset,
    /// Ends the connection within the answer.
    Cut,
    /// Answers in another language.
    Babble,
    /// Answers with these bytes, and a moment later with those.
    Raw(&'static str, &'static str),
}

pub const OK: Act = Act::Answer(200, "", "{\"code\":0}");

/// Decides by a record and how often it was seen before.
type Decide = dyn Fn(&str, usize) -> Act + Send + Sync;

/// One request.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: Instant,
    /// Its Idempotency-Key.
    pub key: String,
    /// Its fields, names in lower case.
    pub fields: HashMap<String, String>,
    /// How many requests came before it.
    pub number: usize,
}

#[derive(Default)]
pub struct Log {
    /// The requests for each record, by its body.
    pub seen: HashMap<String, Vec<Seen>>,
    /// Records in the order in which they came.
    pub order: Vec<String>,
    pub requests: usize,
    /// Requests that are not answered, and the most there were.
    pub busy: usize,
    pub busy_max: usize,
    pub open: usize,
    /// Who was accepted.
    pub peers: HashSet<SocketAddr>,
    pub refused: usize,
    released: bool,
}

/// When it is gone, it listens no more, and keeps nothing once its connections have ended.
pub struct Store {
    pub address: SocketAddr,
    shared: Arc<(Mutex<Log>, Condvar)>,
    is_over: Arc<AtomicBool>,
    acceptor: Thread,
}

/// Whom a store takes in.
struct Doors {
    /// So many connections at once; it breaks off all others.
    most: usize,
    /// So many connections in all; the others wait to be accepted for ever.
    accepts: usize,
    /// So long after each.
    pause: Duration,
}

impl Store {
    /// A store that takes `most` connections at once and breaks off all others.
    pub fn start(most: usize, decide: impl Fn(&str, usize) -> Act + Send + Sync + 'static) -> Store {
        Store::at("127.0.0.1:0".parse().unwrap(), most, decide)
    }

    pub fn at(
        address: SocketAddr,
        most: usize,
        decide: impl Fn(&str, usize) -> Act + Send + Sync + 'static,
    ) -> Store {
        let doors = Doors { most, accepts: usize::MAX, pause: Duration::ZERO };
        Store::over(TcpListener::bind(address).unwrap(), doors, decide)
    }

    /// A store that accepts so many connections and no more. The system lets five others wait.
    pub fn accepts(accepts: usize, decide: impl Fn(&str, usize) -> Act + Send + Sync + 'static) -> Store {
        Store::with_few_waiting(Doors { most: usize::MAX, accepts, pause: Duration::ZERO }, decide)
    }

    /// A store that accepts a connection, and another one no sooner than `pause` later. The system lets five others wait.
    pub fn accepts_slowly(
        pause: Duration,
        decide: impl Fn(&str, usize) -> Act + Send + Sync + 'static,
    ) -> Store {
        Store::with_few_waiting(Doors { most: usize::MAX, accepts: usize::MAX, pause }, decide)
    }

    fn with_few_waiting(doors: Doors, decide: impl Fn(&str, usize) -> Act + Send + Sync + 'static) -> Store {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(5).unwrap();
        Store::over(socket.into(), doors, decide)
    }

    fn over(
        listener: TcpListener,
        doors: Doors,
        decide: impl Fn(&str, usize) -> Act + Send + Sync + 'static,
    ) -> Store {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new((Mutex::new(Log::default()), Condvar::new()));
        let (log, decide): (_, Arc<Decide>) = (shared.clone(), Arc::new(decide));
        let is_over = Arc::new(AtomicBool::new(false));
        let over = is_over.clone();
        let acceptor = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok).take(doors.accepts) {
                if over.load(Ordering::Acquire) {
                    return;
                }
                let mut locked = log.0.lock().unwrap();
                locked.peers.extend(stream.peer_addr());
                log.1.notify_all();
                if locked.open == doors.most {
                    locked.refused += 1;
                    reset(stream);
                    continue;
                }
                locked.open += 1;
                drop(locked);
                let (log, decide) = (log.clone(), decide.clone());
                thread::spawn(move || {
                    // However a connection ends, it is over.
                    let _ = serve(stream, &log, &*decide);
                    log.0.lock().unwrap().open -= 1;
                    log.1.notify_all();
                });
                thread::sleep(doors.pause);
            }
            // What waits to be accepted is broken off when nobody listens any more.
            while !over.load(Ordering::Acquire) {
                thread::park();
            }
        });
        Store { address, shared, is_over, acceptor: acceptor.thread().clone() }
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub fn log(&self) -> MutexGuard<'_, Log> {
        self.shared.0.lock().unwrap()
    }

    /// Waits until its log is as wanted.
    pub fn wait_until(&self, what: &str, is_so: impl Fn(&Log) -> bool) -> MutexGuard<'_, Log> {
        let waited = self.shared.1.wait_timeout_while(self.log(), PATIENCE, |log| !is_so(log)).unwrap();
        assert!(!waited.1.timed_out(), "{what} never came");
        waited.0
    }

    /// Waits until everything that was sent by those who have gone is answered.
    pub fn settle(&self) -> MutexGuard<'_, Log> {
        // Connections are accepted in their order: behind all others stands this one.
        let last = TcpStream::connect(self.address).unwrap();
        let address = last.local_addr().unwrap();
        drop(self.wait_until("the last connection", |log| log.peers.contains(&address)));
        drop(last);
        self.wait_until("the end of all connections", |log| log.open == 0)
    }

    /// Waits until so many requests have come.
    pub fn wait_for(&self, requests: usize) {
        drop(self.wait_until(&format!("{requests} requests"), |log| log.requests >= requests));
    }

    pub fn requests(&self) -> usize {
        self.log().requests
    }

    /// How often a record was seen.
    pub fn times(&self, record: &str) -> usize {
        self.log().seen.get(record).map_or(0, Vec::len)
    }

    /// Answers everything that was held, and holds nothing more.
    pub fn release(&self) {
        self.log().released = true;
        self.shared.1.notify_all();
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        self.acceptor.unpark();
        // Ends its wait for the next one, if it waits for one.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_millis(100));
    }
}

fn reset(stream: TcpStream) {
    socket2::Socket::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
}

fn serve(stream: TcpStream, (log, changed): &(Mutex<Log>, Condvar), decide: &Decide) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut fields = HashMap::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            match line.trim_end().split_once(": ") {
                Some((name, value)) => drop(fields.insert(name.to_ascii_lowercase(), value.to_owned())),
                _ if line == "\r\n" => break,
                _ => {}
            }
        }
        let len = fields.get("content-length").map_or(0, |len| len.parse().unwrap());
        let mut body = vec![0; len];
        reader.read_exact(&mut body)?;
        let body = String::from_utf8_lossy(&body).into_owned();
        let mut locked = log.lock().unwrap();
        let key = fields.get("idempotency-key").cloned().unwrap_or_default();
        let seen = Seen { at: Instant::now(), key, fields, number: locked.requests };
        let all = locked.seen.entry(body.clone()).or_default();
        all.push(seen);
        let before = all.len() - 1;
        locked.requests += 1;
        locked.busy += 1;
        locked.busy_max = locked.busy_max.max(locked.busy);
        let act = decide(&body, before);
        locked.order.push(body);
        drop(locked);
        changed.notify_all();
        let done = act_on(act, reader.get_mut(), log, changed);
        log.lock().unwrap().busy -= 1;
        changed.notify_all();
        match (done?, act) {
            (true, _) => {}
            (false, Act::Hang) => {
                // Until the other side gives up.
                reader.read_to_end(&mut Vec::new())?;
                return Ok(());
            }
            (false, Act::Reset) => {
                reset(reader.into_inner());
                return Ok(());
            }
            (false, _) => return Ok(()),
        }
    }
}

/// Whether the connection goes on.
fn act_on(act: Act, stream: &mut TcpStream, log: &Mutex<Log>, changed: &Condvar) -> io::Result<bool> {
    let (status, fields, body) = match act {
        Act::Answer(status, fields, body) => (status, fields, body),
        Act::Later(after) => {
            thread::sleep(after);
            (200, "", "")
        }
        Act::Held => {
            drop(changed.wait_while(log.lock().unwrap(), |log| !log.released).unwrap());
            (200, "", "")
        }
        Act::Hang | Act::Reset => return Ok(false),
        Act::Cut => {
            return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").map(|()| false);
        }
        Act::Raw(first, then) => {
            stream.write_all(first.as_bytes())?;
            if !then.is_empty() {
                thread::sleep(Duration::from_millis(5));
                stream.write_all(then.as_bytes())?;
            }
            return Ok(true);
        }
        Act::Babble => return stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").map(|()| false),
    };
    let head = format!("HTTP/1.1 {status} X\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
    stream.write_all((head + body).as_bytes())?;
    Ok(true)
}
