//! Server-sent events: what every open page gets each second.

use std::sync::{Arc, Weak};

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use parking_lot::Mutex;

use crate::core::limits::{ADMIN_PAGE_BEHIND, ADMIN_PAGES, ADMIN_STALL};

/// The open pages.
#[derive(Debug, Default)]
pub struct Pages {
    open: Mutex<Vec<Page>>,
}

#[derive(Debug)]
struct Page {
    to: Sender<Arc<str>>,
    /// Dead when the page is closed: a channel does not say that its other end is gone before something is sent.
    life: Weak<()>,
}

impl Page {
    fn is_open(&self) -> bool {
        self.life.strong_count() > 0
    }
}

/// What comes to one page, which is open as long as this lives.
#[derive(Debug)]
pub struct Events {
    from: Receiver<Arc<str>>,
    _life: Arc<()>,
}

impl Events {
    /// The next event; none where the server ends, or has had nothing to say for so long that it is better asked anew.
    pub fn next(&self) -> Option<Arc<str>> {
        self.from.recv_timeout(ADMIN_STALL).ok()
    }
}

impl Pages {
    /// A page opens; `first` is what it gets at once. None if there are as many as may be.
    pub fn open(&self, first: Arc<str>) -> Option<Events> {
        let mut open = self.open.lock();
        open.retain(Page::is_open);
        if open.len() >= ADMIN_PAGES {
            return None;
        }
        let (to, from) = bounded(ADMIN_PAGE_BEHIND);
        to.try_send(first).expect("it is empty");
        let life = Arc::new(());
        open.push(Page { to, life: Arc::downgrade(&life) });
        Some(Events { from, _life: life })
    }

    /// Whether somebody looks.
    pub fn is_watched(&self) -> bool {
        self.open.lock().iter().any(Page::is_open)
    }

    /// Tells every page. One that is behind misses this: the next says all of it again.
    pub fn tell(&self, event: &Arc<str>) {
        self.open.lock().retain(|page| match page.to.try_send(event.clone()) {
            Ok(()) | Err(TrySendError::Full(_)) => true,
            Err(TrySendError::Disconnected(_)) => false,
        });
    }

    /// Ends every stream.
    pub fn close(&self) {
        self.open.lock().clear();
    }
}

/// One event as it goes over the wire. `data` is one line.
pub fn event(name: &str, data: &str) -> Arc<str> {
    debug_assert!(!data.contains('\n'), "JSON on one line");
    format!("event: {name}\ndata: {data}\n\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_get_what_is_told_and_one_that_is_behind_misses_some() {
        let pages = Pages::default();
        assert!(!pages.is_watched());
        let one = pages.open(event("first", "{}")).unwrap();
        let two = pages.open(event("first", "{}")).unwrap();
        for number in 0..10 {
            pages.tell(&event("tick", &number.to_string()));
        }
        assert_eq!((one.from.len(), two.from.len()), (ADMIN_PAGE_BEHIND, ADMIN_PAGE_BEHIND));
        drop(two);
        pages.tell(&event("tick", "10"));
        assert_eq!(pages.open.lock().len(), 1);
        assert_eq!(&*one.next().unwrap(), "event: first\ndata: {}\n\n");
        assert_eq!(&*one.next().unwrap(), "event: tick\ndata: 0\n\n");
        assert!(pages.is_watched());
        drop(one);
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

    #[test]
    fn a_stream_ends_with_the_server() {
        let pages = Pages::default();
        let page = pages.open(event("first", "{}")).unwrap();
        pages.close();
        assert!(page.next().is_some() && page.next().is_none());
    }
}
