//! Two processes at once, each on a partition of its own.

use std::env;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use redox_guest::console::Console;
use redox_guest::pattern;

use crate::Subject;

/// What one of the processes does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    check: &'static str,
    partition: usize,
    seed: u64,
}

/// Both.
pub(crate) const CLIENTS: [Client; 2] = [
    Client { check: "client-a", partition: 0, seed: 101 },
    Client { check: "client-b", partition: 1, seed: 102 },
];

/// Bytes that each client works on, and the most of one transfer.
const SPAN: u64 = 8 << 20;
const MOST: usize = 256 << 10;
const STEPS: usize = 400;

pub(crate) fn run(console: &Console, subject: &Subject) -> bool {
    console.check("two clients at once, each on its partition", || both(subject))
}

fn both(subject: &Subject) -> Result<String> {
    let program = env::current_exe().context("find this program")?;
    let mut children = Vec::new();
    for client in CLIENTS {
        let child = Command::new(&program)
            .args(["--scheme", &subject.scheme, "--node", &subject.node, client.check])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        children.push((client, child));
    }
    for (client, child) in children {
        let output = child.wait_with_output().with_context(|| format!("wait for {}", client.check))?;
        if !output.status.success() {
            bail!("partition {}: {}", client.partition, String::from_utf8_lossy(&output.stdout).trim());
        }
    }
    Ok(format!("{STEPS} transfers of up to {} KiB each", MOST >> 10))
}

/// What a client does: writes at random places, reads at others, and in the end everything.
pub(crate) fn client(subject: &Subject, client: Client) -> Result<()> {
    let disk = subject.disk();
    let disk = disk.open(&disk.partition(client.partition))?;
    let mut random = fastrand::Rng::with_seed(client.seed);
    let mut buffer = vec![0; MOST];
    // The generation that was last written to each block.
    const BLOCK: usize = 4096;
    let blocks = usize::try_from(SPAN).context("the span is small")? / BLOCK;
    let mut generations = vec![0_u64; blocks];
    for block in 0..blocks {
        let data = buffer.get_mut(..BLOCK).context("the buffer is larger")?;
        pattern::fill(client.seed, (block * BLOCK) as u64, data);
        disk.write_all_at(data, (block * BLOCK) as u64).context("write")?;
    }
    for step in 1..=STEPS as u64 {
        let count = random.usize(1..=MOST / BLOCK);
        let first = random.usize(..=blocks - count);
        let data = buffer.get_mut(..count * BLOCK).context("the buffer is larger")?;
        if random.bool() {
            for (index, piece) in data.chunks_exact_mut(BLOCK).enumerate() {
                pattern::fill(client.seed + step, ((first + index) * BLOCK) as u64, piece);
            }
            disk.write_all_at(data, (first * BLOCK) as u64).context("write")?;
            for generation in generations.iter_mut().skip(first).take(count) {
                *generation = step;
            }
        } else {
            disk.read_exact_at(data, (first * BLOCK) as u64).context("read")?;
            let written = generations.iter().skip(first);
            for (index, (piece, generation)) in data.chunks_exact(BLOCK).zip(written).enumerate() {
                pattern::verify(client.seed + generation, ((first + index) * BLOCK) as u64, piece)?;
            }
        }
    }
    disk.sync_all().context("sync")?;
    for (block, generation) in generations.iter().enumerate() {
        let data = buffer.get_mut(..BLOCK).context("the buffer is larger")?;
        disk.read_exact_at(data, (block * BLOCK) as u64).context("read")?;
        pattern::verify(client.seed + generation, (block * BLOCK) as u64, data)?;
    }
    Ok(())
}
