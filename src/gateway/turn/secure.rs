//! TLS of connections: steps of handshakes go to the workers and come back, and live connections are looked at where a
//! listener's setup has changed.

use std::time::Instant;

use crate::core::limits::{JOBS, REVERIFY_TURN, REVIEW_TURN};
use crate::gateway::conn::{Conn, ConnId, State};
use crate::gateway::secure::ReadHandshake;
use crate::gateway::{CloseReason, Gate};
use crate::runtime::net::Net;
use crate::runtime::pool::{Job, Pool, Ticket, Work};
use crate::runtime::tls::{Handshake, TlsFault};

impl<N: Net, P: Pool> Gate<N, P> {
    /// Something came of a handshake, or its end.
    pub(super) fn read_handshake(&mut self, id: ConnId) {
        let conn = &mut self.conns[id];
        if conn.state != State::Open {
            return;
        }
        let (Some(secure), Some(socket)) = (&mut conn.secure, &mut conn.socket) else { return };
        match secure.read_handshake(&mut self.ctx.net, &mut self.ctx.scratch, socket) {
            Ok(ReadHandshake { readable, is_ready }) => {
                conn.reading.readable = readable || conn.reading.read_closed;
                if is_ready {
                    self.ctx.secure.enqueue(id, &self.conns);
                } else if !self.conns[id].secure.as_ref().is_some_and(|secure| secure.waits()) {
                    self.conns.mark_runnable(id);
                }
            }
            Err(fault) => self.refuse_tls(id, fault),
        }
    }

    /// Hands steps of handshakes to the workers, those of the newest connections first, and only as long as there is room
    /// for what others send.
    pub(super) fn begin_steps(&mut self) {
        while self.ctx.jobs < JOBS / 2
            && let Some(id) = self.ctx.secure.next_ready(self.ctx.pool.workers())
        {
            let Some(conn) = self.conns.get_mut(id) else { continue };
            let Some(step) = conn.secure.as_mut().and_then(|secure| secure.begin_step(self.ctx.now)) else {
                continue;
            };
            self.ctx.secure.submitted();
            let ticket = Ticket { conn: id.key(), number: 0, since: self.ctx.now };
            self.ctx.submit(Job { ticket, work: Work::Handshake(step) });
        }
    }

    /// A step came back from a worker.
    pub(super) fn end_step(&mut self, id: ConnId, step: Handshake) {
        self.ctx.secure.came_back();
        // Its connection may be no more.
        let Some(secure) = self.conns.get_mut(id).and_then(|conn| conn.secure.as_mut()) else { return };
        match secure.end_step(step) {
            Ok(Some(is_ready)) => {
                if is_ready {
                    self.ctx.secure.enqueue(id, &self.conns);
                }
                self.conns.mark_dirty(id);
                self.conns.mark_runnable(id);
            }
            Ok(None) => self.open(id),
            Err(fault) => {
                self.say_fault(id);
                self.refuse_tls(id, fault);
            }
        }
    }

    /// The handshake is over: the connection is like any other from now on.
    fn open(&mut self, id: ConnId) {
        self.ctx.secure.end_handshake();
        let conn = &mut self.conns[id];
        let secure = conn.secure.as_mut().expect("its handshake was just over");
        self.ctx.secure.count_opened(secure.peer());
        let setup = self.ctx.secure.setup(usize::from(conn.listener));
        // The setup may have changed while it was agreed on.
        if let Some((setup, generation)) = setup.filter(|(_, generation)| *generation != secure.generation())
            && let Err(fault) = secure.check(&*setup, generation)
        {
            return self.refuse_tls(id, TlsFault::Certificate(fault));
        }
        log::debug!("{} speaks {}", conn.peer, secure.version());
        conn.standing = self.ctx.access.admit(conn, self.ctx.now);
        conn.reading.last_read = self.ctx.now.into();
        // What came behind the handshake is not told of once more.
        conn.reading.readable = true;
        self.conns.mark_runnable(id);
        self.conns.mark_dirty(id);
        self.conns.arm(id, &self.ctx.config);
    }

    /// There is no TLS with a connection, or none any more. Who spoke something else is told so, in the clear.
    pub(super) fn refuse_tls(&mut self, id: ConnId, fault: TlsFault) {
        self.ctx.secure.count_fault(&fault);
        let is_in_the_clear = matches!(fault, TlsFault::NotTls(_));
        if is_in_the_clear {
            self.conns[id].secure = None;
            self.ctx.secure.end_handshake();
            return self.conns.close(id, CloseReason::Tls(Box::new(fault)), 0);
        }
        self.conns.lose(id, CloseReason::Tls(Box::new(fault)));
    }

    /// What the peer is told of a handshake that has failed is written, if the socket takes it.
    fn say_fault(&mut self, id: ConnId) {
        let conn = &mut self.conns[id];
        if let (Some(secure), Some(socket)) = (&mut conn.secure, &mut conn.socket) {
            // It is closed in any case.
            let _ = secure.flush(&mut self.ctx.net, socket);
        }
    }

    /// Says that nothing more comes, where TLS has a word for it. Whether the socket took it.
    pub(super) fn say_end(&mut self, id: ConnId) -> bool {
        let conn = &mut self.conns[id];
        let (Some(secure), Some(socket)) = (&mut conn.secure, &mut conn.socket) else { return true };
        secure.close();
        match secure.flush(&mut self.ctx.net, socket) {
            Ok(true) | Err(_) => true,
            Ok(false) => {
                conn.writing.writable = false;
                false
            }
        }
    }

    /// Looks at some live connections, where a listener's setup has changed: whether their certificates are taken still.
    pub(super) fn tend_secure(&mut self) {
        if !self.ctx.secure.goes_on() {
            return;
        }
        let (mut slots, mut certificates) = (REVIEW_TURN, REVERIFY_TURN);
        while slots > 0 && certificates > 0 {
            let Some(slot) = self.ctx.secure.next_slot(self.conns.slots()) else {
                return self.end_secure_review();
            };
            slots -= 1;
            let Some(id) = self.conns.in_slot(slot).filter(|conn| conn.is_written()).map(|conn| conn.id)
            else {
                continue;
            };
            let conn = &mut self.conns[id];
            let Some((setup, generation)) = self.ctx.secure.setup(usize::from(conn.listener)) else {
                continue;
            };
            // One that is not open yet is looked at then.
            let Some(secure) = conn.secure.as_mut().filter(|secure| !secure.is_shaking()) else { continue };
            certificates -= 1;
            if secure.generation() != generation
                && let Err(fault) = secure.check(&*setup, generation)
            {
                self.ctx.secure.count_closed();
                self.expel(id, CloseReason::Certificate(Box::new(fault)));
            }
        }
    }

    fn end_secure_review(&mut self) {
        let (closed, asked) = self.ctx.secure.end_review();
        log::info!("the certificates are in force; {closed} connections were closed by them");
        for answer in asked {
            self.ctx.access.answer(answer, closed);
        }
    }
}

/// A record of TLS that has begun has as long as a frame has.
pub(super) fn note_record<S>(conn: &mut Conn<S>, (was_amid, bytes_read): (bool, u64), now: Instant) {
    let is_amid = conn.secure.as_ref().is_some_and(|secure| secure.is_amid());
    let came = conn.traffic.bytes_read > bytes_read;
    if is_amid && conn.reading.begun().is_none() && (came || !was_amid) {
        conn.reading.frame_since = now.into();
    }
}
