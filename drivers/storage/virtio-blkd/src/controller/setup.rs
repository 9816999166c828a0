//! Bringing a device up, for the first time and after a reset (section 3.1.1).

use std::sync::Arc;

use redox_driver_sys::{
    irq::{Interrupt, InterruptKind},
    pci::PciFunction,
};
use virtio_core::{Features, QueueOptions, Transport};
use virtio_spec::blk::{BlkConfig, BlkFeatures, DEVICE_TYPE, ID_BYTES, Lifetime, RequestType};
use zerocopy::{FromBytes, FromZeros};

use super::BlkController;
use crate::{
    disk::{self, OVERHEAD, Shape},
    error::{Error, Result},
    io::{Counters, IoQueue},
    options::{MAX_DEPTH, Options},
};

/// Features of the type that are used where they are offered. Not among them: SECURE_ERASE, which no client can ask for, and
/// GEOMETRY, which means nothing.
const WANTED: BlkFeatures = BlkFeatures::SIZE_MAX
    .union(BlkFeatures::SEG_MAX)
    .union(BlkFeatures::RO)
    .union(BlkFeatures::BLK_SIZE)
    .union(BlkFeatures::FLUSH)
    .union(BlkFeatures::TOPOLOGY)
    .union(BlkFeatures::CONFIG_WCE)
    .union(BlkFeatures::MQ)
    .union(BlkFeatures::DISCARD)
    .union(BlkFeatures::WRITE_ZEROES)
    .union(BlkFeatures::LIFETIME);

/// Where the cache is switched.
const WRITEBACK_AT: u64 = std::mem::offset_of!(BlkConfig, writeback) as u64;

fn wanted(options: &Options) -> Features {
    let chosen = [
        (options.packed, Features::RING_PACKED),
        (options.indirect, Features::INDIRECT_DESC),
        (options.event_idx, Features::EVENT_IDX),
        (options.in_order, Features::IN_ORDER),
    ];
    let chosen = chosen.into_iter().filter(|(wanted, _)| *wanted).map(|(_, feature)| feature);
    chosen.collect::<Features>() | Features::NOTIFICATION_DATA | Features::from_bits_retain(WANTED.bits())
}

impl BlkController {
    /// Takes the device over: resets it, negotiates, makes its queues and learns what it is.
    ///
    /// # Errors
    /// What the device or the machine refuses. The device is reset then, and bus mastering off.
    pub fn attach(function: PciFunction, options: Options) -> Result<Self> {
        let name = BlkController::name_at(function.address());
        let mut transport = Transport::attach(function, DEVICE_TYPE)?;
        let offered = transport.offered()?;
        let features = transport.negotiate(wanted(&options))?;
        let mut controller = BlkController {
            transport,
            name,
            features,
            offered,
            config: BlkConfig::new_zeroed(),
            generation: None,
            shape: Shape { sector_shift: 0, size_max: u32::MAX, segments: 1 },
            serial: String::new(),
            lifetime: None,
            disk: None,
            interrupt_kind: InterruptKind::MsiX,
            configuration_interrupt: None,
            configuration_vector: None,
            reason: None,
            shares_interrupt: false,
            queues: Vec::new(),
            queue_count: 0,
            queue_size: 0,
            counters: Arc::new(Counters::default()),
            resets: 0,
            options,
        };
        controller.configure()?;
        controller.make_queues()?;
        controller.transport.start();
        controller.identify()?;
        let made = disk::disk(&controller.config, features, controller.shape, &controller.serial);
        controller.disk = Some(made.map_err(Error::Unusable)?);
        Ok(controller)
    }

    fn has(&self, feature: BlkFeatures) -> bool {
        self.features.bits() & feature.bits() != 0
    }

    /// Reads the configuration, as far as the device has it.
    pub(super) fn read_configuration(&mut self) -> Result<()> {
        let (config, generation) = self.transport.configuration(&BlkConfig::WIDTHS)?;
        (self.config, self.generation) = (config, Some(generation));
        Ok(())
    }

    /// Reads the configuration, and sets what of it can be set.
    fn configure(&mut self) -> Result<()> {
        if let Some(on) = self.options.write_cache {
            if self.has(BlkFeatures::CONFIG_WCE) {
                self.transport.write_configuration(WRITEBACK_AT, u8::from(on))?;
            } else {
                log::warn!("{}: the write cache cannot be switched", self.name);
            }
        }
        self.read_configuration()?;
        if let Some(on) = self.options.write_cache
            && self.has(BlkFeatures::CONFIG_WCE)
            && self.config.writeback != u8::from(on)
        {
            let writeback = self.config.writeback;
            return Err(Error::Unusable(format!(
                "writeback stays {writeback} when it is set to {}",
                u8::from(on)
            )));
        }
        Ok(())
    }

