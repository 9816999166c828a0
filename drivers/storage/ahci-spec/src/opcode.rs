//! Commands and their outcome (ACS, chapters 6 and 7).

use bitfield_struct::bitfield;

use redox_driver_sys::{codes, display_code};

codes! {
    /// The command code of an ATA command (ACS, chapter 7).
    pub struct AtaCommand: u8 {
        NOP = 0x00, "NOP";
        DATA_SET_MANAGEMENT = 0x06, "DATA SET MANAGEMENT";
        DEVICE_RESET = 0x08, "DEVICE RESET";
        READ_DMA_EXT = 0x25, "READ DMA EXT";
        READ_LOG_EXT = 0x2f, "READ LOG EXT";
        WRITE_DMA_EXT = 0x35, "WRITE DMA EXT";
        WRITE_DMA_FUA_EXT = 0x3d, "WRITE DMA FUA EXT";
        READ_LOG_DMA_EXT = 0x47, "READ LOG DMA EXT";
        READ_FPDMA_QUEUED = 0x60, "READ FPDMA QUEUED";
        WRITE_FPDMA_QUEUED = 0x61, "WRITE FPDMA QUEUED";
        SEND_FPDMA_QUEUED = 0x64, "SEND FPDMA QUEUED";
        PACKET = 0xa0, "PACKET";
        IDENTIFY_PACKET_DEVICE = 0xa1, "IDENTIFY PACKET DEVICE";
        SMART = 0xb0, "SMART";
        READ_DMA = 0xc8, "READ DMA";
        WRITE_DMA = 0xca, "WRITE DMA";
        STANDBY_IMMEDIATE = 0xe0, "STANDBY IMMEDIATE";
        /// SATA, section 16.3.
        READ_PORT_MULTIPLIER = 0xe4, "READ PORT MULTIPLIER";
        FLUSH_CACHE = 0xe7, "FLUSH CACHE";
        /// SATA, section 16.3.
        WRITE_PORT_MULTIPLIER = 0xe8, "WRITE PORT MULTIPLIER";
        FLUSH_CACHE_EXT = 0xea, "FLUSH CACHE EXT";
        IDENTIFY_DEVICE = 0xec, "IDENTIFY DEVICE";
        SET_FEATURES = 0xef, "SET FEATURES";
    }
}

codes! {
    /// Subcommand of SET FEATURES (ACS, section 7.45).
    pub struct FeatureCode: u8 {
        ENABLE_WRITE_CACHE = 0x02, "enable volatile write cache";
        SET_TRANSFER_MODE = 0x03, "set transfer mode";
        ENABLE_SATA = 0x10, "enable SATA feature";
        DISABLE_SATA = 0x90, "disable SATA feature";
    }
}

impl FeatureCode {
    /// Count of ENABLE_SATA and DISABLE_SATA: device-initiated interface power state transitions.
    pub const SATA_DIPM: u8 = 0x03;
    /// Count of ENABLE_SATA and DISABLE_SATA: asynchronous notification.
    pub const SATA_ASYNC_NOTIFICATION: u8 = 0x05;
    /// Count of ENABLE_SATA and DISABLE_SATA: device sleep.
    pub const SATA_DEVSLP: u8 = 0x09;
    /// Count of SET_TRANSFER_MODE: Ultra DMA mode 0; the mode is added.
    pub const UDMA_0: u8 = 0x40;
}

codes! {
    /// Subcommand of SMART (ACS, section 7.48).
    pub struct SmartFeature: u8 {
        READ_DATA = 0xd0, "SMART READ DATA";
        ENABLE_OPERATIONS = 0xd8, "SMART ENABLE OPERATIONS";
        RETURN_STATUS = 0xda, "SMART RETURN STATUS";
    }
}

impl SmartFeature {
    /// LBA mid and high of every SMART command, and of RETURN STATUS while no threshold is exceeded.
    pub const SIGNATURE: u16 = 0xc24f;
    /// LBA mid and high of RETURN STATUS when a threshold is exceeded.
    pub const THRESHOLD_EXCEEDED: u16 = 0x2cf4;
}

display_code!(AtaCommand, FeatureCode, SmartFeature);

/// The STATUS field (ACS, section 6.2).
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct AtaStatus {
    /// ERR, or CHECK CONDITION of a packet command.
    pub err: bool,
    /// Sense data available.
    pub sense: bool,
    /// ALIGNMENT ERROR.
    pub alignment: bool,
    /// DRQ: data is to be transferred.
    pub drq: bool,
    /// Deferred write error, or stream error.
    pub dwe: bool,
    /// DF: device fault.
    pub df: bool,
    /// DRDY: ready for commands.
    pub drdy: bool,
    /// BSY: the device has the registers.
    pub bsy: bool,
}

impl AtaStatus {
    /// Whether the device neither has the registers nor wants data.
    pub const fn is_idle(self) -> bool {
        !self.bsy() && !self.drq()
    }
    /// Whether the command failed.
    pub const fn is_error(self) -> bool {
        self.err() || self.df()
    }
}

/// The ERROR field (ACS, section 6.3).
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct AtaError {
    /// Command completion time out, or illegal length indicator.
    pub ccto: bool,
    /// End of media.
    pub eom: bool,
    /// ABORT: the command or one of its parameters is not supported, or it was aborted.
    pub abrt: bool,
    __: bool,
    /// ID NOT FOUND: the address is beyond the end, or could not be found.
    pub idnf: bool,
    __: bool,
    /// UNCORRECTABLE ERROR, or WRITE PROTECTED.
    pub unc: bool,
    /// INTERFACE CRC.
    pub icrc: bool,
}

impl AtaError {
    /// The sense key, in the upper half, of a packet command that ended with CHECK CONDITION.
    pub const fn sense_key(self) -> u8 {
        self.into_bits() >> 4
    }
}
