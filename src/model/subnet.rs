//! IPv4 subnets as the engine writes them. What is given out of them is decided in the plan; this room only
//! knows where they begin and end.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// `172.20.0.0/16`. Host bits of the text are dropped, so two spellings of one subnet are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subnet {
    first: u32,
    prefix: u32,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not an IPv4 subnet (such as 172.20.0.0/16)")]
pub struct NotASubnet(pub String);

impl Subnet {
    /// The network's own address.
    pub fn first(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.first)
    }

    /// The broadcast address.
    pub fn last(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.first | self.host_bits())
    }

    pub fn contains(&self, address: Ipv4Addr) -> bool {
        (self.first()..=self.last()).contains(&address)
    }

    /// The half with the higher addresses; `None` for a single address.
    pub fn upper_half(&self) -> Option<Self> {
        let prefix = self.prefix + 1;
        (prefix <= 32).then(|| Self { first: self.first | 1 << (32 - prefix), prefix })
    }

    fn host_bits(&self) -> u32 {
        u32::MAX.checked_shr(self.prefix).unwrap_or(0)
    }
}

impl FromStr for Subnet {
    type Err = NotASubnet;

    fn from_str(text: &str) -> Result<Self, NotASubnet> {
        let wrong = || NotASubnet(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address: Ipv4Addr = address.parse().map_err(|_| wrong())?;
        let prefix: u32 = prefix.parse().ok().filter(|prefix| *prefix <= 32).ok_or_else(wrong)?;
        let whole = Self { first: address.to_bits(), prefix };
        Ok(Self { first: whole.first & !whole.host_bits(), prefix })
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first(), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_knows_its_ends_and_halves() {
        let net: Subnet = "172.20.0.0/16".parse().unwrap();
        assert_eq!(net.last(), Ipv4Addr::new(172, 20, 255, 255));
        assert_eq!(net.upper_half().unwrap().to_string(), "172.20.128.0/17");
        assert!(net.contains(Ipv4Addr::new(172, 20, 9, 9)));
        assert!(!net.contains(Ipv4Addr::new(172, 21, 0, 0)));
        assert_eq!("10.0.0.7/24".parse::<Subnet>(), "10.0.0.0/24".parse());
        assert_eq!("10.0.0.7/32".parse::<Subnet>().unwrap().upper_half(), None);
        assert_eq!("0.0.0.0/0".parse::<Subnet>().unwrap().last(), Ipv4Addr::BROADCAST);
    }

    #[test]
    fn what_is_no_subnet_is_refused() {
        for bad in ["", "10.0.0.0", "10.0.0.0/33", "10.0.0/8", "fd00::/64", "10.0.0.0/-1"] {
            assert_eq!(bad.parse::<Subnet>(), Err(NotASubnet(bad.to_owned())));
        }
    }
}
