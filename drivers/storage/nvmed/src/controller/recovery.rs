//! Abort, reset and the orderly end.

use std::time::Duration;

use driver_block::BlockError;
use nvme_spec::AdminOpcode;

use redox_driver_sys::error::chain;

use super::NvmeController;
use crate::{
    error::{Error, Result},
    hmb::HostMemory,
    io::IoQueue,
};

/// A controller that does not tell how long shutting down takes (RTD3E) is given this long.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);
/// RTD3E counts microseconds in 32 bits: nobody waits for more than an hour because a controller says so.
const LONGEST_SHUTDOWN: Duration = Duration::from_secs(60);

impl NvmeController {
    pub(super) fn send_abort(&mut self, queue: u16, handle: u32) -> Result<(), BlockError> {
        let Ok(cid) = u16::try_from(handle) else { return Err(BlockError::Invalid) };
        // ACL is the number of aborts that may be outstanding, less one (section 5.1).
        if self.admin.aborts_outstanding() > usize::from(self.identify.acl) {
            return Err(BlockError::Transient);
        }
        // I/O queue pairs are numbered from 1.
        let sqid = queue.checked_add(1).ok_or(BlockError::Invalid)?;
        log::warn!("{}: abort command {cid:#06x} of queue {sqid}", self.name);
        if self.admin.abort(sqid, cid) { Ok(()) } else { Err(BlockError::TimedOut) }
    }

    /// Stops the controller, by whatever works, and starts it again with the same queues.
    pub(super) fn restart(&mut self, queues: &mut [IoQueue]) -> Result<()> {
        self.admin.close();
        if let Err(error) = self.running.registers.disable() {
            if matches!(&error, Error::Machine { source, .. } if source.is_gone()) {
                return Err(error);
            }
            log::warn!("{}: {}; resetting the function", self.name, chain(&error));
            self.running.function.reset().map_err(Error::machine("reset the function"))?;
            self.running.function.enable_memory().map_err(Error::machine("enable memory accesses"))?;
            self.running.registers.disable()?;
            self.running.function.set_bus_master(true).map_err(Error::machine("enable bus mastering"))?;
        }
        for queue in &mut *queues {
            queue.reset();
        }
        let serial = self.identify.sn;
        self.start()?;
        if self.identify.sn != serial {
            return Err(Error::Unusable("another controller answers after the reset".to_string()));
        }
        let granted = self.grant_queues(self.queue_count)?;
        if granted < self.queue_count {
            return Err(Error::Unusable(format!(
                "{granted} I/O queues after the reset, {} before",
                self.queue_count
            )));
        }
        self.create_queues(queues)?;
        self.configure();
        self.scan()
    }

    /// Takes the queues and the host memory back and lets the controller write its caches (section 7.6.2).
    pub(super) fn end(&mut self, queues: &[IoQueue]) -> Result<()> {
        let timeout =
            Duration::from_micros(self.identify.rtd3e.into()).clamp(SHUTDOWN_TIMEOUT, LONGEST_SHUTDOWN);
        let orderly = self.delete_queues(queues).and_then(|()| {
            if self.host_memory.is_some() { HostMemory::disable(&mut self.admin) } else { Ok(()) }
        });
        if let Err(error) = &orderly {
            self.log_failure("end", error);
        }
        self.admin.close();
        self.running.registers.shut_down(timeout)?;
        self.running.registers.disable()?;
        self.host_memory = None;
        Ok(())
    }

    fn delete_queues(&mut self, queues: &[IoQueue]) -> Result<()> {
        for opcode in [AdminOpcode::DELETE_IO_SQ, AdminOpcode::DELETE_IO_CQ] {
            for queue in queues {
                self.delete_queue(opcode, queue.pair().id())?;
            }
        }
        Ok(())
    }
}
