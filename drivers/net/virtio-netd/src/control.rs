//! Commands to the device (section 5.1.6.5).

use std::time::Duration;

use driver_network::{MacAddress, Settings};
use redox_driver_sys::{
    dma::{DmaAllocator, DmaBuffer},
    time::Clock,
};
use virtio_core::{AddError, Chain, VirtQueue};
use virtio_spec::net::{
    NetFeatures,
    control::{Ack, Command},
};
use zerocopy::IntoBytes;

use crate::error::{Error, Result};

/// How long the device may take for a command.
const TIMEOUT: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_micros(20);
/// Commands and their data; the acknowledgement is behind them.
const ROOM: usize = 4095;
/// Most addresses of a table, stations and groups; of more everything is received.
const MOST_ADDRESSES: usize = 512;
/// What an acknowledgement is before the device has written it: none of the values that are defined.
const UNWRITTEN: Ack = Ack(0xff);

/// The control queue. One command at a time.
#[derive(Debug)]
pub(crate) struct Control {
    queue: VirtQueue,
    memory: DmaBuffer,
    /// The device still has a command that it did not answer in time, or has broken the queue.
    pub(crate) stuck: bool,
}

impl Control {
    pub(crate) fn new(queue: VirtQueue, dma: &DmaAllocator) -> Result<Self> {
        let memory = dma.allocate(ROOM + 1).map_err(Error::machine("allocate memory of commands"))?;
        Ok(Control { queue, memory, stuck: false })
    }

    pub(crate) fn queue(&self) -> &VirtQueue {
        &self.queue
    }

    /// The device was reset.
    pub(crate) fn reset(&mut self) {
        self.queue.reset();
        self.stuck = false;
    }

    /// Has the device do something, and waits for its answer.
    pub(crate) fn command(&mut self, clock: &Clock, command: Command, data: &[u8]) -> Result<()> {
        let memory = || Error::machine("write a command");
        if self.stuck {
            return Err(Error::NoAnswer { command, after: Duration::ZERO });
        }
        self.memory.copy_from(0, command.as_bytes()).map_err(memory())?;
        self.memory.copy_from(size_of::<Command>(), data).map_err(memory())?;
        self.memory.write(ROOM, UNWRITTEN).map_err(memory())?;
        let len = u32::try_from(size_of::<Command>() + data.len()).unwrap_or(u32::MAX);
        let readable = [self.memory.segment(0, len).map_err(memory())?];
        let writable = [self.memory.segment(ROOM, 1).map_err(memory())?];
        self.stuck = true;
        let failed = |source| Error::Control { command, source };
        let chain = Chain { readable: [&readable, &[]], writable: [&writable, &[]] };
        self.queue.add(&chain, 0).map_err(failed)?;
        self.queue.commit();
        let deadline = clock.deadline(TIMEOUT);
        loop {
            let late = deadline.passed(clock);
            if self.queue.pop().map_err(|error| failed(AddError::Broken(error)))?.is_some() {
                break;
            }
            if late {
                return Err(Error::NoAnswer { command, after: TIMEOUT });
            }
            clock.sleep(POLL);
        }
        self.stuck = false;
        match self.memory.read::<Ack>(ROOM).map_err(memory())? {
            Ack::OK => Ok(()),
            ack => Err(Error::Refused { command, ack }),
        }
    }

    /// Has the device receive what `settings` say, as far as it filters.
    pub(crate) fn filter(&mut self, clock: &Clock, settings: &Settings) -> Result<()> {
        let filter = &settings.filter;
        let fits = filter.unicast.len() + filter.multicast.len() <= MOST_ADDRESSES;
        let promiscuous = filter.promiscuous || (!fits && !filter.unicast.is_empty());
        self.command(clock, Command::RX_PROMISC, &[promiscuous.into()])?;
        self.command(clock, Command::RX_ALLMULTI, &[(filter.all_multicast || !fits).into()])?;
        let [unicast, multicast]: [&[MacAddress]; 2] =
            if fits { [&filter.unicast, &filter.multicast] } else { [&[], &[]] };
        let mut table = Vec::with_capacity(8 + 6 * (unicast.len() + multicast.len()));
        for addresses in [unicast, multicast] {
            table.extend(u32::try_from(addresses.len()).unwrap_or(0).to_le_bytes());
            table.extend(addresses.iter().flat_map(|address| address.0));
        }
        self.command(clock, Command::MAC_TABLE_SET, &table)
    }

    /// Has the device leave to the driver only what `offloads` say.
    pub(crate) fn guest_offloads(&mut self, clock: &Clock, offloads: NetFeatures) -> Result<()> {
        self.command(clock, Command::GUEST_OFFLOADS_SET, &offloads.bits().to_le_bytes())
    }
}
