//! The Get Features and Set Features commands (sections 5.13 and 5.21).

use nvme_spec::{
    ApstTable, Arbitration, AsyncEventConfig, FeatureCdw10, FeatureId, FeatureSelect, HmbDescriptor,
    HostMemoryBuffer, InterruptCoalescing, InterruptVectorConfig, NumberOfQueues, PowerManagement, Status,
    TemperatureThreshold, Timestamp, VolatileWriteCache,
};
use redox_driver_sys::{model::Bus, time::Time};
use zerocopy::{FromZeros, IntoBytes};

use crate::{
    config::Config,
    controller::{Command, Controller, Reply},
    power::is_non_operational,
};

/// HMMAXD, NPSS and so on are units of 4 KiB whatever the memory page is.
const UNIT: u64 = 4096;
/// Most host memory descriptors where HMMAXD does not limit them.
const MOST_DESCRIPTORS: u32 = 4096;

/// Current values.
#[derive(Debug)]
pub(crate) struct Features {
    pub(crate) arbitration: Arbitration,
    pub(crate) over_temperature: u16,
    pub(crate) under_temperature: u16,
    error_recovery: u32,
    pub(crate) write_cache: bool,
    /// I/O queues that may be created.
    pub(crate) submission_queues: u16,
    pub(crate) completion_queues: u16,
    write_atomicity: u32,
    pub(crate) async_events: AsyncEventConfig,
    /// Milliseconds that were set, and when.
    timestamp: Option<(u64, Time)>,
    /// Command dwords 12 to 15 of the host memory buffer.
    host_memory: [u32; 4],
}

impl Features {
    pub(crate) fn new(config: &Config) -> Self {
        Features {
            arbitration: Arbitration::new().with_burst(7),
            over_temperature: config.temperatures.0,
            under_temperature: 0,
            error_recovery: 0,
            write_cache: config.write_cache,
            submission_queues: config.queues,
            completion_queues: config.queues,
            write_atomicity: 0,
            async_events: AsyncEventConfig::new(),
            timestamp: None,
            host_memory: [0; 4],
        }
    }
}

impl Controller {
    pub(crate) fn get_features(&mut self, bus: &mut dyn Bus, command: &Command) -> Reply {
        let cdw10 = FeatureCdw10::from(command.entry.cdw10);
        let id = FeatureId(cdw10.fid());
        match FeatureSelect(cdw10.sel()) {
            FeatureSelect::CURRENT => {
                let (value, mut data) = self.feature(id, command.entry.cdw11, bus.now())?;
                self.send(bus, command, &mut data)?;
                Ok(value)
            }
            // Nothing is saveable, so that the saved value is the default.
            FeatureSelect::DEFAULT | FeatureSelect::SAVED => {
                let mut fresh = Controller::new(self.config.clone());
                let (value, mut data) = fresh.feature(id, command.entry.cdw11, bus.now())?;
                self.send(bus, command, &mut data)?;
                Ok(value)
            }
            // Bit 2: changeable.
            FeatureSelect::CAPABILITIES => self.feature(id, command.entry.cdw11, bus.now()).map(|_| 1 << 2),
            _ => Err(Status::INVALID_FIELD),
        }
    }

