//! What a device tells of itself, for people.

use std::{
    fmt::{self, Write},
    sync::atomic::Ordering,
};

use driver_block::{Controller, Disk, WriteCache};
use virtio_core::Features;
use virtio_spec::blk::{BlkFeatures, Lifetime};

use crate::controller::BlkController;

/// Names of feature bits, less the prefixes VIRTIO_F_ and VIRTIO_BLK_F_.
const NAMES: &[(u64, &str)] = &[
    (BlkFeatures::SIZE_MAX.bits(), "size-max"),
    (BlkFeatures::SEG_MAX.bits(), "seg-max"),
    (BlkFeatures::GEOMETRY.bits(), "geometry"),
    (BlkFeatures::RO.bits(), "ro"),
    (BlkFeatures::BLK_SIZE.bits(), "blk-size"),
    (BlkFeatures::FLUSH.bits(), "flush"),
    (BlkFeatures::TOPOLOGY.bits(), "topology"),
    (BlkFeatures::CONFIG_WCE.bits(), "config-wce"),
    (BlkFeatures::MQ.bits(), "mq"),
    (BlkFeatures::DISCARD.bits(), "discard"),
    (BlkFeatures::WRITE_ZEROES.bits(), "write-zeroes"),
    (BlkFeatures::LIFETIME.bits(), "lifetime"),
    (BlkFeatures::SECURE_ERASE.bits(), "secure-erase"),
    (Features::INDIRECT_DESC.bits(), "indirect-desc"),
    (Features::EVENT_IDX.bits(), "event-idx"),
    (Features::VERSION_1.bits(), "version-1"),
    (Features::ACCESS_PLATFORM.bits(), "access-platform"),
    (Features::RING_PACKED.bits(), "ring-packed"),
    (Features::IN_ORDER.bits(), "in-order"),
    (Features::ORDER_PLATFORM.bits(), "order-platform"),
    (Features::NOTIFICATION_DATA.bits(), "notification-data"),
    (Features::RING_RESET.bits(), "ring-reset"),
];

impl BlkController {
    /// A report on the device: identity, features, wear, queues, counts.
    pub(crate) fn report(&mut self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write_report(&mut text);
        text
    }

    fn write_report(&self, out: &mut String) -> fmt::Result {
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        writeln!(out, "device")?;
        writeln!(out, "  features          {}", names(self.features()))?;
        writeln!(out, "  not used          {}", names(self.offered() - self.features()))?;
        let ring = if self.features().contains(Features::RING_PACKED) { "packed" } else { "split" };
        writeln!(
            out,
            "  queues            {}, {ring}, of {} entries",
            self.queue_count(),
            self.queue_size()
        )?;
        writeln!(out, "  interrupts        {}", self.interrupt_kind())?;
        writeln!(out, "  resets            {}", self.resets())?;
        writeln!(out, "  failed requests   {}", count(&self.counters().failed_requests))?;
        writeln!(out, "  protocol errors   {}", count(&self.counters().protocol_errors))?;
        if let Some(lifetime) = self.lifetime() {
            write_lifetime(out, lifetime)?;
        }
        self.disks().iter().try_for_each(|disk| write_disk(out, disk))
    }
}

fn names(features: Features) -> String {
    let mut left = features.bits();
    let mut names: Vec<String> = Vec::new();
    for (bit, name) in NAMES {
        if left & bit != 0 {
            names.push((*name).to_string());
            left &= !bit;
        }
    }
    let unnamed = (0..64).filter(|bit| left & 1 << bit != 0).map(|bit| format!("bit-{bit}"));
    names.extend(unnamed);
    names.join(" ")
}

fn write_lifetime(out: &mut String, lifetime: Lifetime) -> fmt::Result {
    let reserve = match lifetime.pre_eol_info {
        0 => "not known",
        1 => "normal: less than 80 % are used",
        2 => "warning: 80 % are used",
        3 => "urgent: 90 % are used",
        _ => "not defined",
    };
    writeln!(out, "lifetime, as of the start")?;
    writeln!(out, "  reserved blocks   {reserve}")?;
    for (what, wear) in [
        ("wear of SLC       ", lifetime.device_lifetime_est_typ_a),
        ("wear of MLC       ", lifetime.device_lifetime_est_typ_b),
    ] {
        match wear {
            0 => writeln!(out, "  {what}not known")?,
            1..=10 => writeln!(out, "  {what}{} to {} %", (wear - 1) * 10, wear * 10)?,
            11 => writeln!(out, "  {what}beyond the estimate")?,
            _ => writeln!(out, "  {what}not defined ({wear})")?,
        }
    }
    Ok(())
}

fn write_disk(out: &mut String, disk: &Disk) -> fmt::Result {
    let limits = &disk.limits;
    writeln!(out, "disk")?;
    writeln!(out, "  serial            {}", disk.serial)?;
    let physical = limits.physical_block_size;
    writeln!(out, "  blocks            {} of {} bytes, {physical} physical", disk.blocks, limits.block_size)?;
    writeln!(out, "  largest transfer  {} bytes in {} segments", limits.max_transfer, limits.max_segments)?;
    let cache = match limits.write_cache {
        WriteCache::None => "none, or write-through",
        WriteCache::Volatile { .. } => "write-back",
    };
    writeln!(out, "  write cache       {cache}")?;
    writeln!(out, "  read-only         {}", if limits.read_only { "yes" } else { "no" })
}
