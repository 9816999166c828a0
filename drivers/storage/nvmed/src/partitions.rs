//! `nvmed partitions`: the partition tables of a controller's namespaces.

use std::time::Duration;

use anyhow::{Context, bail};
use driver_block::{Controller, LocalEngine, QueueOptions, RecoveryPolicy, daemon::Attached, partitions};
use nvmed::NvmeController;

/// How long the controller may take to end orderly.
const SHUTDOWN: Duration = Duration::from_secs(60);

/// Prints what the tables say, and fails if one of them is damaged.
pub(crate) fn print(attached: Attached<NvmeController>) -> anyhow::Result<()> {
    let Attached { controller, dma, clock } = attached;
    let mut damage: Vec<String> = controller.refused_namespaces().iter().map(ToString::to_string).collect();
    let buffer = dma.allocate(partitions::MAX_READ)?;
    let options = QueueOptions::new(1, controller.command_timeout());
    let mut engine = LocalEngine::new(controller, &clock, &options, RecoveryPolicy::default())?;
    for disk in engine.disks().to_vec() {
        println!("namespace {}: {} blocks of {} bytes", disk.id, disk.blocks, disk.limits.block_size);
        match partitions::read_from(&mut engine, &disk, &buffer) {
            Ok(table) => {
                for partition in &table.partitions {
                    let (first, blocks) = (partition.start(), partition.blocks());
                    println!(
                        "  {}: blocks {first} to {}, type {}, {}",
                        partition.number,
                        first + (blocks - 1),
                        partition.kind,
                        partition.id
                    );
                }
                damage
                    .extend(table.warnings.iter().map(|warning| format!("namespace {}: {warning}", disk.id)));
            }
            Err(error) => damage.push(format!("namespace {}: {error}", disk.id)),
        }
    }
    engine.shutdown(SHUTDOWN).context("shut down")?;
    if !damage.is_empty() {
        bail!("{}", damage.join("; "));
    }
    Ok(())
}
