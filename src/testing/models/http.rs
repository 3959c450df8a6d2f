//! A response in any pieces against the whole, and both against a parser that does it the slow way.

use super::Choices;
use crate::core::limits::{HTTP_CHUNK_LINE_MAX, HTTP_FIELDS_MAX, HTTP_HEAD_MAX, HTTP_INTERIM_MAX};
use crate::http::wire::{Exchange, Fault, Fed, Head, Receive};

/// More than this in one stream finds nothing new, and slows the search.
const STREAM_MAX: usize = 4 * 1024;

/// A stream that is cut at every byte; a longer one is not.
const EVERY_SPLIT_MAX: usize = 300;

/// Places at which a stream is cut in two, each chosen by the input.
const SPLITS: usize = 2;

/// A response is read as the reference reads it, whole and in any pieces.
pub fn check_http(data: &[u8]) {
    let mut choices = Choices::new(data);
    let head_only = choices.below(8) == 0;
    let sizes: Vec<usize> = (0..choices.below(6)).map(|_| 1 + choices.below(64)).collect();
    let splits = [(); SPLITS].map(|()| choices.below(STREAM_MAX));
    let stream = stream(&mut choices);

    let expected = reference(&stream, head_only);
    assert_same(&fed(&stream, head_only, std::iter::repeat(stream.len().max(1))), &expected, &stream);
    assert_same(&fed(&stream, head_only, sizes.into_iter().cycle()), &expected, &stream);
    if stream.len() <= EVERY_SPLIT_MAX {
        assert_same(&fed(&stream, head_only, std::iter::repeat(1)), &expected, &stream);
    }
    for split in splits {
        let sizes = [1 + split % stream.len().max(1), STREAM_MAX].into_iter().cycle();
        assert_same(&fed(&stream, head_only, sizes), &expected, &stream);
    }
}

/// A short response is read as the reference reads it wherever it is broken in two, and byte by byte. Too slow for a
/// fuzzer, which chooses a few such places itself.
pub fn check_every_http_split(data: &[u8]) {
    let mut choices = Choices::new(data);
    let head_only = choices.below(8) == 0;
    let mut stream = stream(&mut choices);
    stream.truncate(EVERY_SPLIT_MAX);
    let expected = reference(&stream, head_only);
    for first in 1..stream.len() {
        let sizes = [first, stream.len()].into_iter().cycle();
        assert_same(&fed(&stream, head_only, sizes), &expected, &stream);
    }
    assert_same(&fed(&stream, head_only, std::iter::repeat(1)), &expected, &stream);
}

/// What became of a stream that the server then ended.
#[derive(Debug, PartialEq)]
enum Outcome {
    Whole {
        status: u16,
        fields: Vec<(String, Vec<u8>)>,
        body: Vec<u8>,
        taken: usize,
        keep_alive: bool,
    },
    /// The server closed too early.
    Short,
    Faulty,
}

fn assert_same(outcome: &Outcome, expected: &Outcome, stream: &[u8]) {
    assert_eq!(outcome, expected, "{}", stream.escape_ascii());
}

/// A stream made of parts of responses, right ones and others.
fn stream(choices: &mut Choices) -> Vec<u8> {
    let mut stream = Vec::new();
    while !choices.is_empty() && stream.len() < STREAM_MAX {
        match choices.below(8) {
            0 => stream.extend_from_slice(choices.bytes(40)),
            1 => response(choices, "100 Continue", &mut stream),
            _ => {
                let statuses = ["200 OK", "204 No Content", "404", "304 ", "503 \u{e4}", "999 x"];
                let status = statuses[choices.below(statuses.len())];
                response(choices, status, &mut stream);
            }
        }
        // Some bytes changed, lost or doubled.
        for _ in 0..choices.below(4).saturating_sub(1) {
            let Some(last) = stream.len().checked_sub(1) else { break };
            let at = choices.below(last + 1);
            match choices.below(4) {
                0 => stream[at] = choices.byte(),
                1 => drop(stream.remove(at)),
                2 => stream.insert(at, b"\r\n \t:;,0"[choices.below(8)]),
                _ => stream.truncate(at),
            }
        }
    }
    stream
}

