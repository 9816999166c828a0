//! Asynchronous events (section 5.2).

use driver_block::{ControllerEvent, Disk};
use nvme_spec::{
    ALL_NAMESPACES, AsyncEvent, ErrorEvent, ErrorLogEntry, EventType, LogPage, NamespaceList, NoticeEvent,
    SmartEvent, SmartLog,
};

use redox_driver_sys::error::chain;

use super::NvmeController;
use crate::{
    admin::Unsolicited,
    error::{Error, Result},
};

impl NvmeController {
    /// Takes what the controller said by itself and reports what concerns the block layer.
    pub(super) fn serve_events(&mut self, events: &mut Vec<ControllerEvent>) -> Result<()> {
        let status = self.running.registers.status().map_err(Error::machine("read the status"))?;
        if status.cfs() {
            events.push(ControllerEvent::ResetNeeded("fatal status (CSTS.CFS)".to_string()));
            return Ok(());
        }
        let mut came = None;
        let mut refused = None;
        self.admin.poll(|unsolicited| match unsolicited {
            Unsolicited::Event(event) => came = Some(event),
            Unsolicited::EventRefused(status) => refused = Some(status),
            Unsolicited::Abort => {}
        });
        if let Some(status) = refused {
            // Asking again would be refused again, for ever.
            log::warn!("{}: no asynchronous events: {status}", self.name);
        }
        if let Some(event) = came {
            self.events += 1;
            let served = self.serve_event(event, events);
            // Whatever came of this one, the next one is wanted.
            self.admin.request_event();
            served?;
        }
        Ok(())
    }

    /// Reading the log page that an event names lets the next one of its type come.
    fn serve_event(&mut self, event: AsyncEvent, events: &mut Vec<ControllerEvent>) -> Result<()> {
        match event.kind() {
            EventType::NOTICE if event.info() == NoticeEvent::NAMESPACE_CHANGED.0 => {
                let _: NamespaceList = self.admin.log(LogPage::CHANGED_NAMESPACE_LIST, ALL_NAMESPACES)?;
                self.rescan(events)
            }
            EventType::SMART => {
                let log: SmartLog = self.admin.log(LogPage::SMART, ALL_NAMESPACES)?;
                let what = SmartEvent(event.info());
                log::warn!("{}: {what}: {:?}", self.name, log.critical_warning);
                Ok(())
            }
            EventType::ERROR => {
                let what = ErrorEvent(event.info());
                let log: ErrorLogEntry = self.admin.log(LogPage::ERROR_INFORMATION, ALL_NAMESPACES)?;
                let (sqid, cid, status) = (log.sqid, log.cid, log.status.status());
                log::error!("{}: {what}: queue {sqid}, command {cid:#06x}: {status}", self.name);
                if what == ErrorEvent::PERSISTENT_INTERNAL_ERROR {
                    events.push(ControllerEvent::ResetNeeded(what.to_string()));
                }
                Ok(())
            }
            kind => {
                log::info!("{}: event: {kind}, information {:#04x}", self.name, event.info());
                let page = LogPage(event.log_page());
                if let Err(error) = self.admin.log::<[u8; 512]>(page, ALL_NAMESPACES) {
                    log::debug!("{}: {}", self.name, chain(&error));
                }
                Ok(())
            }
        }
    }

    fn rescan(&mut self, events: &mut Vec<ControllerEvent>) -> Result<()> {
        let before = std::mem::take(&mut self.disks);
        if let Err(error) = self.scan() {
            self.disks = before;
            return Err(error);
        }
        let known = |disks: &[Disk], disk: &Disk| disks.iter().any(|other| other.id == disk.id);
        events.extend(
            before
                .iter()
                .filter(|disk| !known(&self.disks, disk))
                .map(|d| ControllerEvent::DiskRemoved(d.id)),
        );
        let changed = self.disks.iter().filter(|disk| !before.contains(disk)).cloned();
        events.extend(changed.map(ControllerEvent::DiskChanged));
        Ok(())
    }
}
