//! The hand that a test keeps on the controller.

use std::sync::{Arc, Mutex};

use nvme_spec::{CriticalWarning, SmartLog};

use crate::{
    config::NamespaceConfig,
    controller::Controller,
    device::lock,
    fault::{FaultPlan, Faults},
    namespace::Namespace,
    statistics::Statistics,
    violation::Violation,
};

/// What a power cut leaves of the volatile write cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerCut {
    /// Nothing.
    Lost,
    /// Each block or not, by chance.
    Torn,
}

/// Looks into a controller and changes it from outside, wherever it is. Clones are the same.
///
/// What happens here takes effect when the controller runs next: when time passes or a register is accessed.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Mutex<Controller>>);

impl Handle {
    pub(crate) fn new(shared: Arc<Mutex<Controller>>) -> Self {
        Handle(shared)
    }

    /// What was counted.
    pub fn statistics(&self) -> Statistics {
        let controller = lock(&self.0);
        Statistics { interrupts: controller.interrupts.sent(), ..controller.statistics.clone() }
    }

    /// What the host did that it must not, and forgets it.
    pub fn take_violations(&self) -> Vec<Violation> {
        std::mem::take(&mut lock(&self.0).violations)
    }

    /// Installs a fault plan in place of the last one.
    pub fn set_faults(&self, plan: FaultPlan) {
        lock(&self.0).faults = Faults::new(plan);
    }

    /// Data (and metadata) of blocks as the host would read them. Blocks beyond the end read as deallocated ones do;
    /// nothing for a namespace that does not exist.
    pub fn read(&self, nsid: u32, lba: u64, blocks: u64) -> Vec<u8> {
        self.read_with(nsid, lba, blocks, |namespace, lba, block| namespace.medium.read(lba, block))
    }

    /// As [`Self::read`], of what would be left after a power cut.
    pub fn read_durable(&self, nsid: u32, lba: u64, blocks: u64) -> Vec<u8> {
        self.read_with(nsid, lba, blocks, |namespace, lba, block| namespace.medium.read_durable(lba, block))
    }

    fn read_with(
        &self,
        nsid: u32,
        lba: u64,
        blocks: u64,
        read: impl Fn(&Namespace, u64, &mut [u8]),
    ) -> Vec<u8> {
        let controller = lock(&self.0);
        let Some(namespace) = controller.namespaces.get(&nsid) else { return Vec::new() };
        let mut data = Vec::new();
        let mut block = vec![0; namespace.block_bytes()];
        for lba in lba..lba.saturating_add(blocks) {
            read(namespace, lba, &mut block);
            data.extend(&block);
        }
        data
    }

    /// Puts data onto the medium, from block `lba` on. Only whole blocks (with their metadata) are written.
    pub fn write(&self, nsid: u32, lba: u64, data: &[u8]) {
        if let Some(namespace) = lock(&self.0).namespaces.get_mut(&nsid) {
            for (lba, block) in (lba..).zip(data.chunks_exact(namespace.block_bytes())) {
                namespace.medium.write(lba, block, true);
            }
        }
    }

    /// From now on a block cannot be read, until it is written.
    pub fn spoil(&self, nsid: u32, lba: u64) {
        if let Some(namespace) = lock(&self.0).namespaces.get_mut(&nsid) {
            namespace.medium.spoil(lba);
        }
    }

    /// Blocks of a namespace that a power cut would lose.
    pub fn dirty_blocks(&self, nsid: u32) -> usize {
        lock(&self.0).namespaces.get(&nsid).map_or(0, |namespace| namespace.medium.dirty())
    }

    /// Blocks of a namespace that are allocated.
    pub fn allocated_blocks(&self, nsid: u32) -> u64 {
        lock(&self.0).namespaces.get(&nsid).map_or(0, |namespace| namespace.medium.allocated())
    }

