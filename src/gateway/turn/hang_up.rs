//! Peers that hang up while they are not read.
//!
//! That a peer has ended its sending side is read behind what it sent, so it waits as long as that does. That the
//! connection is no more is an event of its own: nobody will take what is meant for the peer, and it holds a slot that
//! others want. So it is given up where it is not read now, however long that may last; what is unread then is lost
//! with it, as TCP has it. Only where the gateway itself is about to read on (its own workers are what is waited for)
//! it does, until the system says that there is no more.

use crate::gateway::CloseReason;
use crate::gateway::Gate;
use crate::gateway::conn::{ConnId, State};
use crate::gateway::snapshot::PauseCause;
use crate::runtime::net::Net;
use crate::runtime::pool::Pool;

impl<N: Net, P: Pool> Gate<N, P> {
    /// The system says that the connection is no more.
    pub(super) fn hang_up(&mut self, id: ConnId) {
        let conn = &mut self.conns[id];
        conn.reading.reset = true;
        let is_read = !conn.reading.ended && conn.reading.paused.is_none_or(|pause| ends_soon(pause.cause));
        if !is_read {
            self.lose_reset(id);
        }
    }

    /// Whether a connection that is not read for this cause is over all the same, and was ended.
    pub(super) fn is_over_unread(&mut self, id: ConnId, cause: PauseCause) -> bool {
        if ends_soon(cause) {
            return false;
        }
        let conn = &mut self.conns[id];
        if conn.reading.reset {
            self.lose_reset(id);
            return true;
        }
        // Where nothing is unread, there is nothing that it would have to be read for.
        let is_cut = conn.dialect.as_ref().is_none_or(|dialect| !dialect.may_cut_on());
        let is_over = conn.state == State::Open
            && conn.reading.read_closed
            && is_cut
            && conn.secure.as_ref().is_none_or(|secure| secure.is_drained())
            && self.ctx.net.is_at_end(conn.socket());
        if is_over {
            self.observe.end_pause(conn, self.ctx.now);
            self.end_of_stream(id);
        }
        is_over
    }

    fn lose_reset(&mut self, id: ConnId) {
        let conn = &mut self.conns[id];
        #[cfg(any(test, feature = "check"))]
        self.observe.reset(conn);
        let why = conn.socket.as_mut().and_then(|socket| self.ctx.net.failure(socket));
        self.conns.lose(id, CloseReason::Lost(why.unwrap_or(std::io::ErrorKind::ConnectionReset)));
    }
}

/// Whether a pause ends as the workers go on, whatever peers, sinks and people do.
fn ends_soon(cause: PauseCause) -> bool {
    matches!(cause, PauseCause::InFlight | PauseCause::Workers)
}
