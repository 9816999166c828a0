//! The disk reads as its image on the host is.

use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, bail};
use redox_guest::console::Console;
use sha2::{Digest, Sha256};

use super::{CHUNK, same};
use crate::Subject;

/// Reads at random places.
const READS: usize = 500;
/// Most blocks of one of them.
const MOST_BLOCKS: usize = 300;
const BLOCK: usize = 512;

pub(crate) fn run(console: &Console, subject: &Subject) -> bool {
    let mut contents = Vec::new();
    console.check("raw reads equal the host's image", || sequential(subject, &mut contents))
        & console.check("reads of any place and length agree", || random(subject, &contents))
}

fn sequential(subject: &Subject, contents: &mut Vec<u8>) -> Result<String> {
    let disk = subject.disk().open_whole()?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    for offset in (0..subject.bytes).step_by(CHUNK) {
        disk.read_exact_at(&mut chunk, offset).with_context(|| format!("read at {offset:#x}"))?;
        hash.update(&chunk);
        contents.extend_from_slice(&chunk);
    }
    let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    same("SHA-256", hash.as_str(), subject.sha256.as_str())?;
    Ok(format!("{} MiB, SHA-256 {hash}", contents.len() >> 20))
}

fn random(subject: &Subject, contents: &[u8]) -> Result<String> {
    let disk = subject.disk().open_whole()?;
    let mut random = fastrand::Rng::with_seed(1);
    let mut bytes = 0_usize;
    for _ in 0..READS {
        let blocks = random.usize(1..=MOST_BLOCKS);
        let first = random.usize(..=(contents.len() / BLOCK).saturating_sub(blocks));
        let mut read = vec![0; blocks * BLOCK];
        disk.read_exact_at(&mut read, (first * BLOCK) as u64)
            .with_context(|| format!("read {blocks} blocks from {first}"))?;
        if contents.get(first * BLOCK..(first + blocks) * BLOCK) != Some(&read[..]) {
            bail!("{blocks} blocks from {first} differ from what was read before");
        }
        bytes += read.len();
    }
    Ok(format!("{READS} reads, {} MiB", bytes >> 20))
}