    /// Gives a namespace another size; what is beyond its end is gone.
    pub fn resize(&self, nsid: u32, blocks: u64) {
        let mut controller = lock(&self.0);
        if let Some(namespace) = controller.namespaces.get_mut(&nsid) {
            namespace.resize(blocks);
            controller.namespace_changed(nsid);
        }
    }

    /// Adds a namespace, in place of one that has the id. Ids are 1 to NN.
    pub fn add_namespace(&self, nsid: u32, config: NamespaceConfig) {
        let mut controller = lock(&self.0);
        if (1..=controller.config.nn).contains(&nsid) {
            let namespace = Namespace::new(config, controller.config.cache_blocks);
            controller.namespaces.insert(nsid, namespace);
            controller.namespace_changed(nsid);
        }
    }

    /// Takes a namespace away, with all that it holds.
    pub fn remove_namespace(&self, nsid: u32) {
        let mut controller = lock(&self.0);
        if controller.namespaces.remove(&nsid).is_some() {
            controller.namespace_changed(nsid);
        }
    }

    /// Makes a namespace read only, or writable again.
    pub fn set_read_only(&self, nsid: u32, read_only: bool) {
        if let Some(namespace) = lock(&self.0).namespaces.get_mut(&nsid) {
            namespace.config.read_only = read_only;
        }
    }

    /// Sets the critical warnings of the SMART log, except the one of temperature.
    pub fn set_critical_warning(&self, warning: CriticalWarning) {
        let mut controller = lock(&self.0);
        controller.health.warning = warning;
        controller.check_health();
    }

    /// Sets the temperature in kelvin.
    pub fn set_temperature(&self, kelvin: u16) {
        let mut controller = lock(&self.0);
        controller.health.temperature = kelvin;
        controller.check_health();
    }

    /// The SMART log.
    pub fn smart_log(&self) -> SmartLog {
        lock(&self.0).smart_log()
    }

    /// The power state.
    pub fn power_state(&self) -> u8 {
        lock(&self.0).power.state
    }

    /// Whether the controller has a host memory buffer.
    pub fn host_memory_enabled(&self) -> bool {
        lock(&self.0).host_memory.is_enabled()
    }

    /// Whether the volatile write cache is switched on.
    pub fn write_cache_enabled(&self) -> bool {
        lock(&self.0).features.write_cache
    }

    /// Submission and completion queues for I/O that exist.
    pub fn io_queues(&self) -> (usize, usize) {
        let controller = lock(&self.0);
        (controller.sqs.len().saturating_sub(1), controller.cqs.len().saturating_sub(1))
    }

    /// I/O commands that were fetched and are not done.
    pub fn outstanding(&self) -> usize {
        lock(&self.0).commands.io()
    }

    /// Whether CSTS.RDY is set.
    pub fn is_ready(&self) -> bool {
        lock(&self.0).csts.rdy()
    }

    /// The controller fails: CSTS.CFS.
    pub fn fail(&self) {
        lock(&self.0).fail();
    }

    /// Pulls the controller out, or plugs it in again: then it is as after a reset. Registers read as all ones
    /// meanwhile. [`redox_driver_sys::model::Host::set_connected`] does the same to the whole function.
    pub fn set_removed(&self, removed: bool) {
        let mut controller = lock(&self.0);
        controller.reset_function(None);
        controller.removed = removed;
    }

    /// Takes the power away and gives it back: what was not flushed is lost, and the controller is as after a reset.
    pub fn power_cut(&self, cut: PowerCut) {
        let mut guard = lock(&self.0);
        let controller = &mut *guard;
        controller.health.power_cycles += 1;
        let clean = controller.csts.shst() == nvme_spec::registers::Csts::SHST_COMPLETE;
        controller.health.unsafe_shutdowns += u64::from(!clean && controller.csts.rdy());
        let Controller { namespaces, rng, .. } = controller;
        for namespace in namespaces.values_mut() {
            namespace.medium.cut((cut == PowerCut::Torn).then_some(&mut *rng));
        }
        controller.host_memory.forget();
        controller.reset_function(None);
    }
}
