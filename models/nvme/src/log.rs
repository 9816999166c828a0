//! The Get Log Page command (section 5.14).

use std::collections::VecDeque;

use nvme_spec::{
    ALL_NAMESPACES, CompletionStatus, CriticalWarning, ErrorLogEntry, FirmwareSlotLog, LogCdw10, LogCdw11,
    LogPage, NamespaceList, NvmOpcode, SmartEvent, SmartLog, Status,
};
use redox_driver_sys::model::Bus;
use zerocopy::{FromZeros, IntoBytes};

use crate::controller::{Command, Controller, Reply};

/// Longest piece of a log where MDTS does not limit it; no log is longer.
const LONGEST: usize = 1 << 20;
/// Data units of the SMART log are thousands of 512 bytes.
const DATA_UNIT: u64 = 512_000;

/// The error information log.
#[derive(Debug, Default)]
pub(crate) struct ErrorLog {
    /// Newest first.
    entries: VecDeque<ErrorLogEntry>,
    count: u64,
}

impl ErrorLog {
    pub(crate) fn push(&mut self, command: &Command, status: CompletionStatus, most: usize) {
        self.count += 1;
        let io = command.sqid != 0;
        self.entries.push_front(ErrorLogEntry {
            error_count: self.count,
            sqid: command.sqid,
            cid: command.cid(),
            status,
            parameter_location: u16::MAX,
            lba: if io { command.entry.starting_lba() } else { 0 },
            nsid: command.entry.nsid,
            ..ErrorLogEntry::default()
        });
        self.entries.truncate(most);
    }
}

/// What the SMART log tells beside the counters.
#[derive(Debug)]
pub(crate) struct Health {
    pub(crate) warning: CriticalWarning,
    /// Warnings that were there when it was last looked for new ones.
    pub(crate) reported: CriticalWarning,
    /// In kelvin.
    pub(crate) temperature: u16,
    pub(crate) spare: u8,
    pub(crate) unsafe_shutdowns: u64,
    pub(crate) power_cycles: u64,
}

impl Default for Health {
    fn default() -> Self {
        Health {
            warning: CriticalWarning::new(),
            reported: CriticalWarning::new(),
            temperature: 313,
            spare: 100,
            unsafe_shutdowns: 0,
            power_cycles: 1,
        }
    }
}

impl Health {
    /// The event that tells of new warnings.
    pub(crate) fn event(new: u8) -> SmartEvent {
        let new = CriticalWarning::from(new);
        if new.temperature() {
            SmartEvent::TEMPERATURE
        } else if new.spare() {
            SmartEvent::SPARE
        } else {
            SmartEvent::RELIABILITY
        }
    }
}

impl Controller {
    pub(crate) fn get_log_page(&mut self, bus: &mut dyn Bus, command: &Command) -> Reply {
        let entry = &command.entry;
        let cdw10 = LogCdw10::from(entry.cdw10);
        let dwords = u64::from(cdw10.numdl()) | u64::from(LogCdw11::from(entry.cdw11).numdu()) << 16;
        let len = usize::try_from((dwords + 1) * 4).map_err(|_| Status::INVALID_FIELD)?;
        let offset = u64::from(entry.cdw12) | u64::from(entry.cdw13) << 32;
        let page = LogPage(cdw10.lid());
        let log = match page {
            LogPage::ERROR_INFORMATION => self.error_log(),
            LogPage::SMART if [0, ALL_NAMESPACES].contains(&entry.nsid) => {
                self.smart_log().as_bytes().to_vec()
            }
            LogPage::SMART => return Err(Status::INVALID_FIELD),
            LogPage::FIRMWARE_SLOT => self.firmware_log().as_bytes().to_vec(),
            LogPage::CHANGED_NAMESPACE_LIST => self.changed_list().as_bytes().to_vec(),
            _ => return Err(Status::INVALID_LOG_PAGE),
        };
        let start = usize::try_from(offset).ok().filter(|start| start.is_multiple_of(4));
        let rest = start.and_then(|start| log.get(start..)).ok_or(Status::INVALID_FIELD)?;
        if len > self.largest_transfer().min(LONGEST) {
            return Err(Status::INVALID_FIELD);
        }
        // What is read beyond the end of the log is undefined; zeroes here.
        let mut data = vec![0; len];
        for (byte, value) in data.iter_mut().zip(rest) {
            *byte = *value;
        }
        self.send(bus, command, &mut data)?;
        if !cdw10.rae() {
            self.events.log_read(page);
            if page == LogPage::CHANGED_NAMESPACE_LIST {
                self.changed.clear();
            }
        }
        Ok(0)
    }

    fn error_log(&self) -> Vec<u8> {
        let entries = usize::from(self.config.error_log) + 1;
        let mut log: Vec<u8> =
            self.errors.entries.iter().flat_map(|entry| entry.as_bytes().to_vec()).collect();
        log.resize(entries * size_of::<ErrorLogEntry>(), 0);
        log
    }

    pub(crate) fn smart_log(&self) -> SmartLog {
        let counted = &self.statistics;
        let mut log = SmartLog::new_zeroed();
        log.critical_warning = self.health.warning;
        log.temperature = self.health.temperature;
        log.available_spare = self.health.spare;
        log.available_spare_threshold = 10;
        log.data_units_read = [counted.bytes_read.div_ceil(DATA_UNIT), 0];
        log.data_units_written = [counted.bytes_written.div_ceil(DATA_UNIT), 0];
        log.host_reads = [counted.io(NvmOpcode::READ) + counted.io(NvmOpcode::COMPARE), 0];
        log.host_writes = [counted.io(NvmOpcode::WRITE), 0];
        log.power_cycles = [self.health.power_cycles, 0];
        log.unsafe_shutdowns = [self.health.unsafe_shutdowns, 0];
        log.error_log_entries = [self.errors.count, 0];
        log.sensors = [self.health.temperature, 0, 0, 0, 0, 0, 0, 0];
        log
    }

    fn firmware_log(&self) -> FirmwareSlotLog {
        let mut log = FirmwareSlotLog::new_zeroed();
        log.active = 1;
        let [slot, ..] = &mut log.slots;
        slot.fill(b' ');
        for (byte, character) in slot.iter_mut().zip(self.config.firmware.bytes()) {
            *byte = character;
        }
        log
    }

    fn changed_list(&self) -> NamespaceList {
        if self.changed.len() > NamespaceList::default().ids.len() {
            return [NamespaceList::TOO_MANY].into_iter().collect();
        }
        self.changed.iter().copied().collect()
    }
}
