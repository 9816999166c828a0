//! Client of pcid, Redox's PCI daemon.
//!
//! pcid gives each PCI function a channel, `/scheme/pci/0000--00--06.0/channel`, which one process at a time can open.
//! A driver writes a [`PcidClientRequest`] and reads a [`PcidClientResponse`]; both are bincode 1 with fixed-width
//! little-endian integers, and the response is preceded by its length in 64 bits. Names and order of the variants are
//! upstream's, since the order is the wire format.
//!
//! [`PciFunctionHandle`] works on anything that can be read and written, so that it is tested without Redox. Mapping
//! BARs needs `unsafe` and is the business of `redox-driver-sys`.

#![forbid(unsafe_code)]

mod handle;
mod message;

pub use handle::{CHANNEL_ENV, Error, MAX_RESPONSE, PciFunctionHandle, channel_path, open_channel};
pub use message::{
    FeatureStatus, FullDeviceId, LegacyInterruptLine, MsiAddrAndData, MsiInfo, MsiSetFeatureInfo, MsixInfo,
    PciAddress, PciBar, PciFeature, PciFeatureInfo, PciFunction, PciRom, PcidClientRequest,
    PcidClientResponse, PcidServerResponseError, SetFeatureInfo, SubdriverArguments,
    VendorSpecificCapability,
};
