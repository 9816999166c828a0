//! Logs (ACS, chapter 9) and SMART data (ACS, section 7.48).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use redox_driver_sys::{codes, display_code};

codes! {
    /// Address of a general purpose log (ACS, annex A).
    pub struct GeneralPurposeLog: u8 {
        DIRECTORY = 0x00, "General Purpose Log Directory";
        NCQ_ERROR = 0x10, "NCQ Command Error log";
        NCQ_SEND_RECEIVE = 0x13, "NCQ Send and Receive log";
        IDENTIFY_DEVICE_DATA = 0x30, "IDENTIFY DEVICE data log";
    }
}
display_code!(GeneralPurposeLog);

/// NCQ Command Error log, 512 bytes (ACS, section 9.13). Reading it ends the error state of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct NcqErrorLog {
    /// Bit 7, NQ: the command was not a queued one; bit 6, UNL: unload; bits 4:0: the tag.
    pub tag: u8,
    /// Reserved.
    pub reserved: u8,
    /// STATUS.
    pub status: u8,
    /// ERROR.
    pub error: u8,
    /// LBA (23:0).
    pub lba_low: [u8; 3],
    /// DEVICE.
    pub device: u8,
    /// LBA (47:24).
    pub lba_high: [u8; 3],
    /// Reserved.
    pub reserved2: u8,
    /// COUNT.
    pub count: u16,
    /// Sense key, additional sense code and its qualifier.
    pub sense: [u8; 3],
    /// Reserved, and from byte 256 on vendor specific.
    pub rest: [u8; 494],
    /// All bytes of the log add up to 0.
    pub checksum: u8,
}

const _: () = assert!(size_of::<NcqErrorLog>() == 512);

impl NcqErrorLog {
    /// The tag of the failed command; `None` when it was not a queued one.
    pub const fn failed_tag(&self) -> Option<u8> {
        if self.tag & 0x80 == 0 { Some(self.tag & 0x1f) } else { None }
    }

    /// The address at which the command failed.
    pub const fn lba(&self) -> u64 {
        let ([a, b, c], [d, e, f]) = (self.lba_low, self.lba_high);
        u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
    }

    /// Whether the checksum is right.
    pub fn is_intact(&self) -> bool {
        self.as_bytes().iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte)) == 0
    }

    /// Puts the checksum in.
    pub fn seal(&mut self) {
        self.checksum = 0;
        self.checksum = self.as_bytes().iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte)).wrapping_neg();
    }
}

/// The beginning of the NCQ Send and Receive log (ACS, section 9.15), padded to 512 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct NcqSendReceiveLog {
    /// Bit 0: DATA SET MANAGEMENT can be sent queued.
    pub subcommands: u32,
    /// Bit 0: with TRIM.
    pub data_set_management: u32,
    /// The rest.
    pub rest: [u32; 126],
}

const _: () = assert!(size_of::<NcqSendReceiveLog>() == 512);

impl NcqSendReceiveLog {
    /// Whether TRIM can be sent queued.
    pub const fn has_trim(&self) -> bool {
        self.subcommands & 1 != 0 && self.data_set_management & 1 != 0
    }
}

/// SMART data, 512 bytes. The attributes are vendor specific, but everybody lays them out alike: 30 entries of 12 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SmartData {
    /// The bytes.
    pub bytes: [u8; 512],
}

impl SmartData {
    /// Attribute id, normalised value, worst value and raw value of each entry in use.
    pub fn attributes(&self) -> impl Iterator<Item = (u8, u8, u8, u64)> + '_ {
        let table = self.bytes.get(2..362).unwrap_or_default();
        table.chunks_exact(12).filter_map(|entry| match *entry {
            [id, _, _, value, worst, a, b, c, d, e, f, _] if id != 0 => {
                Some((id, value, worst, u64::from_le_bytes([a, b, c, d, e, f, 0, 0])))
            }
            _ => None,
        })
    }

    /// What everybody calls an attribute.
    pub const fn attribute_name(id: u8) -> &'static str {
        match id {
            1 => "raw read error rate",
            3 => "spin-up time",
            4 => "start/stop count",
            5 => "reallocated sectors",
            9 => "power-on hours",
            12 => "power cycles",
            190 => "airflow temperature",
            194 => "temperature",
            197 => "pending sectors",
            198 => "offline uncorrectable",
            199 => "interface CRC errors",
            _ => "attribute",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    #[test]
    fn the_error_log_is_laid_out_as_specified() {
        let mut log = NcqErrorLog::new_zeroed();
        log.tag = 5;
        log.error = 0x40;
        log.lba_low = [6, 5, 4];
        log.lba_high = [3, 2, 1];
        log.seal();
        let bytes = log.as_bytes();
        assert_eq!((bytes[0], bytes[3], bytes[4], bytes[8], bytes[10]), (5, 0x40, 6, 3, 1));
        assert!(log.is_intact());
        assert_eq!((log.failed_tag(), log.lba()), (Some(5), 0x0102_0304_0506));
        log.tag = 0x85;
        assert!(!log.is_intact());
        assert_eq!(log.failed_tag(), None);
    }

    #[test]
    fn attributes_in_use_are_listed() {
        let mut data = SmartData { bytes: [0; 512] };
        data.bytes[2..14].copy_from_slice(&[9, 0, 0, 99, 98, 0x34, 0x12, 0, 0, 0, 0, 0]);
        assert_eq!(data.attributes().collect::<Vec<_>>(), [(9, 99, 98, 0x1234)]);
    }
}
