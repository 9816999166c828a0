//! A client that asks the IOMMU daemon for what nobody may have.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd};

use anyhow::{Context, Result, bail, ensure};
use iommu_protocol::{
    Allocate, Assign, Device, DomainHandle, MapFlags, MapPiece, MemoryHandle, Range, Request, Unassign, errno,
};
use redox_driver_sys::iommu::{Client, ClientError};
use redox_driver_sys::packet;
use redox_driver_sys::pci::PciAddress;
use rustix::fs::SealFlags;

use crate::iommu::Page;

/// Requests of a flood, none of whose replies is read.
const FLOOD: usize = 20_000;

const PAGE: u64 = crate::iommu::PAGE as u64;
/// Where the last page of all addresses starts.
const LAST_PAGE: u64 = !(PAGE - 1);
/// Memory objects of the victim: more handles than the abuser ever has.
const THEIRS: u32 = 64;

struct Abuse {
    client: Client,
    refused: usize,
}

/// Another client's handles.
#[derive(Clone, Copy)]
struct Theirs {
    domain: u32,
    memory: u32,
}

impl Theirs {
    /// Handles that are in use, and none of the abuser's: those of a client are counted up from 1.
    fn new(victim: &mut Client) -> Result<Self> {
        let page = Page::new(SealFlags::SHRINK)?;
        let mut memory = 0;
        for _ in 0..THEIRS {
            memory = page.memory(victim)?;
        }
        ensure!(memory >= THEIRS, "{THEIRS} memory objects have handles up to {memory}");
        Ok(Self { domain: victim.create_domain()?, memory })
    }
}

impl Abuse {
    /// The request must be refused with this error.
    fn refused(
        &mut self,
        what: &'static str,
        request: &Request,
        with: Option<BorrowedFd<'_>>,
        error: i32,
    ) -> Result<()> {
        match self.client.call("abuse it", request, with) {
            Err(ClientError::Refused { source, .. }) if source.raw_os_error() == Some(error) => {
                self.refused += 1;
                println!("{what}: {source}");
                Ok(())
            }
            Err(other) => Err(other).with_context(|| format!("{what}: another error than {error}")),
            Ok(_) => bail!("{what}: it was not refused"),
        }
    }
}

/// Asks for everything; `device` has another owner meanwhile.
pub(crate) fn run(device: PciAddress) -> Result<String> {
    let path = Client::path();
    let mut abuse = Abuse { client: Client::connect(&path)?, refused: 0 };
    let domain = abuse.client.create_domain()?;
    let mut victim = Client::connect(&path)?;
    let theirs = Theirs::new(&mut victim)?;
    devices(&mut abuse, domain, device)?;
    memory(&mut abuse, domain, theirs)?;
    let destroy = Request::DestroyDomain(DomainHandle { domain: theirs.domain, reserved: 0 });
    abuse.refused("to destroy another's domain", &destroy, None, errno::ENOENT)?;
    let give_up = Request::Free(MemoryHandle { memory: theirs.memory, reserved: 0, len: 0 });
    abuse.refused("to give another's memory up", &give_up, None, errno::ENOENT)?;
    flood(&path)?;
    garbage(&path)?;
    // Nobody was harmed: what was to be destroyed and given up is still there.
    let both = MapFlags::READ | MapFlags::WRITE;
    let piece = MapPiece { memory: theirs.memory, flags: both, len: PAGE, ..MapPiece::default() };
    victim.map(theirs.domain, u64::MAX, &[piece]).context("another client is harmed")?;
    Ok(format!("{} requests refused, a flood and garbage survived", abuse.refused))
}

fn devices(abuse: &mut Abuse, domain: u32, address: PciAddress) -> Result<()> {
    let device = Device { segment: address.segment(), function: address.requester() };
    let assign = Request::Assign(Assign { domain, device });
    let sysfs = format!("/sys/bus/pci/devices/{address}");
    let null = File::open("/dev/null")?;
    abuse.refused("a device, without a descriptor", &assign, None, errno::EPERM)?;
    abuse.refused("a device, with /dev/null", &assign, Some(null.as_fd()), errno::EPERM)?;
    let reading = File::open(format!("{sysfs}/config"))?;
    abuse.refused("a device, opened for reading", &assign, Some(reading.as_fd()), errno::EPERM)?;
    let other = OpenOptions::new().read(true).write(true).open("/sys/bus/pci/devices/0000:00:00.0/config")?;
    abuse.refused("a device, with another's descriptor", &assign, Some(other.as_fd()), errno::EPERM)?;
    let held = OpenOptions::new().read(true).write(true).open(format!("{sysfs}/config"))?;
    abuse.refused("a device that has an owner", &assign, Some(held.as_fd()), errno::EBUSY)?;
    let unassign = Request::Unassign(Unassign { device, reserved: 0 });
    abuse.refused("to take a device from its owner", &unassign, None, errno::EPERM)
}