/// One response, mostly right.
fn response(choices: &mut Choices, status: &str, out: &mut Vec<u8>) {
    let version = ["HTTP/1.1 ", "HTTP/1.0 ", "HTTP/1.1 ", "HTTP/2.0 "][choices.below(16) / 5];
    let line_end = ["\r\n", "\n"][usize::from(choices.below(8) == 0)];
    let body = choices.bytes(80);
    let mut head = format!("{version}{status}{line_end}");
    let mut field = |name: &str, value: &str| head.push_str(&format!("{name}:{value}{line_end}"));
    let chunked = match choices.below(8) {
        0..3 => {
            field("Content-Length", &format!(" {}", body.len()));
            false
        }
        3..6 => {
            field("transfer-ENCODING", ["chunked", " gzip, Chunked\t", "\r\n chunked"][choices.below(3)]);
            true
        }
        6 => false,
        _ => {
            field(
                "Content-Length",
                ["1", "2, 2", "-1", "", "18446744073709551616", " 0x1"][choices.below(6)],
            );
            false
        }
    };
    for _ in 0..choices.below(3) {
        match choices.below(10) {
            0 => field("Connection", " close"),
            1 => field("connection", "x ,Keep-Alive"),
            2 => field("Content-Length", "3"),
            3 => field("Transfer-Encoding", ["chunked", "identity", "", "chunked,,"][choices.below(4)]),
            4 => field("X-Fold", " a\r\n\t b"),
            5 => field("X-Long", &"y".repeat(choices.below(600))),
            6 => (0..choices.below(10)).for_each(|_| field("X", "")),
            7 => field("Bad Name", "v"),
            _ => field("Server", " some/1.0"),
        }
    }
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(line_end.as_bytes());
    if !chunked {
        return out.extend_from_slice(body);
    }
    for part in body.chunks(1 + choices.below(40)) {
        let extension = ["", ";a=b", "  ; c"][choices.below(8) / 3];
        out.extend_from_slice(format!("{:x}{extension}\r\n", part.len()).as_bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice([&b"0\r\n\r\n"[..], b"0\r\nT: u\r\n\r\n", b"0\r\n"][choices.below(8) / 3]);
}

/// The exchange, fed pieces of these sizes.
fn fed(stream: &[u8], head_only: bool, mut sizes: impl Iterator<Item = usize>) -> Outcome {
    #[derive(Default)]
    struct Got {
        status: Option<u16>,
        fields: Vec<(String, Vec<u8>)>,
        body: Vec<u8>,
    }
    impl Receive for Got {
        fn head(&mut self, head: &Head<'_>) {
            assert!(self.status.replace(head.status).is_none(), "a response has one head");
            self.fields = head.fields().map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
        }
        fn body(&mut self, bytes: &[u8]) {
            assert!(self.status.is_some() && !bytes.is_empty(), "a body comes behind its head");
            self.body.extend_from_slice(bytes);
        }
    }

    let mut exchange = Exchange::new(head_only);
    let mut got = Got::default();
    let mut fed = 0;
    while fed < stream.len() {
        let bytes = &stream[fed..];
        let bytes = &bytes[..sizes.next().unwrap_or(bytes.len()).min(bytes.len())];
        match exchange.feed(bytes, &mut got) {
            Ok(Fed::More) => fed += bytes.len(),
            Ok(Fed::Done { taken }) => {
                assert!(taken <= bytes.len() && exchange.has_begun());
                assert_eq!(exchange.end(), Ok(()), "the server may close behind the end");
                return whole(got.status, got.fields, got.body, fed + taken, exchange.keeps_alive());
            }
            Err(fault) => {
                assert!(
                    !matches!(fault, Fault::Closed(_) | Fault::Surplus(_)),
                    "{fault:?} is not its to say"
                );
                assert!(!fault.to_string().contains('\n'));
                return Outcome::Faulty;
            }
        }
        assert!(exchange.has_begun());
    }
    match exchange.end() {
        Ok(()) => whole(got.status, got.fields, got.body, fed, exchange.keeps_alive()),
        Err(Fault::Closed(_)) => Outcome::Short,
        Err(_) => Outcome::Faulty,
    }
}

fn whole(
    status: Option<u16>,
    fields: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    taken: usize,
    keep_alive: bool,
) -> Outcome {
    Outcome::Whole { status: status.expect("a response has a head"), fields, body, taken, keep_alive }
}

/// Why the reference stops: at the end of the bytes, or at one that must not be.
enum Stop {
    Short,
    Faulty,
}

impl From<Stop> for Outcome {
    fn from(stop: Stop) -> Outcome {
        match stop {
            Stop::Short => Outcome::Short,
            Stop::Faulty => Outcome::Faulty,
        }
    }
}

fn reference(stream: &[u8], head_only: bool) -> Outcome {
    read(stream, head_only).unwrap_or_else(Outcome::from)
}

/// Reads a response from a stream of which all is there.
fn read(stream: &[u8], head_only: bool) -> Result<Outcome, Stop> {
    let (mut at, mut stray) = (0, 0);
    for _ in 0..=HTTP_INTERIM_MAX {
        while stray < 4 && matches!(stream.get(at), Some(b'\r' | b'\n')) {
            (at, stray) = (at + 1, stray + 1);
        }
        let head = read_head(&stream[at..])?;
        at += head.len;
        match head.status {
            0..100 | 101 => return Err(Stop::Faulty),
            100..200 => continue,
            _ => {}
        }
        let (body, len, until_close) = if head_only || [204, 304].contains(&head.status) {
            (Vec::new(), 0, false)
        } else {
            read_body(&head, &stream[at..])?
        };
        let tokens = head.list("connection");
        let has = |token: &str| tokens.iter().any(|other| other == token);
        let lengths: Vec<String> = head.lengths();
        let coded = !head.all("transfer-encoding").is_empty();
        let announced = coded || lengths.first().is_some_and(|length| number(length) != Some(0));
        let doubtful =
            lengths.len() > 1 || (coded && !lengths.is_empty()) || (head.status == 204 && announced);
        let keep_alive = !until_close
            && !doubtful
            && stray == 0
            && !has("close")
            && (head.minor == 1 || has("keep-alive"));
        return Ok(whole(Some(head.status), head.fields, body, at + len, keep_alive));
    }
    Err(Stop::Faulty)
}

struct RefHead {
    minor: u8,
    status: u16,
    fields: Vec<(String, Vec<u8>)>,
    len: usize,
}

impl RefHead {
    fn all(&self, name: &str) -> Vec<String> {
        let named = self.fields.iter().filter(|(other, _)| other.to_lowercase() == name);
        named.map(|(_, value)| value.iter().map(|&byte| char::from(byte)).collect()).collect()
    }

    fn lengths(&self) -> Vec<String> {
        let values = self.all("content-length");
        values
            .iter()
            .flat_map(|value| {
                value.split(',').map(|one| one.trim_matches([' ', '\t', '\r', '\n', '\u{c}']).to_owned())
            })
            .collect()
    }

    fn list(&self, name: &str) -> Vec<String> {
        let trim = |text: &str| text.trim_matches([' ', '\t', '\r', '\n']).to_ascii_lowercase();
        let values = self.all(name);
        let elements = values.iter().flat_map(|value| value.split(',').map(trim));
        elements.filter(|element| !element.is_empty()).collect()
    }
}

/// A reader of bytes one by one.
struct Bytes<'a> {
    all: &'a [u8],
    at: usize,
}

impl Bytes<'_> {
    fn peek(&self) -> Result<u8, Stop> {
        // Whatever would follow the longest head does not count.
        if self.at == HTTP_HEAD_MAX {
            return Err(Stop::Faulty);
        }
        self.all.get(self.at).copied().ok_or(Stop::Short)
    }

    fn next(&mut self) -> Result<u8, Stop> {
        let byte = self.peek()?;
        self.at += 1;
        Ok(byte)
    }

    fn expect(&mut self, allowed: impl Fn(u8) -> bool) -> Result<u8, Stop> {
        let byte = self.next()?;
        if allowed(byte) { Ok(byte) } else { Err(Stop::Faulty) }
    }

    /// A line break of either kind, if one is here.
    fn line_break(&mut self) -> Result<bool, Stop> {
        match self.peek()? {
            b'\r' => {
                self.at += 1;
                self.expect(|byte| byte == b'\n').map(|_| true)
            }
            b'\n' => self.next().map(|_| true),
            _ => Ok(false),
        }
    }
}

