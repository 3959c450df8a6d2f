//! How many connections there are at once, and who has to go when all seats are taken.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use async_channel::{Receiver, Sender};

/// The seats of a server. When all are taken, whoever has waited longest without a request has to go,
/// so that connections which ask for nothing keep nobody out who does.
#[derive(Debug)]
pub struct Seats {
    taken: RefCell<Vec<Taken>>,
    count: usize,
}

#[derive(Debug)]
struct Taken {
    seat: Rc<Seat>,
    /// Its end ends the connection.
    _stay: Sender<()>,
}

/// One connection's seat.
#[derive(Debug)]
pub struct Seat {
    /// A request of it is being answered.
    busy: Cell<bool>,
    /// Since when it waits for a request.
    since: Cell<Instant>,
}

impl Seats {
    /// So many.
    pub fn new(count: usize) -> Seats {
        Seats { taken: RefCell::default(), count }
    }

    /// A seat, and what ends when it has to be given up; none if everyone is busy.
    pub fn take(&self, now: Instant) -> Option<(Rc<Seat>, Receiver<()>)> {
        let mut taken = self.taken.borrow_mut();
        if taken.len() >= self.count {
            let waiting = taken.iter().enumerate().filter(|(_, taken)| !taken.seat.busy.get());
            let (longest, _) = waiting.min_by_key(|(_, taken)| taken.seat.since.get())?;
            taken.swap_remove(longest);
        }
        let (stay, gone) = async_channel::bounded(1);
        let seat = Rc::new(Seat { busy: Cell::new(false), since: Cell::new(now) });
        taken.push(Taken { seat: seat.clone(), _stay: stay });
        Some((seat, gone))
    }

    /// The connection has ended.
    pub fn leave(&self, seat: &Rc<Seat>) {
        self.taken.borrow_mut().retain(|taken| !Rc::ptr_eq(&taken.seat, seat));
    }
}

impl Seat {
    /// A request has come.
    pub fn begin(&self) {
        self.busy.set(true);
    }

    /// It is answered.
    pub fn end(&self, now: Instant) {
        self.busy.set(false);
        self.since.set(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn whoever_has_waited_longest_goes() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let seats = Seats::new(3);
        let (first, first_gone) = seats.take(at(1)).unwrap();
        let (_, second_gone) = seats.take(at(2)).unwrap();
        let (third, third_gone) = seats.take(at(3)).unwrap();
        first.begin();
        let (fourth, fourth_gone) = seats.take(at(4)).unwrap();
        assert!(second_gone.is_closed() && !first_gone.is_closed() && !third_gone.is_closed());
        first.end(at(5));
        seats.take(at(6)).unwrap();
        assert!(third_gone.is_closed() && !first_gone.is_closed());
        seats.leave(&third);
        seats.leave(&fourth);
        assert!(fourth_gone.is_closed());
        assert_eq!(seats.taken.borrow().len(), 2);
    }

    #[test]
    fn nobody_goes_while_all_are_busy() {
        let (seats, now) = (Seats::new(1), Instant::now());
        let (seat, _) = seats.take(now).unwrap();
        seat.begin();
        assert!(seats.take(now).is_none());
        seat.end(now);
        assert!(seats.take(now).is_some());
    }
}