fn memory(abuse: &mut Abuse, domain: u32, theirs: Theirs) -> Result<()> {
    let file = File::open("/dev/mem")?;
    abuse.refused("physical memory", &Request::Import, Some(file.as_fd()), errno::EACCES)?;
    let file = File::open("/proc/self/exe")?;
    abuse.refused("a file", &Request::Import, Some(file.as_fd()), errno::EACCES)?;
    let loose = rustix::fs::memfd_create("loose", rustix::fs::MemfdFlags::ALLOW_SEALING)?;
    rustix::fs::ftruncate(&loose, PAGE)?;
    abuse.refused("memory that can shrink", &Request::Import, Some(loose.as_fd()), errno::EACCES)?;
    for (what, len, error) in [
        ("no memory", 0, errno::EINVAL),
        ("half a page", PAGE / 2, errno::EINVAL),
        ("all memory", 1 << 50, errno::EDQUOT),
        ("more than there are addresses", LAST_PAGE, errno::EDQUOT),
    ] {
        abuse.refused(what, &Request::Allocate(Allocate { len }), None, error)?;
    }
    let page = Page::new(SealFlags::SHRINK)?;
    let both = MapFlags::READ | MapFlags::WRITE;
    let range = page.map(&mut abuse.client, domain, both | MapFlags::FIXED, 0x4000_0000)?;
    let memory = page.memory(&mut abuse.client)?;
    let piece = MapPiece { memory, flags: both, offset: 0, len: PAGE, align: 0, address: 0 };
    let at = |address| MapPiece { flags: both | MapFlags::FIXED, address, ..piece };
    for (what, piece, error) in [
        ("to map nothing", MapPiece { len: 0, ..piece }, errno::EINVAL),
        ("to map beyond the memory", MapPiece { len: 2 * PAGE, ..piece }, errno::EINVAL),
        ("to map beyond all memory", MapPiece { len: LAST_PAGE, ..piece }, errno::EINVAL),
        ("to map from beyond the memory", MapPiece { offset: LAST_PAGE, ..piece }, errno::EINVAL),
        ("to map for nobody", MapPiece { flags: MapFlags::empty(), ..piece }, errno::EINVAL),
        ("to map over a mapping", at(range.address), errno::EBUSY),
        ("to map over interrupts", at(0xfee0_0000), errno::EBUSY),
        ("to map around the end", at(LAST_PAGE), errno::EINVAL),
        ("to map another's memory", MapPiece { memory: theirs.memory, ..piece }, errno::ENOENT),
    ] {
        let request = Request::Map { domain, mask: u64::MAX, pieces: vec![piece] };
        abuse.refused(what, &request, None, error)?;
    }
    ensure!(memory < theirs.memory, "the abuser has the victim's handles itself");
    let request = Request::Map { domain: theirs.domain, mask: u64::MAX, pieces: vec![piece] };
    abuse.refused("to map for another's device", &request, None, errno::ENOENT)?;
    let half = Range { address: range.address, len: PAGE / 2 };
    let request = Request::Unmap { domain, ranges: vec![half] };
    abuse.refused("to unmap a half", &request, None, errno::ENOENT)
}

/// Sends without reading replies, until the socket takes no more or the daemon ends the connection.
fn flood(path: &std::path::Path) -> Result<()> {
    let client = Client::connect(path)?;
    let nonblocking = rustix::fs::fcntl_getfl(&client)? | rustix::fs::OFlags::NONBLOCK;
    rustix::fs::fcntl_setfl(&client, nonblocking)?;
    let request = Request::Query.encode(1);
    let sent = (0..FLOOD).filter(|_| packet::send(&client, &request, None).is_ok()).count();
    println!("a flood: {sent} of {FLOOD} requests taken");
    ensure!(sent > 0, "the daemon takes no request");
    Ok(())
}

/// Sends bytes that are no request.
fn garbage(path: &std::path::Path) -> Result<()> {
    for len in [1, 15, 16, 17, 4000, 16_384] {
        let client = Client::connect(path)?;
        let bytes: Vec<u8> = (0..len).map(|at: u32| at.wrapping_mul(167).to_le_bytes()[0]).collect();
        packet::send(&client, &bytes, None)?;
        let mut answer = [0; 64];
        // The end of the connection is an answer too.
        let got = match packet::receive(&client, &mut answer) {
            Ok((got, _)) => got,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
            Err(error) => return Err(error.into()),
        };
        println!("garbage of {len} bytes: an answer of {got}");
    }
    Ok(())
}
