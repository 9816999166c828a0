//! The disk that the checks read and write: known contents behind a partition table.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// Bytes of the disk, and of the gaps before its two partitions.
pub(super) const BYTES: u32 = 64 << 20;
pub(super) const GAP: u32 = 1 << 20;

const BLOCK: u32 = 512;
/// Where a master boot record has its table, of four entries.
const TABLE: usize = 446;
const ENTRY: usize = 16;

/// Writes the disk's image and returns its SHA-256.
///
/// # Errors
/// When it cannot be written.
pub(super) fn make(path: &Path) -> Result<String> {
    let contents = contents();
    fs::write(path, &contents).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Sha256::digest(&contents).iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

fn contents() -> Vec<u8> {
    let mut contents = vec![0; BYTES as usize];
    fastrand::Rng::with_seed(3).fill(&mut contents);
    let length = BYTES / 2 - GAP;
    let mut table = [0; 4 * ENTRY + 2];
    for (entry, start) in table.chunks_exact_mut(ENTRY).zip([GAP, GAP + length + GAP]) {
        // A Linux partition, addressed by blocks: starting block and length, 32 bits each.
        let fields =
            [[0, 0, 0, 0], [0x83, 0, 0, 0], (start / BLOCK).to_le_bytes(), (length / BLOCK).to_le_bytes()];
        entry.copy_from_slice(&fields.concat());
    }
    for (to, from) in contents.iter_mut().skip(TABLE).zip(table.iter().take(4 * ENTRY).chain(&[0x55, 0xaa])) {
        *to = *from;
    }
    contents
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_two_partitions_that_end_with_the_disk() {
        let contents = contents();
        let number = |at: usize| u32::from_le_bytes(contents[at..at + 4].try_into().unwrap());
        assert_eq!(contents[510..512], [0x55, 0xaa]);
        assert_eq!((number(TABLE + 8), number(TABLE + 12)), (2048, 31 * 2048));
        assert_eq!((number(TABLE + 24), number(TABLE + 28)), (33 * 2048, 31 * 2048));
        assert!(contents[TABLE + 32..510].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn the_checksum_is_that_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data.img");
        let sum = make(&path).unwrap();
        assert_eq!(sum.len(), 64);
        let said = std::process::Command::new("sha256sum").arg(&path).output().unwrap();
        assert!(String::from_utf8_lossy(&said.stdout).starts_with(&sum));
    }
}