fn read_head(stream: &[u8]) -> Result<RefHead, Stop> {
    let text = |byte: u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
    let mut bytes = Bytes { all: stream, at: 0 };
    for wanted in *b"HTTP/1." {
        bytes.expect(|byte| byte == wanted)?;
    }
    let minor = bytes.expect(|byte| byte == b'0' || byte == b'1')? - b'0';
    bytes.expect(|byte| byte == b' ')?;
    let mut status = 0;
    for _ in 0..3 {
        status = status * 10 + u16::from(bytes.expect(|byte| byte.is_ascii_digit())? - b'0');
    }
    if !bytes.line_break()? {
        bytes.expect(|byte| byte == b' ')?;
        while !bytes.line_break()? {
            bytes.expect(text)?;
        }
    }
    let mut fields = Vec::new();
    while !bytes.line_break()? {
        let mut name = String::new();
        while bytes.peek()? != b':' || name.is_empty() {
            name.push(char::from(bytes.expect(is_token)?));
        }
        bytes.next()?;
        let mut value = Vec::new();
        loop {
            let before = bytes.at;
            if bytes.line_break()? {
                // A line that begins with white space goes on with the value.
                if bytes.peek()? != b' ' && bytes.peek()? != b'\t' {
                    break;
                }
                value.extend_from_slice(&stream[before..bytes.at]);
            } else {
                value.push(bytes.expect(text)?);
            }
        }
        if fields.len() == HTTP_FIELDS_MAX {
            return Err(Stop::Faulty);
        }
        fields.push((name, value.trim_ascii().to_vec()));
    }
    Ok(RefHead { minor, status, fields, len: bytes.at })
}

