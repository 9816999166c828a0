//! Who may what: clients, and what belongs to them.

mod client;
mod devices;
mod events;
mod inspect;
mod requests;

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::{BorrowedFd, OwnedFd},
};

use amd_vi_spec::DomainId;
use client::Client;
pub use client::{Caller, Limits};
use devices::{Devices, Place};
use events::Recent;
use iommu_protocol::{Device, Reply, Request, RequestHeader};
use redox_driver_sys::{
    dma::{DmaAllocator, DmaPages},
    time::Clock,
};

use crate::{
    domain::Invalidate,
    error::{Error, Result},
    table::PageSizes,
    unit::{Unclaimed, Unit},
};

/// What the system the daemon runs on must do for it.
pub trait System {
    /// Memory of a client whose descriptor it passed, under physical addresses, kept where it is while this lives.
    ///
    /// # Errors
    /// [`Error::Unusable`] when it is no memory object that can be kept so.
    fn adopt(&self, memory: BorrowedFd<'_>, most: u64) -> Result<DmaPages>;
    /// New memory, and a descriptor with which a client can map it.
    ///
    /// # Errors
    /// No memory.
    fn allocate(&self, len: u64) -> Result<(DmaPages, OwnedFd)>;
    /// Whether a descriptor shows that whoever passed it holds a device.
    ///
    /// # Errors
    /// [`Error::Denied`] when it does not.
    fn check_holder(&self, descriptor: BorrowedFd<'_>, device: Device) -> Result<()>;
}

/// How the daemon behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// What devices may that nobody has claimed.
    pub unclaimed: Unclaimed,
    /// What a client may have.
    pub limits: Limits,
    /// Sizes of pages that units understand.
    pub sizes: PageSizes,
}

/// The name of a connection.
pub type ClientId = u64;

/// Units that there can be: a set of them is a word.
const MOST_UNITS: usize = u64::BITS as usize;

/// All units, and all clients.
pub struct Service {
    units: Vec<Unit>,
    memory: DmaAllocator,
    system: Box<dyn System>,
    clock: Clock,
    options: Options,
    clients: BTreeMap<ClientId, Client>,
    devices: Devices,
    /// The domain id that was given out last.
    last_domain: u16,
    recent: Recent,
    requests: u64,
    refused: u64,
}

/// The units that a domain has been in, as far as it is about forgetting.
struct Batch<'a> {
    units: &'a mut [Unit],
    /// Bit n: unit n.
    of: u64,
}

impl Batch<'_> {
    fn each(&mut self) -> impl Iterator<Item = &mut Unit> {
        let of = self.of;
        self.units.iter_mut().enumerate().filter(move |(n, _)| of & 1 << n != 0).map(|(_, unit)| unit)
    }
}

impl Invalidate for Batch<'_> {
    fn invalidate(&mut self, domain: DomainId, start: u64, len: u64, tables: bool) {
        self.each().for_each(|unit| unit.invalidate(domain, start, len, tables));
    }

    fn invalidate_domain(&mut self, domain: DomainId) {
        self.each().for_each(|unit| unit.invalidate_domain(domain));
    }

    fn remembers_absence(&self) -> bool {
        let mut units = self.units.iter().enumerate();
        units.any(|(n, unit)| self.of & 1 << n != 0 && unit.capabilities().not_present_cached)
    }

    fn sync(&mut self) -> Result<()> {
        // All of them: one that fails is no reason for the others to remember.
        let mut result = Ok(());
        for unit in self.each() {
            result = result.and(unit.sync());
        }
        Ok(result?)
    }
}

impl Service {
    /// Takes units that are not enabled yet, and enables them: devices may then what the options say, and use what firmware
    /// reserves for them. `memory` gives out physical memory for tables.
    ///
    /// # Errors
    /// When a unit cannot be enabled, there are more than 64, or there is no memory.
    pub fn new(
        mut units: Vec<Unit>,
        memory: DmaAllocator,
        clock: Clock,
        system: Box<dyn System>,
        options: Options,
    ) -> Result<Self> {
        if units.len() > MOST_UNITS {
            return Err(Error::Quota { what: "units", quota: MOST_UNITS as u64 });
        }
        let mut last_domain = 0;
        let devices = Devices::new(&mut units, &memory, &options, &mut last_domain)?;
        for unit in &mut units {
            unit.enable()?;
        }
        Ok(Service {
            units,
            memory,
            system,
            clock,
            options,
            clients: BTreeMap::new(),
            devices,
            last_domain,
            recent: Recent::default(),
            requests: 0,
            refused: 0,
        })
    }

