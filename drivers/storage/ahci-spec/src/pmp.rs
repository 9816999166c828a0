//! Port multipliers (SATA, chapter 16).

/// The port that is the multiplier itself.
pub const CONTROL_PORT: u8 = 15;
/// Most devices behind one.
pub const MOST_PORTS: u8 = 15;

/// `GSCR[0]`: product identifier.
pub const GSCR_PRODUCT: u16 = 0;
/// `GSCR[1]`: revision.
pub const GSCR_REVISION: u16 = 1;
/// `GSCR[2]`: port information; bits 3:0 are the device ports.
pub const GSCR_PORTS: u16 = 2;
/// `GSCR[32]`: error information: a bit per port whose SError has an enabled bit set.
pub const GSCR_ERROR: u16 = 32;
/// `GSCR[33]`: error information bit enable: the bits of SError that count.
pub const GSCR_ERROR_ENABLE: u16 = 33;
/// `GSCR[64]`: features.
pub const GSCR_FEATURES: u16 = 64;
/// `GSCR[96]`: features enabled; bit 3: asynchronous notification.
pub const GSCR_FEATURES_ENABLE: u16 = 96;
/// Asynchronous notification, in `GSCR[64]` and `GSCR[96]`.
pub const FEATURE_NOTIFICATION: u32 = 1 << 3;

/// `PSCR[0]`: SStatus of a device port.
pub const PSCR_STATUS: u16 = 0;
/// `PSCR[1]`: SError of a device port; cleared by writing 1.
pub const PSCR_ERROR: u16 = 1;
/// `PSCR[2]`: SControl of a device port.
pub const PSCR_CONTROL: u16 = 2;
