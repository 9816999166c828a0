//! Receive-side scaling (82574 section 7.1.10).

use e1000_spec::{receive::rss_type, registers::RSS_KEY};

use model_support::packet::Parsed;

/// The Toeplitz hash of `input`.
pub fn toeplitz(key: &[u8; RSS_KEY], input: &[u8]) -> u32 {
    let bit = |at: usize| key.get(at / 8).is_some_and(|byte| byte & 0x80 >> (at % 8) != 0);
    let mut window = u32::from_be_bytes([key[0], key[1], key[2], key[3]]);
    let mut hash = 0;
    for (at, byte) in input.iter().enumerate() {
        for shift in 0..8 {
            if byte & 0x80 >> shift != 0 {
                hash ^= window;
            }
            window = window << 1 | u32::from(bit(8 * at + shift + 32));
        }
    }
    hash
}

/// The type and value of the hash of a frame.
pub(crate) fn hash(key: &[u8; RSS_KEY], frame: &[u8], parsed: &Parsed) -> (u32, u32) {
    let Some(ip) = parsed.ip else { return (rss_type::NONE, 0) };
    let addresses = if ip.v6 { 8..40 } else { 12..20 };
    let Some(addresses) = frame.get(ip.at + addresses.start..ip.at + addresses.end) else {
        return (rss_type::NONE, 0);
    };
    let mut input = addresses.to_vec();
    let ports = parsed.transport.filter(|transport| transport.tcp && !ip.fragment);
    if let Some(ports) = ports.and_then(|transport| frame.get(transport.at..transport.at + 4)) {
        input.extend(ports);
        let kind = if ip.v6 { rss_type::IPV6_TCP } else { rss_type::IPV4_TCP };
        return (kind, toeplitz(key, &input));
    }
    (if ip.v6 { rss_type::IPV6 } else { rss_type::IPV4 }, toeplitz(key, &input))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of the verification suite in Microsoft's specification of RSS.
    const KEY: [u8; RSS_KEY] = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0,
        0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42,
        0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ];

    #[test]
    fn hashes_as_the_verification_suite_says() {
        let input = [66, 9, 149, 187, 161, 142, 100, 80, 0x0a, 0xea, 0x06, 0xe6];
        assert_eq!(toeplitz(&KEY, &input[..8]), 0x323e_8fc2);
        assert_eq!(toeplitz(&KEY, &input), 0x51cc_c178);
    }
}
