//! What the controller counted.

use std::collections::BTreeMap;

use nvme_spec::{AdminOpcode, NvmOpcode};

/// Counters since the model was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Admin commands fetched, by opcode.
    pub admin: BTreeMap<AdminOpcode, u64>,
    /// I/O commands fetched, by opcode.
    pub io: BTreeMap<NvmOpcode, u64>,
    /// Completions written.
    pub completions: u64,
    /// Completions with an error status.
    pub errors: u64,
    /// Valid writes of submission queue doorbells.
    pub sq_doorbells: u64,
    /// Valid writes of completion queue doorbells.
    pub cq_doorbells: u64,
    /// Interrupt messages sent, or rises of the pin.
    pub interrupts: u64,
    /// Bytes of data read by the host.
    pub bytes_read: u64,
    /// Bytes of data written by the host.
    pub bytes_written: u64,
    /// Blocks deallocated by request.
    pub deallocated: u64,
    /// Times that the controller became ready.
    pub enables: u64,
    /// Controller resets: CC.EN cleared, function level reset, subsystem reset.
    pub resets: u64,
    /// Shutdowns that completed.
    pub shutdowns: u64,
    /// Times that a completion had to wait for room in its queue.
    pub stalls: u64,
    /// Most I/O commands that were outstanding at a time.
    pub most_outstanding: usize,
    /// Commands that Abort found and ended.
    pub aborted: u64,
    /// Power state transitions that the controller made by itself.
    pub idle_transitions: u64,
    /// Pages of the host memory buffer that were looked at.
    pub host_memory_checks: u64,
    /// Faults that were injected.
    pub faults: u64,
}

impl Statistics {
    /// Admin commands with `opcode`.
    pub fn admin(&self, opcode: AdminOpcode) -> u64 {
        self.admin.get(&opcode).copied().unwrap_or(0)
    }

    /// I/O commands with `opcode`.
    pub fn io(&self, opcode: NvmOpcode) -> u64 {
        self.io.get(&opcode).copied().unwrap_or(0)
    }
}