    /// Makes the queues and hands out the interrupts.
    fn make_queues(&mut self) -> Result<()> {
        let offered = if self.has(BlkFeatures::MQ) { self.config.num_queues } else { 1 };
        let offered = offered.min(self.transport.queue_count()?).max(1);
        let mut count = self.options.queues.clamp(1, offered);
        let polled = self.options.polled;

        let wanted = if polled { 1 } else { usize::from(count) + 1 };
        let kind = Error::machine("set up interrupts");
        let interrupts = self.transport.function().interrupts_up_to(wanted, self.options.interrupts);
        let interrupts = interrupts.map_err(kind)?;
        self.interrupt_kind = interrupts.kind();
        let messages = self.interrupt_kind == InterruptKind::MsiX;
        let vectors = interrupts.into_vectors();
        // The first vector is the configuration's. A single one serves everything, through one queue.
        let shared = !polled && vectors.len() == 1;
        if !polled {
            count = count.min(u16::try_from(vectors.len().max(2) - 1).unwrap_or(u16::MAX));
        }
        self.configuration_vector = messages.then_some(0);
        self.shares_interrupt = shared;
        let mut vectors = vectors.into_iter();
        if !shared {
            self.configuration_interrupt = vectors.next();
            self.reason = (!messages).then(|| self.transport.interrupt_status());
        }
        self.transport.set_configuration_vector(self.configuration_vector)?;

        let first_vector = u16::from(!shared);
        for index in 0..count {
            let interrupt = if polled { None } else { vectors.next() };
            let vector = (messages && interrupt.is_some()).then_some(first_vector + index);
            let queue = self.make_queue(index, vector, interrupt)?;
            self.queues.push(queue);
        }
        self.queue_count = count;
        Ok(())
    }

    fn make_queue(
        &mut self,
        index: u16,
        vector: Option<u16>,
        interrupt: Option<Interrupt>,
    ) -> Result<IoQueue> {
        let segments = disk::segments(&self.config, self.features);
        let options = QueueOptions {
            chains: self.options.queue_depth.clamp(1, MAX_DEPTH),
            descriptors: segments + OVERHEAD,
            vector,
            interrupts: interrupt.is_some(),
        };
        let queue = self.transport.queue(index, &options)?;
        let (size, descriptors) = (queue.size(), queue.descriptors());
        let segments = descriptors.checked_sub(OVERHEAD).filter(|&segments| segments > 0).ok_or_else(|| {
            let least = OVERHEAD + 1;
            Error::Unusable(format!(
                "queue {index} has {size} entries, and a request takes {least} without indirect descriptors"
            ))
        })?;
        let shape = Shape::new(&self.config, self.features, segments).map_err(Error::Unusable)?;
        if index > 0 && shape != self.shape {
            return Err(Error::Unusable(format!(
                "queue {index} has {size} entries, others have more or fewer"
            )));
        }
        self.shape = shape;
        self.queue_size = size;
        let depth = self.options.queue_depth.clamp(1, MAX_DEPTH).min(queue.chains(OVERHEAD + 1));
        let pin = interrupt.is_some() && self.interrupt_kind == InterruptKind::Intx;
        let reason = pin.then(|| self.transport.interrupt_status());
        let dma = self.transport.dma();
        IoQueue::new(queue, dma, depth, shape, (interrupt, reason), self.counters.clone())
    }

    /// Asks the device for what is not in its configuration.
    fn identify(&mut self) -> Result<()> {
        let clock = self.transport.clock().clone();
        let tells_lifetime = self.has(BlkFeatures::LIFETIME);
        let Some(queue) = self.queues.first_mut() else { return Ok(()) };
        if let Some(id) = queue.ask::<ID_BYTES>(&clock, RequestType::GET_ID)? {
            self.serial = text(&id);
        }
        if tells_lifetime {
            let lifetime = queue.ask::<{ size_of::<Lifetime>() }>(&clock, RequestType::GET_LIFETIME)?;
            self.lifetime = lifetime.and_then(|bytes| Lifetime::read_from_bytes(&bytes).ok());
        }
        Ok(())
    }

    /// Resets the device and starts it again with the same queues.
    pub(super) fn restart(&mut self, queues: &mut [IoQueue]) -> Result<()> {
        self.transport.reset()?;
        for queue in &mut *queues {
            queue.reset();
        }
        let features = self.transport.negotiate(wanted(&self.options))?;
        if features != self.features {
            return Err(Error::Unusable("another device answers after the reset".to_string()));
        }
        self.configure()?;
        self.check_shape().map_err(|reason| Error::Unusable(format!("after the reset: {reason}")))?;
        // Whatever else is new, a capacity of nothing included, is told when it is looked at next.
        self.generation = None;
        self.transport.set_configuration_vector(self.configuration_vector)?;
        for queue in queues.iter() {
            self.transport.enable_queue(queue.virtqueue())?;
        }
        self.transport.start();
        Ok(())
    }
}

/// What the device calls itself: printable ASCII up to a zero.
fn text(bytes: &[u8]) -> String {
    let bytes = bytes.iter().take_while(|&&byte| byte != 0);
    let printable = |&byte: &u8| if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '?' };
    bytes.map(printable).collect::<String>().trim().to_string()
}
