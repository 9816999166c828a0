//! What clients ask for.

use std::os::fd::{AsFd, OwnedFd};

use amd_vi_spec::{PAGE_SHIFT, PAGE_SIZE};
use iommu_protocol::{
    Assign, CreateDomain, Device, DomainHandle, Inspected, MOST_BYTES, MapFlags, MapPiece, MemoryHandle,
    QueryReply, Range, Reply, Request, RequestHeader, Translate, Translated, UnitFlags, UnitInfo,
};

use super::{
    Batch, ClientId, Service,
    client::{Client, Owned, unknown},
    devices::most_bits,
};
use crate::{
    domain::{ADDRESS_BITS, Domain, LOWEST, Piece},
    error::{Error, Result},
    table::Access,
    unit::IrteFormat,
};

/// The fewest bits that a domain's addresses may have.
const LEAST_BITS: u32 = 21;
/// A text and its headers in one message.
const MOST_TEXT: usize = MOST_BYTES - 64;

impl Service {
    pub(super) fn carry_out(
        &mut self,
        id: ClientId,
        header: &RequestHeader,
        request: Request,
        descriptor: Option<OwnedFd>,
    ) -> Result<(Reply, Option<OwnedFd>)> {
        let reply = Reply::to(header);
        let needs = |descriptor: Option<OwnedFd>| {
            descriptor.ok_or_else(|| Error::Denied("no descriptor was passed".to_string()))
        };
        let reply = match request {
            Request::Query => {
                let (answer, units) = self.query();
                reply.with(&answer).with(units.as_slice())
            }
            Request::CreateDomain(wish) => reply.with(&self.create_domain(id, wish)?),
            Request::DestroyDomain(handle) => {
                self.destroy_domain(id, handle.domain)?;
                reply
            }
            Request::Allocate(wish) => {
                let (handle, descriptor) = self.allocate(id, wish.len)?;
                return Ok((reply.with(&handle), Some(descriptor)));
            }
            Request::Import => reply.with(&self.import(id, &needs(descriptor)?)?),
            Request::Free(handle) => {
                let memory = &mut self.client(id)?.memory;
                memory.remove(&handle.memory).ok_or_else(|| unknown("memory", handle.memory))?;
                reply
            }
            Request::Map { domain, mask, pieces } => {
                reply.with(self.map(id, domain, mask, &pieces)?.as_slice())
            }
            Request::Unmap { domain, ranges } => {
                self.unmap(id, domain, &ranges)?;
                reply
            }
            Request::Translate(wish) => reply.with(&self.translate(id, wish)?),
            Request::Assign(wish) => {
                self.assign(id, wish, &needs(descriptor)?)?;
                reply
            }
            Request::Unassign(wish) => {
                self.unassign(id, wish.device)?;
                reply
            }
            Request::MapInterrupt(_) | Request::UnmapInterrupt(_) => {
                return Err(Error::Unsupported("this system gives no proof of who owns a vector"));
            }
            Request::DrainEvents(wish) => {
                let (drained, events) = self.drain(id, wish)?;
                reply.with(&drained).with(events.as_slice())
            }
            Request::Inspect => {
                if !self.client(id)?.caller.administrator {
                    return Err(Error::Denied("only the administrator may look at all clients".to_string()));
                }
                let mut text = self.inspect();
                let end = (0..=MOST_TEXT.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
                text.truncate(end.unwrap_or(0));
                let len = u32::try_from(text.len()).unwrap_or(0);
                reply.with(&Inspected { len, reserved: 0 }).with(text.as_bytes())
            }
        };
        Ok((reply, None))
    }

    pub(super) fn client(&mut self, id: ClientId) -> Result<&mut Client> {
        self.clients.get_mut(&id).ok_or_else(|| Error::Unknown { what: "client", name: id.to_string() })
    }

    fn most_bits(&self) -> u32 {
        self.units.iter().map(most_bits).min().unwrap_or(ADDRESS_BITS)
    }

    fn query(&self) -> (QueryReply, Vec<UnitInfo>) {
        let units: Vec<UnitInfo> = self.units.iter().map(describe).collect();
        let limits = self.options.limits;
        let most_address_bits = self.most_bits();
        let answer = QueryReply {
            domains: limits.domains,
            mappings: limits.mappings,
            bytes: limits.bytes,
            objects: limits.objects,
            page_shift: PAGE_SHIFT,
            lowest: LOWEST,
            address_bits: ADDRESS_BITS.min(most_address_bits),
            most_address_bits,
            units: u32::try_from(units.len()).unwrap_or(0),
            reserved: 0,
        };
        (answer, units)
    }

    fn create_domain(&mut self, id: ClientId, wish: CreateDomain) -> Result<DomainHandle> {
        let most = self.most_bits();
        let bits = if wish.address_bits == 0 { ADDRESS_BITS.min(most) } else { wish.address_bits };
        if !(LEAST_BITS..=most).contains(&bits) {
            return Err(Error::Invalid { what: "bits of addresses:", value: bits.into() });
        }
        let limits = self.options.limits;
        let client = self.client(id)?;
        if client.domains.len() >= limits.domains as usize {
            return Err(Error::Quota { what: "domains", quota: limits.domains.into() });
        }
        // For its first table.
        client.left(&limits)?;
        let name = self.next_domain()?;
        let domain = Domain::new(name, &self.memory, bits, self.options.sizes)?;
        let client = self.client(id)?;
        let handle = client.handle()?;
        client.domains.insert(handle, Owned { domain, units: 0 });
        Ok(DomainHandle { domain: handle, reserved: 0 })
    }

    fn destroy_domain(&mut self, id: ClientId, handle: u32) -> Result<()> {
        let client = self.client(id)?;
        if !client.domains.contains_key(&handle) {
            return Err(unknown("domain", handle));
        }
        let devices: Vec<_> = client.devices.iter().filter(|(_, domain)| **domain == handle).collect();
        for place in devices.into_iter().map(|(place, _)| *place).collect::<Vec<_>>() {
            self.unassign(id, place.device())?;
        }
        if let Some(owned) = self.client(id)?.domains.remove(&handle) {
            owned.domain.end(&mut Batch { units: &mut self.units, of: owned.units })?;
        }
        Ok(())
    }

    fn allocate(&mut self, id: ClientId, len: u64) -> Result<(MemoryHandle, OwnedFd)> {
        let limits = self.options.limits;
        let room = self.client(id)?.room(&limits)?;
        if len == 0 || !len.is_multiple_of(PAGE_SIZE) {
            return Err(Error::Invalid { what: "length", value: len });
        }
        if len > room {
            return Err(Error::Quota { what: "bytes", quota: limits.bytes });
        }
        let (pages, descriptor) = self.system.allocate(len)?;
        let memory = self.client(id)?.insert(pages)?;
        Ok((MemoryHandle { memory, reserved: 0, len }, descriptor))
    }

    fn import(&mut self, id: ClientId, descriptor: &OwnedFd) -> Result<MemoryHandle> {
        let limits = self.options.limits;
        let room = self.client(id)?.room(&limits)?;
        let pages = self.system.adopt(descriptor.as_fd(), room)?;
        let len = pages.len() as u64;
        let memory = self.client(id)?.insert(pages)?;
        Ok(MemoryHandle { memory, reserved: 0, len })
    }

    fn map(&mut self, id: ClientId, domain: u32, mask: u64, pieces: &[MapPiece]) -> Result<Vec<Range>> {
        let limits = self.options.limits;
        let client = self.clients.get_mut(&id).ok_or_else(|| unknown("client of domain", domain))?;
        if client.mappings() + pieces.len() > limits.mappings as usize {
            return Err(Error::Quota { what: "mappings", quota: limits.mappings.into() });
        }
        let pieces = pieces.iter().map(|piece| read_piece(client, piece)).collect::<Result<Vec<_>>>()?;
        let owned = client.domains.get_mut(&domain).ok_or_else(|| unknown("domain", domain))?;
        let mut batch = Batch { units: &mut self.units, of: owned.units };
        let before = owned.domain.tables();
        let ranges = owned.domain.map(&pieces, mask, &mut batch)?;
        // How many tables it takes is known afterwards only.
        let grown = owned.domain.tables() > before;
        if grown && client.bytes() > limits.bytes {
            self.unmap(id, domain, &ranges)?;
            return Err(Error::Quota { what: "bytes, of tables as well", quota: limits.bytes });
        }
        Ok(ranges)
    }

    fn unmap(&mut self, id: ClientId, domain: u32, ranges: &[Range]) -> Result<()> {
        let client = self.clients.get_mut(&id).ok_or_else(|| unknown("client of domain", domain))?;
        let owned = client.domains.get_mut(&domain).ok_or_else(|| unknown("domain", domain))?;
        let mut batch = Batch { units: &mut self.units, of: owned.units };
        owned.domain.unmap(ranges, &mut batch)
    }

    fn translate(&mut self, id: ClientId, wish: Translate) -> Result<Translated> {
        let owned = self.client(id)?.domains.get(&wish.domain);
        let owned = owned.ok_or_else(|| unknown("domain", wish.domain))?;
        let found = owned.domain.translate(wish.address);
        let missing = || Error::Unknown { what: "mapping at", name: format!("{:#x}", wish.address) };
        let (memory, offset, access) = found.ok_or_else(missing)?;
        let mut flags = MapFlags::empty();
        flags.set(MapFlags::READ, access.read);
        flags.set(MapFlags::WRITE, access.write);
        Ok(Translated { memory, flags, offset })
    }

    fn assign(&mut self, id: ClientId, wish: Assign, descriptor: &OwnedFd) -> Result<()> {
        let place = self.place(wish.device)?;
        self.system.check_holder(descriptor.as_fd(), wish.device)?;
        let client = self.clients.get_mut(&id).ok_or_else(|| unknown("client of domain", wish.domain))?;
        let owned = client.domains.get_mut(&wish.domain).ok_or_else(|| unknown("domain", wish.domain))?;
        self.devices.claim(&mut self.units, place, owned)?;
        client.devices.insert(place, wish.domain);
        log::info!("{}: {} is assigned", client.caller, place.device);
        Ok(())
    }

    fn unassign(&mut self, id: ClientId, device: Device) -> Result<()> {
        let place = self.place(device)?;
        if !self.client(id)?.devices.contains_key(&place) {
            return Err(Error::Denied(format!("{} is not the caller's", place.device)));
        }
        // What it did until now is its owner's.
        self.take_events();
        self.devices.release(&mut self.units, place, &self.options)?;
        self.client(id)?.devices.remove(&place);
        Ok(())
    }
}

fn read_piece(client: &Client, piece: &MapPiece) -> Result<Piece> {
    let MapPiece { memory, flags, offset, len, align, address } = *piece;
    let fixed = flags.contains(MapFlags::FIXED).then_some(address);
    if fixed.is_none() && address != 0 {
        return Err(Error::Invalid { what: "address that is not fixed", value: address });
    }
    let access = Access { read: flags.contains(MapFlags::READ), write: flags.contains(MapFlags::WRITE) };
    let guard = flags.contains(MapFlags::GUARD);
    Ok(Piece { memory: client.object(memory)?, offset, len, access, align, fixed, guard })
}

fn describe(unit: &crate::unit::Unit) -> UnitInfo {
    let (firmware, capabilities) = (unit.firmware(), unit.capabilities());
    let mut flags = UnitFlags::empty();
    flags.set(UnitFlags::WORKING, unit.is_working());
    if let IrteFormat::Bits128 { x2apic } = capabilities.interrupts {
        flags.set(UnitFlags::WIDE_INTERRUPTS, true);
        flags.set(UnitFlags::X2APIC, x2apic);
    }
    UnitInfo {
        base: firmware.base,
        features: capabilities.features.into(),
        segment: firmware.segment,
        device: firmware.device.0,
        levels: capabilities.levels.into(),
        flags,
        reserved: 0,
    }
}
