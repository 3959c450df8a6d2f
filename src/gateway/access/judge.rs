//! Who a connection is: its evidence, and what the file makes of it.

use std::time::Instant;

use super::standing::{Judged, Token};
use super::{AccessControl, Standing};
use crate::gateway::conn::{Conn, ConnId};
use crate::gateway::ingress::order::Item;
use crate::wire::access::{CertName, Evidence, Presented, Refusal, TokenDigest, Who};
use crate::wire::{HEADER, Kind};

impl AccessControl {
    /// What a connection has that was just accepted: nothing, where there is no access file.
    pub fn admit<S>(&self, conn: &Conn<S>, now: Instant) -> Option<Box<Standing>> {
        self.access.as_ref()?;
        let mut standing = Box::new(Standing {
            judged: Judged::NotYet { is_known: false },
            token: None,
            generation: self.generation,
            authenticates: false,
            is_delayed: false,
            look_at: Some((now + self.patience).into()),
        });
        self.look_ahead(&mut standing, self.identify(conn, None, now).is_ok());
        Some(standing)
    }

    /// What is known of a connection that has said nothing yet. One that is someone without a word has all its time.
    pub(super) fn look_ahead(&self, standing: &mut Standing, is_known: bool) {
        standing.generation = self.generation;
        standing.judged = Judged::NotYet { is_known };
        if is_known {
            standing.look_at = None;
        }
    }

    /// Judges a connection before what is released takes effect, where it was not, or by an earlier file: by its AUTH, or
    /// by what is known of it without. Nothing is judged by frames whose digests are wrong.
    pub fn judge<S>(&mut self, conn: &mut Conn<S>, item: &Item, now: Instant) {
        let Some(standing) = &conn.standing else { return };
        match &standing.judged {
            Judged::Is(_) if standing.generation == self.generation => {}
            Judged::Is(_) => self.judge_again(conn, now),
            Judged::Refused(_) => {}
            Judged::NotYet { .. } => {
                let Item::Frames(verified) = item else { return };
                let Some(first) = verified.iter().find(|frame| frame.intact) else { return };
                if first.header.kind != Kind::Auth || conn.dialect.is_some() {
                    return self.judge_again(conn, now);
                }
                let start = first.at + HEADER + first.topic.len();
                let payload = verified.body().bytes(start..start + first.header.payload_len as usize);
                // What is no name is nobody's.
                let name = std::str::from_utf8(first.topic).unwrap_or_default().into();
                let token = Box::new(Token { name, digest: TokenDigest::of(&payload) });
                let found = self.identify(conn, Some(&token), now);
                let standing = conn.standing.as_mut().expect("it was there a moment ago");
                (standing.token, standing.authenticates) = (Some(token), true);
                self.settle(standing, found, now);
            }
        }
    }

    /// Judges it by what is known of it, unless it was judged.
    pub fn judge_unjudged<S>(&mut self, conn: &mut Conn<S>, now: Instant) {
        if conn.standing.as_ref().is_some_and(|standing| matches!(standing.judged, Judged::NotYet { .. })) {
            self.judge_again(conn, now);
        }
    }

    /// Judges it by what it has brought so far.
    pub fn judge_again<S>(&mut self, conn: &mut Conn<S>, now: Instant) {
        let Some(mut standing) = conn.standing.take() else { return };
        let found = self.identify(conn, standing.token.as_deref(), now);
        self.settle(&mut standing, found, now);
        conn.standing = Some(standing);
    }

    /// Its time to be looked at has come: whether it may stay.
    pub fn look_again<S>(&mut self, conn: &mut Conn<S>, now: Instant) -> Result<(), Refusal> {
        let Some(standing) = conn.standing.as_mut() else { return Ok(()) };
        match &standing.judged {
            Judged::NotYet { is_known: true } => standing.look_at = None,
            Judged::NotYet { is_known: false } => {
                return self.refuse_stranger(conn, now).map_or(Ok(()), Err);
            }
            Judged::Is(who) => {
                let found = match who {
                    Who::Named(identity) => identity.check(self.time(now)).map(|()| who.clone()),
                    Who::Default(_) => Ok(who.clone()),
                };
                self.settle(standing, found, now);
            }
            Judged::Refused(_) => standing.look_at = None,
        }
        standing.refusal().cloned().map_or(Ok(()), Err)
    }

    /// A connection that nobody knows does not say who it is: why it may not be here, unless the file in force knows it
    /// without a word, and the one before did not.
    pub fn refuse_stranger<S>(&mut self, conn: &mut Conn<S>, now: Instant) -> Option<Refusal> {
        let refusal = self.identify(conn, None, now).err();
        let standing = conn.standing.as_mut()?;
        match &refusal {
            None => self.look_ahead(standing, true),
            Some(refusal) => self.settle(standing, Err(refusal.clone()), now),
        }
        refusal
    }

    /// A connection is told that it is nobody, and closed. Whether that is delayed, for it tried a token.
    pub fn delays(&mut self, conn: &mut Standing, id: ConnId, now: Instant) -> bool {
        let delays = matches!(conn.judged, Judged::Refused(Refusal::WrongToken));
        if delays && !std::mem::replace(&mut conn.is_delayed, true) {
            self.delays.push(id, now);
        }
        delays
    }

    /// One whose end was delayed for long enough.
    pub fn next_delayed(&mut self, now: Instant, drains: bool) -> Option<ConnId> {
        self.delays.pop(now, drains)
    }

    fn settle(&mut self, standing: &mut Standing, found: Result<Who, Refusal>, now: Instant) {
        (standing.generation, standing.look_at) = (self.generation, None);
        standing.judged = match found {
            Ok(who) => {
                let until = if let Who::Named(identity) = &who { identity.until() } else { None };
                standing.look_at = until.map(|until| self.look_at(until, now).into());
                Judged::Is(who)
            }
            Err(refusal) => {
                self.counts.refused[refusal.index()] += 1;
                Judged::Refused(refusal)
            }
        };
    }

    pub(super) fn identify<S>(
        &self,
        conn: &Conn<S>,
        token: Option<&Token>,
        now: Instant,
    ) -> Result<Who, Refusal> {
        let access = self.access.as_ref().ok_or(Refusal::Unknown)?;
        let certificate = certificate_of(conn);
        if token.is_some() && certificate.is_empty() && !self.insecure_tokens && is_readable(conn) {
            return Err(Refusal::InTheClear);
        }
        let kept: Vec<(&str, String)> = match &conn.dialect {
            None => Vec::new(),
            Some(dialect) => {
                let kept = dialect.kept();
                access
                    .field_names()
                    .flat_map(|name| {
                        kept.shown(&dialect.layout, name).into_iter().map(move |value| (name, value))
                    })
                    .collect()
            }
        };
        let fields: Vec<(&str, &str)> = kept.iter().map(|(name, value)| (*name, &**value)).collect();
        let presented = token.map(|token| Presented { name: &token.name, token: token.digest });
        let address = Some(conn.peer.ip());
        access.identify(&Evidence { certificate, token: presented, address, fields: &fields }, self.time(now))
    }
}

/// The names in its client certificate, which was verified.
fn certificate_of<S>(conn: &Conn<S>) -> &[CertName] {
    conn.secure.as_ref().map_or(&[], |secure| secure.names())
}

/// Whether others could read what it sends: where it is not under TLS, and does not come from this machine.
fn is_readable<S>(conn: &Conn<S>) -> bool {
    conn.secure.is_none() && !conn.peer.ip().to_canonical().is_loopback()
}
