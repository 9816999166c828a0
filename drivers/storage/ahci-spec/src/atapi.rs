//! Packet commands of a CD or DVD drive (MMC, chapter 6) and sense data (SPC, section 4.5).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of a packet as it lies in a command table, whatever the device takes of it.
pub const PACKET_BYTES: usize = 16;

/// The SCSI type of a CD or DVD drive.
pub const TYPE_CD: u8 = 0x05;

/// TEST UNIT READY.
pub const TEST_UNIT_READY: u8 = 0x00;
/// REQUEST SENSE.
pub const REQUEST_SENSE: u8 = 0x03;
/// READ CAPACITY.
pub const READ_CAPACITY: u8 = 0x25;
/// READ (10).
pub const READ_10: u8 = 0x28;
/// READ (12).
pub const READ_12: u8 = 0xa8;

/// Sense key: nothing.
pub const KEY_NO_SENSE: u8 = 0x0;
/// Sense key: not ready.
pub const KEY_NOT_READY: u8 = 0x2;
/// Sense key: medium error.
pub const KEY_MEDIUM_ERROR: u8 = 0x3;
/// Sense key: hardware error.
pub const KEY_HARDWARE_ERROR: u8 = 0x4;
/// Sense key: illegal request.
pub const KEY_ILLEGAL_REQUEST: u8 = 0x5;
/// Sense key: unit attention.
pub const KEY_UNIT_ATTENTION: u8 = 0x6;
/// Sense key: data protect.
pub const KEY_DATA_PROTECT: u8 = 0x7;

/// Additional sense code: not ready, for a reason that its qualifier tells.
pub const ASC_NOT_READY: u8 = 0x04;
/// Additional sense code: unrecovered read error.
pub const ASC_READ_ERROR: u8 = 0x11;
/// Additional sense code: invalid command operation code.
pub const ASC_INVALID_COMMAND: u8 = 0x20;
/// Additional sense code: logical block address out of range.
pub const ASC_OUT_OF_RANGE: u8 = 0x21;
/// Additional sense code: not ready to ready change, the medium may have changed.
pub const ASC_MEDIUM_CHANGED: u8 = 0x28;
/// Additional sense code: power on or reset.
pub const ASC_POWER_ON: u8 = 0x29;
/// Additional sense code: medium not present.
pub const ASC_NO_MEDIUM: u8 = 0x3a;

/// TEST UNIT READY.
pub const fn test_unit_ready() -> [u8; PACKET_BYTES] {
    [0; PACKET_BYTES]
}

/// REQUEST SENSE of `bytes` bytes.
pub const fn request_sense(bytes: u8) -> [u8; PACKET_BYTES] {
    let mut packet = [0; PACKET_BYTES];
    packet[0] = REQUEST_SENSE;
    packet[4] = bytes;
    packet
}

/// READ CAPACITY.
pub const fn read_capacity() -> [u8; PACKET_BYTES] {
    let mut packet = [0; PACKET_BYTES];
    packet[0] = READ_CAPACITY;
    packet
}

/// READ (12) of `blocks` blocks from `lba` on.
pub const fn read_12(lba: u32, blocks: u32) -> [u8; PACKET_BYTES] {
    let ([a, b, c, d], [e, f, g, h]) = (lba.to_be_bytes(), blocks.to_be_bytes());
    [READ_12, 0, a, b, c, d, e, f, g, h, 0, 0, 0, 0, 0, 0]
}

/// What READ CAPACITY returns: 8 bytes, big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Capacity {
    /// The last logical block.
    pub last_lba: [u8; 4],
    /// Bytes of a block.
    pub block_size: [u8; 4],
}

const _: () = assert!(size_of::<Capacity>() == 8);

/// Fixed format sense data, its first 18 bytes (SPC, section 4.5.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Sense {
    /// 0x70: current, fixed format.
    pub response: u8,
    /// Obsolete.
    pub segment: u8,
    /// Bits 3:0: the sense key.
    pub key: u8,
    /// Information.
    pub information: [u8; 4],
    /// Bytes that follow this one.
    pub additional: u8,
    /// Command specific.
    pub specific: [u8; 4],
    /// Additional sense code.
    pub asc: u8,
    /// And its qualifier.
    pub ascq: u8,
    /// Field replaceable unit and sense key specific.
    pub rest: [u8; 4],
}

const _: () = assert!(size_of::<Sense>() == 18);

impl Sense {
    /// Current sense data with this key and code.
    pub const fn new(key: u8, asc: u8, ascq: u8) -> Self {
        Sense {
            response: 0x70,
            segment: 0,
            key,
            information: [0; 4],
            additional: 10,
            specific: [0; 4],
            asc,
            ascq,
            rest: [0; 4],
        }
    }

    /// The sense key.
    pub const fn sense_key(&self) -> u8 {
        self.key & 0xf
    }
}
