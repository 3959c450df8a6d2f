//! What a device is answered, compared with what its layout declares.

use super::devices::Sender;

/// One thing that a device was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The declared reply to its n-th frame.
    Reply,
    /// The declared refusal of its n-th frame.
    Refused(u64),
    /// Something else where the answer to the n-th frame was due. What comes behind it cannot be told apart any more.
    Other(u64),
}

/// Answers of one connection: they come in the order of its frames.
#[derive(Debug, Default)]
pub struct Answers {
    /// The frame whose answer is due.
    next: u64,
    /// What came of it so far.
    begun: Vec<u8>,
    /// Nothing is compared any more.
    lost: bool,
    replied: u64,
    refused: u64,
}

impl Answers {
    /// Behind the last frame that was answered.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Replies that came as they are declared.
    pub fn replied(&self) -> u64 {
        self.replied
    }

    /// Refusals that came as they are declared.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Of `finished` frames, those that should have been answered and were not.
    pub fn missing(&self, of: &Sender, finished: u64) -> u64 {
        if self.lost {
            return 0;
        }
        let slots = of.replies.len() as u64;
        let declared =
            |slots: u64| (0..slots).filter(|slot| !of.replies.get(*slot as usize).is_empty()).count();
        let all = finished / slots * declared(slots) as u64 + declared(finished % slots) as u64;
        all.saturating_sub(self.replied + self.refused)
    }

    /// Takes what came.
    pub fn take(&mut self, bytes: &[u8], of: &Sender, mut tell: impl FnMut(Told)) {
        let mut rest = bytes;
        while !rest.is_empty() && !self.lost {
            let slots = of.replies.len() as u64;
            // Frames that are not answered are passed over.
            let answered = (self.next..self.next + slots).find(|n| {
                [&of.replies, &of.refusals].iter().any(|all| !all.get((n % slots) as usize).is_empty())
            });
            let slot = answered.map(|n| {
                self.next = n;
                (n % slots) as usize
            });
            let (reply, refusal) =
                slot.map_or((&[][..], &[][..]), |at| (of.replies.get(at), of.refusals.get(at)));
            if self.begun.is_empty() && !reply.is_empty() && rest.starts_with(reply) {
                rest = &rest[reply.len()..];
                self.done(Told::Reply, &mut tell);
                continue;
            }
            // What comes in pieces, and what is no reply.
            self.begun.push(rest[0]);
            rest = &rest[1..];
            if self.begun == reply {
                self.done(Told::Reply, &mut tell);
            } else if self.begun == refusal {
                self.done(Told::Refused(self.next), &mut tell);
            } else if !reply.starts_with(&self.begun) && !refusal.starts_with(&self.begun) {
                self.lost = true;
                tell(Told::Other(self.next));
            }
        }
    }

    fn done(&mut self, told: Told, tell: &mut impl FnMut(Told)) {
        match told {
            Told::Reply => self.replied += 1,
            _ => self.refused += 1,
        }
        self.next += 1;
        self.begun.clear();
        tell(told);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Replies to the first and the third of three frames, and a refusal of the third that begins as its reply.
    fn sender() -> Sender {
        let mut of = Sender::default();
        [&b"one"[..], b"", b"three"].into_iter().for_each(|bytes| of.replies.push(bytes));
        [&b""[..], b"", b"thwart"].into_iter().for_each(|bytes| of.refusals.push(bytes));
        of
    }

    #[test]
    fn answers_are_compared_in_whatever_pieces_they_come() {
        let of = sender();
        let stream = b"onethreeonethwartonethree";
        for piece in [1, 2, 3, 7, stream.len()] {
            let (mut answers, mut told) = (Answers::default(), Vec::new());
            stream.chunks(piece).for_each(|bytes| answers.take(bytes, &of, |one| told.push(one)));
            let reply = Told::Reply;
            assert_eq!(told, [reply, reply, reply, Told::Refused(5), reply, reply], "{piece}");
            assert_eq!((answers.replied(), answers.refused(), answers.next()), (5, 1, 9));
            for (finished, missing) in [(9, 0), (10, 1), (11, 1), (12, 2), (18, 6)] {
                assert_eq!(answers.missing(&of, finished), missing, "{finished}");
            }
        }
    }

    #[test]
    fn something_else_ends_the_comparison() {
        let of = sender();
        let (mut answers, mut told) = (Answers::default(), Vec::new());
        answers.take(b"onethr", &of, |one| told.push(one));
        answers.take(b"iftthree", &of, |one| told.push(one));
        assert_eq!(told, [Told::Reply, Told::Other(2)]);
        // How many of them are missing is not known then.
        assert_eq!(answers.missing(&of, 100), 0);
    }

    #[test]
    fn where_nothing_is_declared_anything_is_something_else() {
        let mut of = Sender::default();
        (0..3).for_each(|_| {
            of.replies.push(b"");
            of.refusals.push(b"");
        });
        let (mut answers, mut told) = (Answers::default(), Vec::new());
        answers.take(b"x", &of, |one| told.push(one));
        assert_eq!(told, [Told::Other(0)]);
        assert_eq!(Answers::default().missing(&of, 7), 0);
    }
}
