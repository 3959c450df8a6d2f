//! Server-sent events: what every open page gets each second.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_channel::{Receiver, Sender};
use futures_lite::{AsyncRead, Stream};

use crate::core::limits::{ADMIN_PAGE_BEHIND, ADMIN_PAGES};

/// The open pages.
#[derive(Debug, Default)]
pub struct Pages {
    open: RefCell<Vec<Sender<Arc<str>>>>,
}

impl Pages {
    /// A page opens; `first` is what it gets at once. None if there are as many as may be.
    pub fn open(&self, first: Arc<str>) -> Option<Receiver<Arc<str>>> {
        let mut open = self.open.borrow_mut();
        open.retain(|page| !page.is_closed());
        if open.len() >= ADMIN_PAGES {
            return None;
        }
        let (to, from) = async_channel::bounded(ADMIN_PAGE_BEHIND);
        to.try_send(first).expect("it is empty");
        open.push(to);
        Some(from)
    }

    /// Whether somebody looks.
    pub fn is_watched(&self) -> bool {
        self.open.borrow().iter().any(|page| !page.is_closed())
    }

    /// Tells every page. One that is behind misses this: the next says all of it again.
    pub fn tell(&self, event: &Arc<str>) {
        self.open.borrow_mut().retain(|page| match page.try_send(event.clone()) {
            Ok(()) | Err(async_channel::TrySendError::Full(_)) => true,
            Err(async_channel::TrySendError::Closed(_)) => false,
        });
    }
}

/// One event as it goes over the wire. `data` is one line.
pub fn event(name: &str, data: &str) -> Arc<str> {
    debug_assert!(!data.contains('\n'), "JSON on one line");
    format!("event: {name}\ndata: {data}\n\n").into()
}

/// Reads the events of one page one after the other, as a body without an end.
#[derive(Debug)]
pub struct EventBody {
    from: Pin<Box<Receiver<Arc<str>>>>,
    /// The event that is being read, and how much of it was.
    current: Arc<str>,
    read: usize,
}

impl EventBody {
    /// What comes from `from`.
    pub fn new(from: Receiver<Arc<str>>) -> EventBody {
        EventBody { from: Box::pin(from), current: "".into(), read: 0 }
    }
}

impl AsyncRead for EventBody {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.read == self.current.len() {
            match ready!(self.from.as_mut().poll_next(cx)) {
                Some(event) => (self.current, self.read) = (event, 0),
                None => return Poll::Ready(Ok(0)),
            }
        }
        let rest = &self.current.as_bytes()[self.read..];
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        self.read += n;
        Poll::Ready(Ok(n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::AsyncReadExt;

    #[test]
    fn pages_get_what_is_told_and_one_that_is_behind_misses_some() {
        let pages = Pages::default();
        assert!(!pages.is_watched());
        let one = pages.open(event("first", "{}")).unwrap();
        let two = pages.open(event("first", "{}")).unwrap();
        for number in 0..10 {
            pages.tell(&event("tick", &number.to_string()));
        }
        assert_eq!((one.len(), two.len()), (ADMIN_PAGE_BEHIND, ADMIN_PAGE_BEHIND));
        drop(two);
        pages.tell(&event("tick", "10"));
        assert_eq!(pages.open.borrow().len(), 1);
        let mut text = String::new();
        one.close();
        async_io::block_on(EventBody::new(one).read_to_string(&mut text)).unwrap();
        assert!(text.starts_with("event: first\ndata: {}\n\nevent: tick\ndata: 0\n\n"), "{text}");
        assert!(!pages.is_watched());
    }

    #[test]
    fn there_are_only_so_many_pages() {
        let pages = Pages::default();
        let open: Vec<_> = (0..ADMIN_PAGES).map(|_| pages.open("".into()).unwrap()).collect();
        assert!(pages.open("".into()).is_none());
        drop(open);
        assert!(pages.open("".into()).is_some());
    }
}
