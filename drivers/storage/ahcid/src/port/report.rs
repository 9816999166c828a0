//! What a port tells of itself, for people.

use std::fmt::{self, Write};

use driver_block::{Disk, WriteCache};

use super::{Port, jobs::Job, states::State};
use crate::drive::{Class, Drive};

impl Port {
    /// Asks the disks for what a report needs.
    pub(crate) fn ask_for_report(&mut self) {
        self.smart.clear();
        if self.state != State::Running {
            return;
        }
        let capable = |drive: &Drive| {
            drive.class == Class::Ata && drive.identify.has_smart() && drive.identify.smart_enabled()
        };
        let jobs: Vec<Job> = self
            .devices
            .iter()
            .filter(|device| capable(&device.drive))
            .flat_map(|device| {
                let pm_port = device.pm_port;
                [Job::SmartStatus { pm_port }, Job::SmartData { pm_port }]
            })
            .collect();
        self.jobs.extend(jobs);
    }

    /// Appends the report.
    pub(crate) fn report(&self, out: &mut String) {
        // Writing to a string does not fail.
        let _ = self.write_report(out);
    }

    fn write_report(&self, out: &mut String) -> fmt::Result {
        let link = self.regs.ssts.read();
        writeln!(out, "port {}", self.number)?;
        match self.state {
            State::Empty => return writeln!(out, "  state             empty"),
            State::Off(why) => writeln!(out, "  state             given up: {why}")?,
            State::Running | State::Diagnosing => writeln!(out, "  state             serving")?,
            _ => writeln!(out, "  state             finding out what is there")?,
        }
        let state = match link.ipm() {
            1 => "active",
            2 => "partial",
            6 => "slumber",
            8 => "device sleep",
            _ => "down",
        };
        writeln!(out, "  link              generation {}, {state}", link.spd())?;
        if let Some(ports) = self.link.multiplier {
            let how = if self.fbs { "FIS-based" } else { "command-based" };
            writeln!(out, "  port multiplier   {ports} ports, {how} switching")?;
        }
        let counters = self.counters;
        writeln!(out, "  resets            {}", counters.resets)?;
        writeln!(
            out,
            "  errors            {} of devices, {} of the link, {} of the bus",
            counters.device_errors, counters.link_errors, counters.bus_errors
        )?;
        writeln!(out, "  timeouts          {}", counters.timeouts)?;
        for device in &self.devices {
            writeln!(out, "device {}", device.id)?;
            write_drive(out, &device.drive)?;
            match &device.disk {
                Some(disk) => write_disk(out, disk)?,
                None => writeln!(out, "  medium            none")?,
            }
            for (_, text) in self.smart.iter().filter(|(pm_port, _)| *pm_port == device.pm_port) {
                out.write_str(text)?;
            }
        }
        for refused in &self.refused {
            writeln!(out, "not served: {refused}")?;
        }
        Ok(())
    }
}

fn write_drive(out: &mut String, drive: &Drive) -> fmt::Result {
    let identify = &drive.identify;
    writeln!(out, "  model             {}", identify.model())?;
    writeln!(out, "  serial            {}", identify.serial())?;
    writeln!(out, "  firmware          {}", identify.firmware())?;
    if let Some(wwn) = identify.wwn() {
        writeln!(out, "  world wide name   {wwn:016x}")?;
    }
    let features = [
        ("lba48", identify.has_lba48()),
        ("ncq", identify.has_ncq()),
        ("fua", identify.has_fua()),
        ("trim", identify.has_trim()),
        ("queued-trim", drive.queued_trim),
        ("smart", identify.has_smart()),
        ("hipm", identify.has_hipm()),
        ("dipm", identify.has_dipm()),
        ("devslp", identify.has_devslp()),
    ];
    let names: Vec<_> = features.iter().filter(|(_, offered)| *offered).map(|(name, _)| *name).collect();
    writeln!(out, "  features          {}", names.join(" "))?;
    if drive.class == Class::Ata {
        let queue = if drive.ncq { identify.queue_depth().to_string() } else { "no queuing".to_string() };
        writeln!(out, "  queue depth       {queue}")?;
        match identify.rotation_rate() {
            Some(rate) => writeln!(out, "  turns             {rate} per minute")?,
            None if identify.is_rotational() => writeln!(out, "  turns             at an unknown rate")?,
            None => writeln!(out, "  turns             no")?,
        }
        let trimmed =
            match (identify.has_trim(), identify.trim_is_deterministic(), identify.trim_reads_zeroes()) {
                (false, ..) => "no trim",
                (_, _, true) => "read as zeroes (RZAT)",
                (_, true, _) => "read the same every time (DRAT)",
                _ => "may read as anything",
            };
        writeln!(out, "  trimmed blocks    {trimmed}")?;
    }
    Ok(())
}

fn write_disk(out: &mut String, disk: &Disk) -> fmt::Result {
    let limits = &disk.limits;
    let (size, physical) = (limits.block_size, limits.physical_block_size);
    writeln!(out, "  blocks            {} of {size} bytes (physical {physical})", disk.blocks)?;
    writeln!(out, "  largest transfer  {} bytes in {} segments", limits.max_transfer, limits.max_segments)?;
    let cache = match limits.write_cache {
        WriteCache::None => "none",
        WriteCache::Volatile { fua: true } => "volatile, with FUA",
        WriteCache::Volatile { fua: false } => "volatile",
    };
    writeln!(out, "  write cache       {cache}")?;
    writeln!(out, "  read-only         {}", if limits.read_only { "yes" } else { "no" })
}
