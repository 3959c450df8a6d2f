//! The thread that reads what a gateway answers to a publisher.

use std::io::{ErrorKind, Read};

use super::error::{Error, explain};
use super::shared::{Answer, Shared};
use super::stream::Stream;
use crate::core::limits::PAYLOAD_MAX;
use crate::core::units::plain;
use crate::wire::{Decoder, Frame, Kind, Rules, Scheme, Status};

/// How a connection ended.
#[derive(Debug)]
pub enum End {
    /// The gateway closed it; what it said before, if it said something.
    Closed(Option<String>),
    /// It broke.
    Lost(String),
    /// Nothing came for so long that it was given up.
    Silent(String),
    /// There is no point in another one.
    Fatal(Error),
}

/// Reads until the connection ends.
pub fn collect(mut stream: &Stream, to: &str, scheme: &Scheme, shared: &Shared) -> End {
    let mut decoder = Decoder::new(Rules { payload_max: PAYLOAD_MAX as u32, replies: true });
    let mut answers = Vec::new();
    let mut close_reason = None;
    loop {
        match stream.read(decoder.spare()) {
            Ok(0) => return End::Closed(close_reason),
            Ok(n) => decoder.advance(n),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // The gateway said why; that the rest of what we sent was reset is no news.
            Err(_) if close_reason.is_some() => return End::Closed(close_reason),
            Err(error) => {
                return match Error::unreachable(to, &error) {
                    error @ Error::Tls { .. } => End::Fatal(error),
                    _ => End::Lost(explain(&error)),
                };
            }
        }
        let fatal = loop {
            match decoder.next_frame() {
                Ok(None) => break None,
                Ok(Some(frame)) if frame.header.kind != Kind::Reply => {
                    break Some(Error::echo(to, frame.header.kind));
                }
                Ok(Some(frame)) => match take(frame, scheme, &mut answers) {
                    Ok(None) => {}
                    Ok(word) => close_reason = word,
                    Err(error) => break Some(error),
                },
                Err(fault) => break Some(Error::no_gateway(to, &fault)),
            }
        };
        shared.answer(&mut answers);
        if let Some(error) = fatal {
            return End::Fatal(error);
        }
    }
}

/// Takes one frame; what the gateway says before it closes, if this says it.
fn take(frame: Frame<'_>, scheme: &Scheme, answers: &mut Vec<Answer>) -> Result<Option<String>, Error> {
    let status = check_reply(&frame, scheme)?;
    let said = || match frame.payload() {
        [] => status.name().to_string(),
        reason => format!("{status}: {}", plain(&String::from_utf8_lossy(reason))),
    };
    match status {
        // Not an answer to the frame: it was not taken, and may be by the next connection.
        Status::Closing | Status::Slow => return Ok(Some(said())),
        Status::Malformed => return Err(Error::Malformed(said())),
        _ => {}
    }
    answers.push(Answer { id: frame.header.id, status, reason: frame.payload().into() });
    Ok((status == Status::TooLarge).then(said))
}

/// The status of a reply whose digest is right.
pub fn check_reply(frame: &Frame<'_>, scheme: &Scheme) -> Result<Status, Error> {
    let status = Status::from_u16(frame.header.status);
    let keyed = scheme.is_keyed();
    // A client without the secret cannot check the reply that tells it so.
    if status == Some(Status::Unauthorized) {
        let reason = plain(&String::from_utf8_lossy(frame.payload()));
        return Err(Error::Unauthorized { keyed, reason });
    }
    if !frame.is_intact(scheme) {
        return Err(Error::BadDigest { keyed, plain: keyed && frame.is_intact(&Scheme::Sha256) });
    }
    status.ok_or_else(|| Error::Malformed(format!("status {} is not known here", frame.header.status)))
}
