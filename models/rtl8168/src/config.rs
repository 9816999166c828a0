//! What a modelled controller is like.

use std::time::Duration;

use model_support::phy::PhyConfig;
use rtl8168_spec::{CHIPS, Chip, PhyAccess};

/// Properties of a controller that do not change while it runs. [`Default`] is an RTL8168H.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which chip.
    pub chip: &'static Chip,
    /// Its address, as it was stored.
    pub address: [u8; 6],
    /// Its PHY.
    pub phy: PhyConfig,
    /// Whether it has MSI-X and MSI, if it is a chip that has.
    pub messages: bool,
    /// From a poll to the first descriptor.
    pub latency: Duration,
    /// How long a reset takes.
    pub reset: Duration,
    /// How long an access to a register behind a register takes.
    pub access: Duration,
}

impl Config {
    /// The first chip with this name, or else the default one.
    pub fn named(name: &str) -> Self {
        Config::of(Chip::named(name).unwrap_or(&CHIPS[0]))
    }

    /// This chip.
    pub fn of(chip: &'static Chip) -> Self {
        // An RTL8211B, or what later chips have inside.
        let id = if chip.phy == PhyAccess::Ocp { 0x001c_c800 } else { 0x001c_c912 };
        Config {
            chip,
            address: [0x52, 0x54, 0x00, 0x12, 0x34, 0x56],
            phy: PhyConfig { id, ..PhyConfig::default() },
            messages: true,
            latency: Duration::from_micros(1),
            reset: Duration::from_micros(500),
            access: Duration::from_micros(20),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config::of(&CHIPS[0])
    }
}
