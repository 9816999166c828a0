//! What a modelled controller is like.

use std::time::Duration;

use e1000_spec::{CHIPS, Chip, nvm};
use model_support::phy::PhyConfig;

/// Properties of a controller that do not change while it runs. [`Default`] is an 82574L.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which chip.
    pub chip: &'static Chip,
    /// Its address in the EEPROM.
    pub address: [u8; 6],
    /// Its PHY.
    pub phy: PhyConfig,
    /// Whether it has MSI-X (82574) and MSI.
    pub messages: bool,
    /// From the write of a tail to the first descriptor.
    pub latency: Duration,
    /// How long a reset takes.
    pub reset: Duration,
    /// How long an access to PHY or EEPROM takes.
    pub access: Duration,
}

impl Config {
    /// The chip with this name in [`CHIPS`], or else the default one.
    pub fn named(name: &str) -> Self {
        let chip = CHIPS.iter().find(|chip| chip.name == name).unwrap_or(Config::default().chip);
        let id = if chip.is_express() { 0x0141_0cb1 } else { 0x0141_0c20 };
        Config { chip, phy: PhyConfig { id, ..PhyConfig::default() }, ..Config::default() }
    }

    /// The EEPROM as it comes from the factory.
    pub(crate) fn nvm(&self) -> Vec<u16> {
        let mut words = vec![0xffff; usize::from(nvm::CHECKSUM) + 1];
        let [a, b, c, d, e, f] = self.address;
        let address = [[a, b], [c, d], [e, f]].map(u16::from_le_bytes);
        for (word, value) in words.iter_mut().zip(address) {
            *word = value;
        }
        let sum = nvm::checksum(&words);
        if let Some(last) = words.last_mut() {
            *last = sum;
        }
        words
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            chip: &CHIPS[CHIPS.len() - 1],
            address: [0x52, 0x54, 0x00, 0x12, 0x34, 0x56],
            phy: PhyConfig { id: 0x0141_0cb1, ..PhyConfig::default() },
            messages: true,
            latency: Duration::from_micros(1),
            reset: Duration::from_micros(500),
            access: Duration::from_micros(20),
        }
    }
}
