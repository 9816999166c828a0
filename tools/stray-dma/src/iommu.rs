//! Where the IOMMU daemon stands between device and memory: what is aimed at, and what comes of it.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use iommu_protocol::{EventInfo, MapFlags, MapPiece, Range};
use redox_driver_sys::iommu::{self, Client, Domain};
use redox_driver_sys::pci::PciAddress;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

use crate::controller::Controller;
use crate::sentinel::Sentinel;
use crate::{BLANK, Device};

pub(crate) const PAGE: usize = nvme_spec::PAGE_SIZE;
/// How long the daemon may take to tell of an event.
const TOLD: Duration = Duration::from_secs(5);
/// An address that nobody maps.
const NOWHERE: u64 = 0x12_3456_7000;
/// Where another client maps.
const THEIRS: u64 = 0x11_0000_0000;

/// A page of memory that can be given to the daemon.
pub(crate) struct Page(std::fs::File);

impl Page {
    pub(crate) fn new(seals: SealFlags) -> Result<Self> {
        let memory = memfd_create("page", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&memory, PAGE as u64)?;
        fcntl_add_seals(&memory, seals)?;
        let page = Self(OwnedFd::into(memory));
        page.0.write_all_at(&[BLANK; PAGE], 0)?;
        Ok(page)
    }

    fn is_untouched(&self) -> Result<bool> {
        let mut bytes = [0; PAGE];
        self.0.read_exact_at(&mut bytes, 0)?;
        Ok(bytes == [BLANK; PAGE])
    }

    /// Gives the page to the daemon; its handle.
    pub(crate) fn memory(&self, client: &mut Client) -> Result<u32> {
        Ok(client.import(self.0.as_fd())?.memory)
    }

    /// Maps the page in a domain.
    pub(crate) fn map(
        &self,
        client: &mut Client,
        domain: u32,
        flags: MapFlags,
        address: u64,
    ) -> Result<Range> {
        let memory = self.memory(client)?;
        let piece = MapPiece { memory, flags, offset: 0, len: PAGE as u64, align: 0, address };
        let ranges = client.map(domain, u64::MAX, &[piece])?;
        ranges.first().copied().context("nothing was mapped")
    }
}

struct Aim {
    device: Controller,
    domain: Domain,
    function: u16,
    done: usize,
}

impl Aim {
    /// Has the device write to an address, and looks whether the daemon tells of it.
    fn blocked(&mut self, what: &str, address: u64) -> Result<EventInfo> {
        self.domain.client().events()?;
        // Whatever the device says of it: QEMU's reports success for a write that was blocked.
        let answer = self.device.write_to(address).unwrap_or_else(|error| format!("{error:#}"));
        let end = Instant::now() + TOLD;
        loop {
            let (_, events) = self.domain.client().events()?;
            if let Some(event) = events.first() {
                ensure!(event.device.function == self.function, "{what}: the event is of another device");
                self.done += 1;
                println!("{what}: blocked at {address:#x}, event {} (the device said: {answer})", event.code);
                return Ok(*event);
            }
            ensure!(Instant::now() < end, "{what}: no event within {TOLD:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Aims at everything that must not be reached.
pub(crate) fn aim(address: PciAddress) -> Result<String> {
    let (function, domain) = iommu::open(address).context("cannot open the device")?;
    let device = Controller::start(function)?;
    let mut aim = Aim { device, domain: domain.clone(), function: address.requester(), done: 0 };
    let both = MapFlags::READ | MapFlags::WRITE;
    let id = domain.id();

    let mine = Page::new(SealFlags::SHRINK)?;
    let range = mine.map(&mut domain.client(), id, both, 0)?;
    aim.device.write_to(range.address).context("a write to a mapped buffer")?;
    ensure!(!mine.is_untouched()?, "a write to a mapped buffer left it as it was");

    aim.blocked("an address that is not mapped", NOWHERE)?;

    let sentinel = Sentinel::new()?;
    let physical = sentinel.physical_address()?;
    aim.blocked("a physical address", physical)?;
    ensure!(sentinel.is_untouched(), "the write to physical memory landed");

    let constant = Page::new(SealFlags::SHRINK)?;
    let range = constant.map(&mut domain.client(), id, MapFlags::READ, 0)?;
    aim.blocked("a read-only buffer", range.address)?;
    ensure!(constant.is_untouched()?, "the write to a read-only buffer landed");

    let former = Page::new(SealFlags::SHRINK)?;
    let range = former.map(&mut domain.client(), id, both, 0)?;
    aim.device.write_to(range.address)?;
    ensure!(!former.is_untouched()?, "a write to a mapped buffer left it as it was");
    domain.client().unmap(id, &[range])?;
    former.0.write_all_at(&[BLANK; PAGE], 0)?;
    aim.blocked("a buffer that was just unmapped", range.address)?;
    ensure!(former.is_untouched()?, "the write to an unmapped buffer landed");

    let theirs = Page::new(SealFlags::SHRINK)?;
    let mut other = Client::connect(&Client::path())?;
    let their_domain = other.create_domain()?;
    theirs.map(&mut other, their_domain, both | MapFlags::FIXED, THEIRS)?;
    aim.blocked("another client's buffer", THEIRS)?;
    ensure!(theirs.is_untouched()?, "the write to another client's buffer landed");
    let (_, events) = other.events()?;
    ensure!(events.is_empty(), "another client is told of events that are not its device's");

    let Aim { device, done, .. } = aim;
    Box::new(device).stop()?;
    Ok(format!("{done} of {done} aims blocked, memory untouched, each with an event of {address}"))
}

/// Starts the device and waits to be killed. For each line of input it aims at a physical address, daemon or not.
pub(crate) fn hold(address: PciAddress) -> Result<String> {
    let (function, _domain) = iommu::open(address).context("cannot open the device")?;
    let mut device = Controller::start(function)?;
    println!("holding {address}");
    for line in std::io::stdin().lines() {
        line?;
        let sentinel = Sentinel::new()?;
        let answer =
            device.write_to(sentinel.physical_address()?).unwrap_or_else(|error| format!("{error:#}"));
        ensure!(sentinel.is_untouched(), "the write to physical memory landed");
        println!("untouched; the device said: {answer}");
    }
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Has the device go on with the queue of a program that was killed.
pub(crate) fn wake(address: PciAddress) -> Result<String> {
    let (function, domain) = iommu::open(address).context("cannot open the device")?;
    Controller::wake(&function)?;
    let end = Instant::now() + TOLD;
    loop {
        let (_, events) = domain.client().events()?;
        if let Some(event) = events.first() {
            return Ok(format!("its memory is out of reach: event {} of {address}", event.code));
        }
        ensure!(Instant::now() < end, "the device met no fault at the killed program's queue");
        std::thread::sleep(Duration::from_millis(10));
    }
}
