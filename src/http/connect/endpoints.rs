//! The addresses that connections go to and come from.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// The addresses of a server, and for each the local ones to come from. Connections are spread evenly:
/// over the addresses first, then over the local ones.
///
/// An address that fails before it ever answered is left out while there is another: a name often stands
/// for a family that its server does not listen on.
#[derive(Clone, Debug)]
pub struct Endpoints(Vec<Endpoint>);

#[derive(Clone, Debug)]
struct Endpoint {
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

impl Endpoints {
    /// Connections to `addresses`, from `sources` where some are given.
    ///
    /// # Errors
    /// In one line with the mend: no source is of the family of any address.
    pub fn new(addresses: &[SocketAddr], sources: &[IpAddr]) -> Result<Endpoints, String> {
        let mut endpoints = Vec::new();
        for &address in addresses {
            let of_family = |source: &&IpAddr| source.is_ipv6() == address.is_ipv6();
            let own: Vec<IpAddr> = sources.iter().filter(of_family).copied().collect();
            if sources.is_empty() || !own.is_empty() {
                endpoints.push(Endpoint { address, sources: own, state: State::New });
            }
        }
        match (endpoints.is_empty(), addresses.first()) {
            (true, Some(address)) => Err(format!(
                "--bind holds no address from which {} can be reached: give one of its family",
                address.ip()
            )),
            _ => Ok(Endpoints(endpoints)),
        }
    }

    /// The addresses that connections go to.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.open().map(|endpoint| endpoint.address)
    }

    /// The addresses that were left out, and why.
    pub fn left_out(&self) -> impl Iterator<Item = (SocketAddr, &str)> {
        self.0.iter().filter_map(|endpoint| match &endpoint.state {
            State::Out(why) => Some((endpoint.address, why.as_str())),
            _ => None,
        })
    }

    /// Where connection `index` goes to, and from where: the number of the endpoint, and both addresses.
    pub fn of(&self, index: usize) -> Option<(usize, SocketAddr, Option<IpAddr>)> {
        let open = self.open().count();
        let (at, endpoint) = self
            .0
            .iter()
            .enumerate()
            .filter(|(_, endpoint)| !matches!(endpoint.state, State::Out(_)))
            .nth(index.checked_rem(open)?)?;
        let source = (index / open).checked_rem(endpoint.sources.len()).map(|n| endpoint.sources[n]);
        Some((at, endpoint.address, source))
    }

    /// A connection to an endpoint stands.
    pub fn reached(&mut self, endpoint: usize) {
        self.0[endpoint].state = State::Reached;
    }

    /// A connection to an endpoint could not be made, for the reason that `why` tells.
    pub fn failed(&mut self, endpoint: usize, why: impl FnOnce() -> String) -> Verdict {
        if self.0[endpoint].state == State::Reached {
            return Verdict::Counts;
        }
        if self.0[endpoint].state == State::New {
            self.0[endpoint].state = State::Out(why());
        }
        if self.open().next().is_some() { Verdict::LeftOut } else { Verdict::Unreachable }
    }

    fn open(&self) -> impl Iterator<Item = &Endpoint> {
        self.0.iter().filter(|endpoint| !matches!(endpoint.state, State::Out(_)))
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
        let endpoints = Endpoints::new(&to, &sources(&["127.0.0.1", "::1", "127.0.0.2"])).unwrap();
        let spread: Vec<String> = (0..6)
            .map(|index| {
                let (endpoint, address, source) = endpoints.of(index).unwrap();
                format!("{endpoint} {} {}", address.ip(), source.unwrap())
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
        assert_eq!(Endpoints::new(&to, &[]).unwrap().of(3), Some((1, to[1], None)));
    }

    #[test]
    fn a_family_without_a_source_is_not_used() {
        let to = addresses(&["[::1]:80", "127.0.0.1:80"]);
        let endpoints = Endpoints::new(&to, &sources(&["127.0.0.9"])).unwrap();
        assert_eq!(endpoints.addresses().collect::<Vec<_>>(), &to[1..]);
        let wrong = Endpoints::new(&to[..1], &sources(&["127.0.0.9"])).unwrap_err();
        assert!(wrong.contains("--bind holds no address from which ::1"), "{wrong}");
    }

    #[test]
    fn what_never_answered_is_left_out_while_there_is_another() {
        let to = addresses(&["[::1]:80", "127.0.0.1:80"]);
        let mut endpoints = Endpoints::new(&to, &[]).unwrap();
        assert_eq!(endpoints.failed(0, || "refused".into()), Verdict::LeftOut);
        assert_eq!(endpoints.failed(0, || unreachable!("it is known")), Verdict::LeftOut);
        assert_eq!(endpoints.of(0), Some((1, to[1], None)));
        assert_eq!(endpoints.left_out().collect::<Vec<_>>(), [(to[0], "refused")]);
        endpoints.reached(1);
        assert_eq!(endpoints.failed(1, || unreachable!("it answered")), Verdict::Counts);

        let mut endpoints = Endpoints::new(&to, &[]).unwrap();
        assert_eq!(endpoints.failed(1, String::new), Verdict::LeftOut);
        assert_eq!(endpoints.failed(0, String::new), Verdict::Unreachable);
        assert_eq!(endpoints.of(0), None);
        // One that was on its way meanwhile may still arrive.
        endpoints.reached(0);
        assert_eq!(endpoints.of(5), Some((0, to[0], None)));
    }

    #[test]
    fn a_name_is_looked_up_once_for_both_families() {
        assert_eq!(resolve("127.0.0.1", 81).unwrap(), addresses(&["127.0.0.1:81"]));
        assert_eq!(resolve("::1", 81).unwrap(), addresses(&["[::1]:81"]));
        assert!(resolve("nowhere.invalid", 81).is_err());
    }
}
