//! How many connections each address has, where that is bounded.

use std::collections::HashMap;
use std::net::IpAddr;

/// The open connections of each address: no more entries than there are connections, and none where there is no bound.
#[derive(Debug, Default)]
pub struct PerAddress {
    /// 0 for any number.
    max: usize,
    open: HashMap<IpAddr, usize>,
}

impl PerAddress {
    /// At most so many of one address; any number with 0.
    pub fn new(max: usize) -> PerAddress {
        PerAddress { max, open: HashMap::new() }
    }

    /// Whether one more of an address may come.
    pub fn has_room(&self, address: IpAddr) -> bool {
        self.max == 0 || self.open.get(&site(address)).is_none_or(|&open| open < self.max)
    }

    /// One more has come.
    pub fn enter(&mut self, address: IpAddr) {
        if self.max > 0 {
            *self.open.entry(site(address)).or_default() += 1;
        }
    }

    /// One is no more.
    pub fn leave(&mut self, address: IpAddr) {
        if self.max == 0 {
            return;
        }
        let open = self.open.get_mut(&site(address)).expect("it has entered");
        *open -= 1;
        if *open == 0 {
            self.open.remove(&site(address));
        }
    }
}

/// What counts as one address: of IPv6 the first 64 bits, for whoever has one address has all of those.
fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_as_many_and_no_more() {
        let mut all = PerAddress::new(2);
        let [a, mapped, b, six, same, other] =
            ["10.0.0.1", "::ffff:10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1"]
                .map(|text| text.parse::<IpAddr>().unwrap());
        for address in [a, mapped, six, same] {
            assert!(all.has_room(address));
            all.enter(address);
        }
        assert_eq!(
            [a, mapped, b, six, same, other].map(|at| all.has_room(at)),
            [false, false, true, false, false, true]
        );
        all.leave(mapped);
        assert!(all.has_room(a));
        [a, six, same].into_iter().for_each(|address| all.leave(address));
        assert!(all.open.is_empty());
        let mut any = PerAddress::new(0);
        any.enter(a);
        assert!(any.has_room(a) && any.open.is_empty());
        any.leave(a);
    }
}
