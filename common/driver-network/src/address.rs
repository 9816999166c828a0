//! Ethernet addresses.

use std::{fmt, str::FromStr};

/// A 48-bit MAC address, in the order of transmission.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// Every station.
    pub const BROADCAST: MacAddress = MacAddress([0xff; 6]);

    /// Whether it names a group of stations (I/G bit), such as the broadcast address.
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether one station can have it: no group, and not all zeroes.
    pub fn is_station(self) -> bool {
        !self.is_multicast() && self.0 != [0; 6]
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A text that is no MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a MAC address such as 52:54:00:12:34:56")]
pub struct BadAddress;

impl FromStr for MacAddress {
    type Err = BadAddress;

    /// Six bytes of two hexadecimal digits each, between colons or dashes.
    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let mut parts = text.split([':', '-']);
        let mut bytes = [0; 6];
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2 && !part.starts_with('+'));
            *byte = part.and_then(|part| u8::from_str_radix(part, 16).ok()).ok_or(BadAddress)?;
        }
        if parts.next().is_some() { Err(BadAddress) } else { Ok(MacAddress(bytes)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_it_is_shown() {
        let address = MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0xff]);
        assert_eq!(address.to_string(), "52:54:00:12:34:ff");
        assert_eq!(address.to_string().parse(), Ok(address));
        assert_eq!("52-54-00-12-34-FF".parse(), Ok(address));
        for bad in ["", "52:54:00:12:34", "52:54:00:12:34:ff:00", "52:54:00:12:34:+f", "5:254:00:12:34:ff"] {
            assert_eq!(bad.parse::<MacAddress>(), Err(BadAddress), "{bad}");
        }
    }

    #[test]
    fn groups_are_no_stations() {
        assert!(MacAddress::BROADCAST.is_multicast() && !MacAddress::BROADCAST.is_station());
        assert!(MacAddress([0x33, 0x33, 0, 0, 0, 1]).is_multicast());
        assert!(!MacAddress::default().is_station());
        assert!(MacAddress([2, 0, 0, 0, 0, 1]).is_station());
    }
}