/// The body, how many bytes it takes, and whether the connection ends with it.
fn read_body(head: &RefHead, stream: &[u8]) -> Result<(Vec<u8>, usize, bool), Stop> {
    let lengths = head.lengths();
    let codings = head.list("transfer-encoding");
    if !head.all("transfer-encoding").is_empty() {
        let chunked = codings.iter().filter(|coding| *coding == "chunked").count();
        if chunked > 1 || head.minor == 0 {
            return Err(Stop::Faulty);
        }
        if codings.last().is_some_and(|last| last == "chunked") {
            let (body, len) = read_chunks(stream)?;
            return Ok((body, len, false));
        }
        return Ok((stream.to_vec(), stream.len(), true));
    }
    let Some(first) = lengths.first() else { return Ok((stream.to_vec(), stream.len(), true)) };
    let len = number(first).filter(|len| lengths.iter().all(|other| number(other) == Some(*len)));
    let len = usize::try_from(len.ok_or(Stop::Faulty)?).map_err(|_| Stop::Short)?;
    let body = stream.get(..len).ok_or(Stop::Short)?;
    Ok((body.to_vec(), len, false))
}

fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.chars().all(|digit| digit.is_ascii_digit());
    if is_number { digits.parse().ok() } else { None }
}

fn read_chunks(stream: &[u8]) -> Result<(Vec<u8>, usize), Stop> {
    let (mut body, mut at) = (Vec::new(), 0);
    let sizes = Lines { max: HTTP_CHUNK_LINE_MAX, may_begin: is_size_line, is_whole: is_size_line };
    loop {
        let (line, len) = crlf_line(&stream[at..], &sizes)?;
        at += len;
        let digits: String = line.chars().take_while(char::is_ascii_hexdigit).collect();
        let size = u64::from_str_radix(&digits, 16).map_err(|_| Stop::Faulty)?;
        if size == 0 {
            break;
        }
        let chunk = &stream[at..];
        let size = usize::try_from(size).ok().filter(|&size| size <= chunk.len()).ok_or(Stop::Short)?;
        body.extend_from_slice(&chunk[..size]);
        at += size;
        for wanted in *b"\r\n" {
            match stream.get(at) {
                None => return Err(Stop::Short),
                Some(&byte) if byte == wanted => at += 1,
                Some(_) => return Err(Stop::Faulty),
            }
        }
    }
    let mut trailers = Lines {
        max: HTTP_HEAD_MAX,
        may_begin: begins_trailer,
        is_whole: |line| line.is_empty() || line.contains(':'),
    };
    loop {
        let (line, len) = crlf_line(&stream[at..], &trailers)?;
        at += len;
        trailers.max = trailers.max.saturating_sub(len);
        if line.is_empty() {
            return Ok((body, at));
        }
    }
}

/// What the lines of one kind are.
struct Lines {
    max: usize,
    may_begin: fn(&str) -> bool,
    is_whole: fn(&str) -> bool,
}

/// A line without its CR LF, and its length with that.
fn crlf_line(stream: &[u8], lines: &Lines) -> Result<(String, usize), Stop> {
    let mut line = String::new();
    for (at, &byte) in stream.iter().enumerate() {
        if byte == b'\r' {
            return match stream.get(at + 1) {
                _ if !(lines.is_whole)(&line) => Err(Stop::Faulty),
                None => Err(Stop::Short),
                Some(b'\n') => Ok((line, at + 2)),
                Some(_) => Err(Stop::Faulty),
            };
        }
        line.push(char::from(byte));
        if byte == b'\n' || line.chars().count() > lines.max || !(lines.may_begin)(&line) {
            return Err(Stop::Faulty);
        }
    }
    Err(Stop::Short)
}

fn is_size_line(line: &str) -> bool {
    let behind = line.trim_start_matches(|digit: char| digit.is_ascii_hexdigit());
    let size = &line[..line.len() - behind.len()];
    let behind = behind.trim_start_matches([' ', '\t']);
    u64::from_str_radix(size, 16).is_ok() && (behind.is_empty() || behind.starts_with(';'))
}

fn begins_trailer(line: &str) -> bool {
    let (name, colon) = line.split_once(':').map_or((line, false), |(name, _)| (name, true));
    name.bytes().all(is_token) && !(colon && name.is_empty())
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