    /// The value of a feature and the data that go with it.
    fn feature(&mut self, id: FeatureId, cdw11: u32, now: Time) -> Result<(u32, Vec<u8>), Status> {
        let features = &self.features;
        let value = match id {
            FeatureId::ARBITRATION => features.arbitration.into(),
            FeatureId::POWER_MANAGEMENT => PowerManagement::new().with_power_state(self.power.state).into(),
            FeatureId::TEMPERATURE_THRESHOLD => {
                let which = TemperatureThreshold::from(cdw11);
                let kelvin = match (which.sensor(), which.kind()) {
                    (0, TemperatureThreshold::OVER) => features.over_temperature,
                    (0, TemperatureThreshold::UNDER) => features.under_temperature,
                    _ => return Err(Status::INVALID_FIELD),
                };
                which.with_kelvin(kelvin).into()
            }
            FeatureId::ERROR_RECOVERY => features.error_recovery,
            FeatureId::VOLATILE_WRITE_CACHE if self.config.write_cache => {
                VolatileWriteCache::new().with_enable(features.write_cache).into()
            }
            FeatureId::NUMBER_OF_QUEUES => self.number_of_queues(),
            FeatureId::INTERRUPT_COALESCING => self.interrupts.coalescing.into(),
            FeatureId::INTERRUPT_VECTOR_CONFIG => {
                let vector = InterruptVectorConfig::from(cdw11).vector();
                self.check_vector(vector)?;
                let exempt = vector == 0 || self.interrupts.exempt.contains(&vector);
                InterruptVectorConfig::new().with_vector(vector).with_coalescing_disable(exempt).into()
            }
            FeatureId::WRITE_ATOMICITY => features.write_atomicity,
            FeatureId::ASYNC_EVENT_CONFIG => features.async_events.into(),
            FeatureId::AUTONOMOUS_POWER_STATE_TRANSITION if self.config.apst => {
                return Ok((self.power.autonomous.into(), self.power.table.as_bytes().to_vec()));
            }
            FeatureId::HOST_MEMORY_BUFFER if self.config.host_memory.preferred > 0 => {
                let enabled = HostMemoryBuffer::new().with_enable(self.host_memory.is_enabled());
                let mut data = features.host_memory.as_bytes().to_vec();
                data.resize(4096, 0);
                return Ok((enabled.into(), data));
            }
            FeatureId::TIMESTAMP => {
                let stamp = features.timestamp.map_or_else(
                    || Timestamp::at(now.since(Time::default()).as_millis().try_into().unwrap_or(u64::MAX)),
                    |(millis, set)| {
                        let passed = now.since(set).as_millis().try_into().unwrap_or(u64::MAX);
                        // Origin 1: counting since the host set it.
                        Timestamp { attributes: 1 << 1, ..Timestamp::at(millis.saturating_add(passed)) }
                    },
                );
                return Ok((0, stamp.as_bytes().to_vec()));
            }
            _ => return Err(Status::INVALID_FIELD),
        };
        Ok((value, Vec::new()))
    }

    pub(crate) fn set_features(&mut self, bus: &mut dyn Bus, command: &Command) -> Reply {
        let entry = &command.entry;
        let cdw10 = FeatureCdw10::from(entry.cdw10);
        let id = FeatureId(cdw10.fid());
        if cdw10.sv() {
            return Err(Status::FEATURE_NOT_SAVEABLE);
        }
        let value = entry.cdw11;
        match id {
            FeatureId::ARBITRATION => self.features.arbitration = value.into(),
            FeatureId::POWER_MANAGEMENT => {
                let state = PowerManagement::from(value).power_state();
                if usize::from(state) >= self.config.power_states.len() {
                    return Err(Status::INVALID_FIELD);
                }
                self.power.set(&self.config.power_states, state, bus.now());
            }
            FeatureId::TEMPERATURE_THRESHOLD => {
                let threshold = TemperatureThreshold::from(value);
                match (threshold.sensor(), threshold.kind()) {
                    (0 | 15, TemperatureThreshold::OVER) => {
                        self.features.over_temperature = threshold.kelvin();
                    }
                    (0 | 15, TemperatureThreshold::UNDER) => {
                        self.features.under_temperature = threshold.kelvin();
                    }
                    _ => return Err(Status::INVALID_FIELD),
                }
                self.check_health();
            }
            FeatureId::ERROR_RECOVERY => self.features.error_recovery = value,
            FeatureId::VOLATILE_WRITE_CACHE if self.config.write_cache => {
                self.features.write_cache = VolatileWriteCache::from(value).enable();
                if !self.features.write_cache {
                    self.flush_all();
                }
            }
            FeatureId::NUMBER_OF_QUEUES => return self.set_number_of_queues(value.into()),
            FeatureId::INTERRUPT_COALESCING => {
                self.interrupts.coalescing = InterruptCoalescing::from(value & 0xffff);
            }
            FeatureId::INTERRUPT_VECTOR_CONFIG => {
                let config = InterruptVectorConfig::from(value);
                self.check_vector(config.vector())?;
                if config.coalescing_disable() {
                    self.interrupts.exempt.insert(config.vector());
                } else {
                    self.interrupts.exempt.remove(&config.vector());
                }
            }
            FeatureId::WRITE_ATOMICITY => self.features.write_atomicity = value & 1,
            FeatureId::ASYNC_EVENT_CONFIG => self.features.async_events = value.into(),
            FeatureId::AUTONOMOUS_POWER_STATE_TRANSITION if self.config.apst => {
                return self.set_transitions(bus, command);
            }
            FeatureId::HOST_MEMORY_BUFFER if self.config.host_memory.preferred > 0 => {
                return self.set_host_memory(bus, command);
            }
            FeatureId::TIMESTAMP => {
                let mut stamp = Timestamp::default();
                self.receive(bus, command, stamp.as_mut_bytes())?;
                self.features.timestamp = Some((stamp.as_millis(), bus.now()));
            }
            _ => return Err(Status::INVALID_FIELD),
        }
        Ok(0)
    }

