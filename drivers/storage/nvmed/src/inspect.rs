//! What a controller tells of itself, for people.

use std::{
    fmt::{self, Write},
    sync::atomic::Ordering,
};

use driver_block::{Disk, WriteCache};
use nvme_spec::{ALL_NAMESPACES, IdentifyController, LogPage, SmartLog, ascii};

use redox_driver_sys::error::chain;

use crate::controller::NvmeController;

/// Data units are thousands of 512-byte blocks (section 5.14.1.2).
const DATA_UNIT: u64 = 512_000;
const ZERO_CELSIUS: i32 = 273;

impl NvmeController {
    /// A report on the controller: identity, health, namespaces, queues, counts.
    pub(crate) fn report(&mut self) -> String {
        let smart = self.smart();
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write_report(&mut text, smart);
        text
    }

    fn write_report(&self, out: &mut String, smart: crate::error::Result<SmartLog>) -> fmt::Result {
        let identify = self.identify();
        writeln!(out, "controller")?;
        writeln!(out, "  model             {}", ascii(&identify.mn))?;
        writeln!(out, "  serial            {}", ascii(&identify.sn))?;
        writeln!(out, "  firmware          {}", ascii(&identify.fr))?;
        writeln!(out, "  version           {}", self.version())?;
        write_features(out, identify)?;
        writeln!(out, "  interrupts        {}", self.interrupt_kind())?;
        writeln!(out, "  I/O queues        {}", self.queue_count())?;
        writeln!(out, "  host memory       {} bytes", self.host_memory_bytes())?;
        writeln!(out, "  resets            {}", self.resets())?;
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        writeln!(out, "  failed commands   {}", count(&self.counters().failed_commands))?;
        let stale = count(&self.counters().stale_completions) + self.stale_admin_completions();
        writeln!(out, "  stale completions {stale}")?;
        match smart {
            Ok(smart) => write_smart(out, &smart)?,
            Err(error) => writeln!(out, "health: {}", chain(&error))?,
        }
        for disk in driver_block::Controller::disks(self) {
            write_disk(out, &disk)?;
        }
        for refused in self.refused_namespaces() {
            writeln!(out, "not served: {refused}")?;
        }
        Ok(())
    }

    fn smart(&mut self) -> crate::error::Result<SmartLog> {
        self.admin_log(LogPage::SMART, ALL_NAMESPACES)
    }
}

fn write_features(out: &mut String, identify: &IdentifyController) -> fmt::Result {
    let oncs = identify.oncs;
    let features = [
        ("volatile-write-cache", identify.vwc.present()),
        ("dataset-management", oncs.dataset_management()),
        ("write-zeroes", oncs.write_zeroes()),
        ("compare", oncs.compare()),
        ("sgl", identify.sgls.support() != 0),
        ("apst", identify.apsta & 1 != 0),
        ("host-memory-buffer", identify.hmpre != 0),
    ];
    let names: Vec<_> = features.iter().filter(|(_, offered)| *offered).map(|(name, _)| *name).collect();
    writeln!(out, "  features          {}", names.join(" "))
}

fn write_smart(out: &mut String, smart: &SmartLog) -> fmt::Result {
    let total = |counter| SmartLog::saturated(counter);
    writeln!(out, "health")?;
    writeln!(out, "  critical warning  {:#04x}", u8::from(smart.critical_warning))?;
    writeln!(out, "  temperature       {} °C", i32::from(smart.temperature) - ZERO_CELSIUS)?;
    let (spare, threshold) = (smart.available_spare, smart.available_spare_threshold);
    writeln!(out, "  available spare   {spare} % (threshold {threshold} %)")?;
    writeln!(out, "  used              {} %", smart.percentage_used)?;
    writeln!(out, "  read              {} bytes", total(smart.data_units_read).saturating_mul(DATA_UNIT))?;
    writeln!(out, "  written           {} bytes", total(smart.data_units_written).saturating_mul(DATA_UNIT))?;
    writeln!(out, "  power cycles      {}", total(smart.power_cycles))?;
    writeln!(out, "  power-on hours    {}", total(smart.power_on_hours))?;
    writeln!(out, "  unsafe shutdowns  {}", total(smart.unsafe_shutdowns))?;
    writeln!(out, "  media errors      {}", total(smart.media_errors))?;
    writeln!(out, "  error log entries {}", total(smart.error_log_entries))
}

fn write_disk(out: &mut String, disk: &Disk) -> fmt::Result {
    let limits = &disk.limits;
    writeln!(out, "namespace {}", disk.id)?;
    writeln!(out, "  blocks            {} of {} bytes", disk.blocks, limits.block_size)?;
    writeln!(out, "  largest transfer  {} bytes in {} segments", limits.max_transfer, limits.max_segments)?;
    let cache = match limits.write_cache {
        WriteCache::None => "none",
        WriteCache::Volatile { fua: true } => "volatile, with FUA",
        WriteCache::Volatile { fua: false } => "volatile",
    };
    writeln!(out, "  write cache       {cache}")?;
    writeln!(out, "  read-only         {}", if limits.read_only { "yes" } else { "no" })
}
