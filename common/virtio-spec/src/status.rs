//! The device status field (section 2.1).

use bitfield_struct::bitfield;
use redox_driver_sys::register_values;

/// What driver and device have agreed on so far.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct DeviceStatus {
    /// ACKNOWLEDGE: the driver has found the device.
    pub acknowledge: bool,
    /// DRIVER: the driver knows how to drive it.
    pub driver: bool,
    /// DRIVER_OK: the driver is ready.
    pub driver_ok: bool,
    /// FEATURES_OK: the driver has chosen its features; cleared by a device that does not take them.
    pub features_ok: bool,
    #[bits(2)]
    __: u8,
    /// DEVICE_NEEDS_RESET: the device cannot go on.
    pub needs_reset: bool,
    /// FAILED: the driver has given up.
    pub failed: bool,
}

impl DeviceStatus {
    /// What is written to reset the device, and read when it has been.
    pub const RESET: DeviceStatus = DeviceStatus(0);
}

register_values!(DeviceStatus: u8);
