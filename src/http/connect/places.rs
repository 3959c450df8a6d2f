//! The addresses that connections go to and come from.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// The addresses of a server, and for each the local ones to come from. Connections are spread evenly:
/// over the addresses first, then over the local ones.
///
/// An address that fails before it ever answered is left out while there is another: a name often stands
/// for a family that its server does not listen on.
#[derive(Clone, Debug)]
pub struct Places(Vec<Place>);

#[derive(Clone, Debug)]
struct Place {
    address: SocketAddr,
    /// None: the system chooses.
    sources: Vec<IpAddr>,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Nothing is known yet.
    New,
    /// It answered at least once.
    Reached,
    /// It never answered, and why.
    Out(String),
}

/// What follows from a failure to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is an error like others.
    Counts,
    /// The address is left out; the connection tries another.
    LeftOut,
    /// No address ever answered.
    Unreachable,
}

/// Looks up a name once.
///
/// # Errors
/// What the system says of the name.
pub fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let mut found: Vec<SocketAddr> = Vec::new();
    for address in (host, port).to_socket_addrs()? {
        if !found.contains(&address) {
            found.push(address);
        }
    }
    // The families in turn, so that half of few connections are of each.
    let (six, four): (Vec<_>, Vec<_>) = found.into_iter().partition(SocketAddr::is_ipv6);
    let mut both = Vec::new();
    for at in 0..six.len().max(four.len()) {
        both.extend(six.get(at).into_iter().chain(four.get(at)));
    }
    if both.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(both)
}

impl Places {
    /// Connections to `addresses`, from `sources` where some are given.
    ///
    /// # Errors
    /// In one line with the mend: no source is of the family of any address.
    pub fn new(addresses: &[SocketAddr], sources: &[IpAddr]) -> Result<Places, String> {
        let mut places = Vec::new();
        for &address in addresses {
            let of_family = |source: &&IpAddr| source.is_ipv6() == address.is_ipv6();
            let own: Vec<IpAddr> = sources.iter().filter(of_family).copied().collect();
            if sources.is_empty() || !own.is_empty() {
                places.push(Place { address, sources: own, state: State::New });
            }
        }
        match (places.is_empty(), addresses.first()) {
            (true, Some(address)) => Err(format!(
                "--bind holds no address from which {} can be reached: give one of its family",
                address.ip()
            )),
            _ => Ok(Places(places)),
        }
    }

    /// The addresses that connections go to.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.open().map(|place| place.address)
    }

    /// The addresses that were left out, and why.
    pub fn left_out(&self) -> impl Iterator<Item = (SocketAddr, &str)> {
        self.0.iter().filter_map(|place| match &place.state {
            State::Out(why) => Some((place.address, why.as_str())),
            _ => None,
        })
    }

    /// Where connection `index` goes to, and from where: the number of the place, and both addresses.
    pub fn of(&self, index: usize) -> Option<(usize, SocketAddr, Option<IpAddr>)> {
        let open = self.open().count();
        let (at, place) = self
            .0
            .iter()
            .enumerate()
            .filter(|(_, place)| !matches!(place.state, State::Out(_)))
            .nth(index.checked_rem(open)?)?;
        let source = (index / open).checked_rem(place.sources.len()).map(|n| place.sources[n]);
        Some((at, place.address, source))
    }

    /// A connection to a place stands.
    pub fn reached(&mut self, place: usize) {
        self.0[place].state = State::Reached;
    }

    /// A connection to a place could not be made, for the reason that `why` tells.
    pub fn failed(&mut self, place: usize, why: impl FnOnce() -> String) -> Verdict {
        if self.0[place].state == State::Reached {
            return Verdict::Counts;
        }
        if self.0[place].state == State::New {
            self.0[place].state = State::Out(why());
        }
        if self.open().next().is_some() { Verdict::LeftOut } else { Verdict::Unreachable }
    }

    fn open(&self) -> impl Iterator<Item = &Place> {
        self.0.iter().filter(|place| !matches!(place.state, State::Out(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(all: &[&str]) -> Vec<SocketAddr> {
        all.iter().map(|one| one.parse().unwrap()).collect()
    }

    fn sources(all: &[&str]) -> Vec<IpAddr> {
        all.iter().map(|one| one.parse().unwrap()).collect()
    }

    #[test]
    fn connections_are_spread_over_addresses_and_sources() {
        let to = addresses(&["[::1]:80", "127.0.0.1:80"]);
        let places = Places::new(&to, &sources(&["127.0.0.1", "::1", "127.0.0.2"])).unwrap();
        let spread: Vec<String> = (0..6)
            .map(|index| {
                let (place, address, source) = places.of(index).unwrap();
                format!("{place} {} {}", address.ip(), source.unwrap())
            })
            .collect();
        let expected = [
            "0 ::1 ::1",
            "1 127.0.0.1 127.0.0.1",
            "0 ::1 ::1",
            "1 127.0.0.1 127.0.0.2",
            "0 ::1 ::1",
            "1 127.0.0.1 127.0.0.1",
        ];
        assert_eq!(spread, expected);
        assert_eq!(Places::new(&to, &[]).unwrap().of(3), Some((1, to[1], None)));
    }

    #[test]
    fn a_family_without_a_source_is_not_used() {
        let to = addresses(&["[::1]:80", "127.0.0.1:80"]);
        let places = Places::new(&to, &sources(&["127.0.0.9"])).unwrap();
        assert_eq!(places.addresses().collect::<Vec<_>>(), &to[1..]);
        let wrong = Places::new(&to[..1], &sources(&["127.0.0.9"])).unwrap_err();
        assert!(wrong.contains("--bind holds no address from which ::1"), "{wrong}");
    }

    #[test]
    fn what_never_answered_is_left_out_while_there_is_another() {
        let to = addresses(&["[::1]:80", "127.0.0.1:80"]);
        let mut places = Places::new(&to, &[]).unwrap();
        assert_eq!(places.failed(0, || "refused".into()), Verdict::LeftOut);
        assert_eq!(places.failed(0, || unreachable!("it is known")), Verdict::LeftOut);
        assert_eq!(places.of(0), Some((1, to[1], None)));
        assert_eq!(places.left_out().collect::<Vec<_>>(), [(to[0], "refused")]);
        places.reached(1);
        assert_eq!(places.failed(1, || unreachable!("it answered")), Verdict::Counts);

        let mut places = Places::new(&to, &[]).unwrap();
        assert_eq!(places.failed(1, String::new), Verdict::LeftOut);
        assert_eq!(places.failed(0, String::new), Verdict::Unreachable);
        assert_eq!(places.of(0), None);
        // One that was on its way meanwhile may still arrive.
        places.reached(0);
        assert_eq!(places.of(5), Some((0, to[0], None)));
    }

    #[test]
    fn a_name_is_looked_up_once_for_both_families() {
        assert_eq!(resolve("127.0.0.1", 81).unwrap(), addresses(&["127.0.0.1:81"]));
        assert_eq!(resolve("::1", 81).unwrap(), addresses(&["[::1]:81"]));
        assert!(resolve("nowhere.invalid", 81).is_err());
    }
}