    fn check_vector(&self, vector: u16) -> Result<(), Status> {
        let vectors = self.config.msix_vectors.max(self.config.msi_vectors.into()).max(1);
        if vector < vectors { Ok(()) } else { Err(Status::INVALID_FIELD) }
    }

    fn number_of_queues(&self) -> u32 {
        NumberOfQueues::new()
            .with_submission(self.features.submission_queues.saturating_sub(1))
            .with_completion(self.features.completion_queues.saturating_sub(1))
            .into()
    }

    fn set_number_of_queues(&mut self, wanted: NumberOfQueues) -> Reply {
        if wanted.submission() == u16::MAX || wanted.completion() == u16::MAX {
            return Err(Status::INVALID_FIELD);
        }
        // The admin queues are there in any case.
        if self.sqs.len() > 1 || self.cqs.len() > 1 {
            return Err(Status::SEQUENCE_ERROR);
        }
        self.features.submission_queues = (wanted.submission() + 1).min(self.config.queues);
        self.features.completion_queues = (wanted.completion() + 1).min(self.config.queues);
        Ok(self.number_of_queues())
    }

    fn set_transitions(&mut self, bus: &mut dyn Bus, command: &Command) -> Reply {
        let mut table = ApstTable::new_zeroed();
        self.receive(bus, command, table.as_mut_bytes())?;
        let states = &self.config.power_states;
        let wrong = |state: u8| usize::from(state) >= states.len() || !is_non_operational(states, state);
        let entries = table.entries.iter().take(states.len());
        if entries.clone().any(|entry| entry.idle_ms() != 0 && wrong(entry.power_state())) {
            return Err(Status::INVALID_FIELD);
        }
        self.power.autonomous = command.entry.cdw11 & 1 != 0;
        self.power.table = table;
        self.power.active(bus.now());
        Ok(0)
    }

    fn set_host_memory(&mut self, bus: &mut dyn Bus, command: &Command) -> Reply {
        let entry = &command.entry;
        let wanted = HostMemoryBuffer::from(entry.cdw11);
        if !wanted.enable() {
            self.host_memory.disable();
            return Ok(0);
        }
        if self.host_memory.is_enabled() {
            return Err(Status::SEQUENCE_ERROR);
        }
        let wishes = self.config.host_memory;
        let page = self.page();
        let most = if wishes.descriptors == 0 { MOST_DESCRIPTORS } else { wishes.descriptors.into() };
        let size = u64::from(entry.cdw12).saturating_mul(page);
        let list = u64::from(entry.cdw13) | u64::from(entry.cdw14) << 32;
        if size < u64::from(wishes.minimum) * UNIT || entry.cdw15 > most || !list.is_multiple_of(16) {
            return Err(Status::INVALID_FIELD);
        }
        let mut areas = Vec::new();
        for index in 0..u64::from(entry.cdw15) {
            let mut descriptor = HmbDescriptor::default();
            let at = list.wrapping_add(index * size_of::<HmbDescriptor>() as u64);
            bus.dma_read(at, descriptor.as_mut_bytes()).map_err(|_| Status::DATA_TRANSFER_ERROR)?;
            let len = u64::from(descriptor.pages).saturating_mul(page);
            let small = len < u64::from(wishes.descriptor_minimum) * UNIT || len == 0;
            // A whole buffer at the end of the address space would wrap.
            if small
                || !descriptor.address.is_multiple_of(page)
                || descriptor.address.checked_add(len).is_none()
            {
                return Err(Status::INVALID_FIELD);
            }
            areas.push((descriptor.address, len));
        }
        if areas.iter().fold(0u64, |sum, &(_, len)| sum.saturating_add(len)) != size {
            return Err(Status::INVALID_FIELD);
        }
        self.features.host_memory = [entry.cdw12, entry.cdw13, entry.cdw14, entry.cdw15];
        if let Some(violation) = self.host_memory.enable(bus, &areas, page, wanted.memory_return()) {
            self.note(violation);
        }
        Ok(0)
    }
}
