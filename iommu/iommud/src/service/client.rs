//! What belongs to a client.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Arc, Weak},
};

use amd_vi_spec::PAGE_SIZE;
use iommu_protocol::EventInfo;
use redox_driver_sys::dma::DmaPages;

use super::devices::Place;
use crate::{
    domain::{Domain, Memory},
    error::{Error, Result},
};

/// What a client may have.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Domains.
    pub domains: u32,
    /// Mappings in all of them.
    pub mappings: u32,
    /// Memory objects.
    pub objects: u32,
    /// Bytes of memory objects, mapped ones that were given up included, and of the tables of its domains.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { domains: 16, mappings: 1 << 20, objects: 4096, bytes: 1 << 30 }
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Caller {
    /// How to call it in a log.
    pub name: String,
    /// Whether it is the system's administrator, or who started the daemon.
    pub administrator: bool,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// A domain of a client.
#[derive(Debug)]
pub(super) struct Owned {
    pub(super) domain: Domain,
    /// The units that may remember something of it: bit n for unit n.
    pub(super) units: u64,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) caller: Caller,
    pub(super) domains: BTreeMap<u32, Owned>,
    pub(super) memory: BTreeMap<u32, Arc<DmaPages>>,
    /// Which domain each device reaches.
    pub(super) devices: BTreeMap<Place, u32>,
    pub(super) events: VecDeque<EventInfo>,
    pub(super) lost: u64,
    pub(super) refused: u64,
    /// Every object that may still be there: given up, but mapped.
    objects: Vec<(u64, Weak<DmaPages>)>,
    last_handle: u32,
}

impl Client {
    pub(super) fn new(caller: Caller) -> Self {
        Client {
            caller,
            domains: BTreeMap::new(),
            memory: BTreeMap::new(),
            devices: BTreeMap::new(),
            events: VecDeque::new(),
            lost: 0,
            refused: 0,
            objects: Vec::new(),
            last_handle: 0,
        }
    }

    pub(super) fn mappings(&self) -> usize {
        self.domains.values().map(|owned| owned.domain.mappings()).sum()
    }

    /// Bytes of memory that the client has, tables included.
    pub(super) fn bytes(&self) -> u64 {
        let objects = self.objects.iter().filter(|(_, object)| object.strong_count() > 0);
        let tables: usize = self.domains.values().map(|owned| owned.domain.tables()).sum();
        objects.map(|(len, _)| len).sum::<u64>() + tables as u64 * PAGE_SIZE
    }

    /// Bytes that it may still have, at least one.
    pub(super) fn left(&self, limits: &Limits) -> Result<u64> {
        let left = limits.bytes.saturating_sub(self.bytes());
        if left == 0 { Err(Error::Quota { what: "bytes", quota: limits.bytes }) } else { Ok(left) }
    }

    /// A number that names nothing yet.
    pub(super) fn handle(&mut self) -> Result<u32> {
        let next = self.last_handle.checked_add(1);
        self.last_handle = next.ok_or(Error::Quota { what: "handles", quota: u64::from(u32::MAX) })?;
        Ok(self.last_handle)
    }

    /// Bytes that another memory object may have.
    pub(super) fn room(&mut self, limits: &Limits) -> Result<u64> {
        self.objects.retain(|(_, object)| object.strong_count() > 0);
        if self.objects.len() >= limits.objects as usize {
            return Err(Error::Quota { what: "memory objects", quota: limits.objects.into() });
        }
        self.left(limits)
    }

    /// Takes memory in; returns its handle.
    pub(super) fn insert(&mut self, pages: DmaPages) -> Result<u32> {
        let handle = self.handle()?;
        let pages = Arc::new(pages);
        self.objects.push((pages.len() as u64, Arc::downgrade(&pages)));
        self.memory.insert(handle, pages);
        Ok(handle)
    }

    pub(super) fn object(&self, handle: u32) -> Result<Memory> {
        let pages = self.memory.get(&handle).ok_or_else(|| unknown("memory", handle))?;
        Ok(Memory { handle, pages: pages.clone() })
    }
}

pub(super) fn unknown(what: &'static str, handle: u32) -> Error {
    Error::Unknown { what, name: handle.to_string() }
}
