//! What people are told beside what the framework knows.

use std::fmt::Write;

use driver_network::NetDevice;
use virtio_core::Features;
use virtio_spec::net::NetFeatures;

use crate::adapter::VirtioNet;

impl VirtioNet {
    pub(crate) fn report(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write_report(&mut text);
        text
    }

    fn write_report(&self, text: &mut String) -> std::fmt::Result {
        let ring = if self.features().contains(Features::RING_PACKED) { "packed" } else { "split" };
        writeln!(text, "{}: virtio network device", self.name())?;
        writeln!(text, "used: {}", names(self.features()))?;
        writeln!(text, "not used: {}", names(self.offered() - self.features()))?;
        writeln!(text, "interrupts: {}", self.interrupt_kind())?;
        writeln!(text, "queues: {} pairs, {ring}", self.capabilities().queues)?;
        writeln!(text, "largest MTU: {}", self.capabilities().mtu.end())
    }
}

/// Features by the names that the specification has for them, less the prefixes VIRTIO_F_ and VIRTIO_NET_F_.
fn names(features: Features) -> String {
    let of_type = NetFeatures::from_bits_retain(features.bits());
    let net = of_type.iter_names().map(|(name, feature)| (name, feature.bits()));
    let others = features.iter_names().map(|(name, feature)| (name, feature.bits()));
    let named: Vec<(&str, u64)> = net.chain(others).collect();
    let known = named.iter().fold(0, |known, (_, bits)| known | bits);
    let unnamed = (0..64).filter(|bit| features.bits() & !known & 1 << bit != 0);
    let names = named.iter().map(|(name, _)| (*name).to_string());
    names.chain(unnamed.map(|bit| format!("bit {bit}"))).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_have_names() {
        let features = Features::from_bits_retain(1 << 15 | 1 << 29 | 1 << 32 | 1 << 50);
        assert_eq!(names(features), "MRG_RXBUF EVENT_IDX VERSION_1 bit 50");
    }
}
