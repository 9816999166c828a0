//! Accesses of any width to configuration space that can only be accessed by 32 bits.

use super::{Width, header};
use crate::error::{Error, Result};

/// Configuration space of PCI Express, in bytes.
const CONFIG_LEN: u64 = 4096;

/// Reads at `offset`, by `read`, which reads 32 aligned bits.
pub(crate) fn read(offset: u16, width: Width, read: impl FnOnce(u16) -> Result<u32>) -> Result<u32> {
    let (at, shift) = place(offset, width)?;
    Ok(read(at)? >> shift & mask(width))
}

/// The 32 aligned bits that have to be written, and where, so that `value` is written at `offset`.
pub(crate) fn merge(
    offset: u16,
    width: Width,
    value: u32,
    read: impl FnOnce(u16) -> Result<u32>,
) -> Result<(u16, u32)> {
    let (at, shift) = place(offset, width)?;
    if width == Width::Dword {
        return Ok((at, value));
    }
    let mut rest = read(at)?;
    if at == header::COMMAND {
        // Bits of the Status register, the upper half, are cleared by writing ones.
        rest &= 0xffff;
    }
    Ok((at, rest & !(mask(width) << shift) | (value & mask(width)) << shift))
}

/// The aligned 32 bits around an access, and how far the access lies inside, in bits.
fn place(offset: u16, width: Width) -> Result<(u16, u32)> {
    let len = u64::from(width.bytes());
    if u64::from(offset) + len > CONFIG_LEN || !u64::from(offset).is_multiple_of(len) {
        return Err(Error::OutOfBounds { offset: offset.into(), len, region: CONFIG_LEN });
    }
    Ok((offset & !3, u32::from(offset & 3) * 8))
}

const fn mask(width: Width) -> u32 {
    match width {
        Width::Byte => 0xff,
        Width::Word => 0xffff,
        Width::Dword => u32::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(offset: u16, width: Width) -> u32 {
        read(offset, width, |at| {
            assert_eq!(at % 4, 0);
            Ok(0x4433_2211)
        })
        .unwrap()
    }

    #[test]
    fn reads_the_bytes_that_are_asked_for() {
        assert_eq!([8, 9, 10, 11].map(|at| from(at, Width::Byte)), [0x11, 0x22, 0x33, 0x44]);
        assert_eq!([8, 10].map(|at| from(at, Width::Word)), [0x2211, 0x4433]);
        assert_eq!(from(8, Width::Dword), 0x4433_2211);
    }

    #[test]
    fn writes_keep_what_is_beside_them() {
        let before = |_| Ok(0x4433_2211);
        assert_eq!(merge(0x3d, Width::Byte, 0xab, before).unwrap(), (0x3c, 0x4433_ab11));
        assert_eq!(merge(0x3e, Width::Word, 0xffff_abcd, before).unwrap(), (0x3c, 0xabcd_2211));
        let never = |_| -> Result<u32> { panic!("nothing has to be kept") };
        assert_eq!(merge(0x10, Width::Dword, 0xabcd_ef01, never).unwrap(), (0x10, 0xabcd_ef01));
    }

    #[test]
    fn writing_command_clears_nothing_in_status() {
        let before = |_| Ok(0xf900_0403);
        assert_eq!(merge(header::COMMAND, Width::Word, 0x0006, before).unwrap(), (4, 0x0000_0006));
        assert_eq!(merge(header::COMMAND + 1, Width::Byte, 0, before).unwrap(), (4, 0x0000_0003));
        // What is meant for Status gets there.
        assert_eq!(merge(header::STATUS, Width::Word, 0x8000, before).unwrap(), (4, 0x8000_0403));
    }

    #[test]
    fn refuses_what_does_not_fit() {
        for (offset, width) in
            [(1, Width::Word), (2, Width::Dword), (4096, Width::Byte), (u16::MAX, Width::Byte)]
        {
            assert!(read(offset, width, |_| Ok(0)).is_err());
            assert!(merge(offset, width, 0, |_| Ok(0)).is_err());
        }
        assert!(read(4095, Width::Byte, |_| Ok(0)).is_ok());
    }
}