    /// A client has come.
    pub fn connect(&mut self, id: ClientId, caller: Caller) {
        self.clients.insert(id, Client::new(caller));
    }

    /// Number of clients.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// The units.
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// Disables the units: all devices reach everything, as if there were no IOMMU.
    ///
    /// # Errors
    /// When one does not stop, or is gone.
    pub fn disable(&mut self) -> Result<()> {
        self.units.iter_mut().try_for_each(|unit| Ok(unit.disable()?))
    }

    /// A client has gone: what was its is nobody's, and out of every device's reach when this returns.
    pub fn disconnect(&mut self, id: ClientId) {
        self.take_events();
        let Some(mut client) = self.clients.remove(&id) else { return };
        if let Err(error) = self.end_client(&mut client) {
            log::error!("{}: what its devices might still reach stays out of use: {error}", client.caller);
        }
    }

    /// Ends whatever can be ended, and tells of the first error.
    fn end_client(&mut self, client: &mut Client) -> Result<()> {
        let mut result = Ok(());
        let mut reached = BTreeSet::new();
        // First all devices, so that nothing is reached any more, then the rest.
        for (device, domain) in std::mem::take(&mut client.devices) {
            if let Err(error) = self.devices.release(&mut self.units, device, &self.options) {
                reached.insert(domain);
                result = result.and(Err(error));
            }
        }
        for (handle, owned) in std::mem::take(&mut client.domains) {
            if reached.contains(&handle) {
                // With the memory that is mapped in it.
                std::mem::forget(owned);
                continue;
            }
            let mut batch = Batch { units: &mut self.units, of: owned.units };
            result = result.and(owned.domain.end(&mut batch));
        }
        result
    }

    /// Answers a request of a client; `None`: it has no header, and the connection should end.
    pub fn handle(
        &mut self,
        id: ClientId,
        bytes: &[u8],
        descriptor: Option<OwnedFd>,
    ) -> Option<(Vec<u8>, Option<OwnedFd>)> {
        self.requests += 1;
        let (header, result) = match Request::parse(bytes) {
            Ok((header, request)) => (header, self.carry_out(id, &header, request, descriptor)),
            Err((Some(header), error)) => (header, Err(error.into())),
            Err((None, _)) => return None,
        };
        let (reply, descriptor) = result.unwrap_or_else(|error| {
            self.refused += 1;
            self.log_refusal(id, &header, &error);
            (Reply::with_error(&header, error.errno()), None)
        });
        Some((reply.encode(), descriptor))
    }

    /// A client that asks for nonsense without end must not fill the log.
    fn log_refusal(&mut self, id: ClientId, header: &RequestHeader, error: &Error) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        client.refused += 1;
        if client.refused <= 16 || client.refused.is_power_of_two() {
            let source = std::error::Error::source(error).map(|source| format!(": {source}"));
            log::warn!(
                "{}: operation {} refused: {error}{}",
                client.caller,
                header.operation,
                source.unwrap_or_default()
            );
        }
    }

    /// A domain id that no unit knows; they are used in turn.
    fn next_domain(&mut self) -> Result<DomainId> {
        next_domain(&mut self.last_domain, |id| {
            let owned = self.clients.values().flat_map(|client| client.domains.values());
            owned.map(|owned| owned.domain.id()).any(|used| used == id) || self.devices.uses(id)
        })
    }

    fn place(&self, device: Device) -> Result<Place> {
        Place::find(&self.units, device)
    }
}

fn next_domain(last: &mut u16, used: impl Fn(DomainId) -> bool) -> Result<DomainId> {
    for _ in 0..u16::MAX {
        *last = last.checked_add(1).unwrap_or(1);
        if !used(DomainId(*last)) {
            return Ok(DomainId(*last));
        }
    }
    Err(Error::Quota { what: "domains in all", quota: u64::from(u16::MAX) })
}
