//! A function that pcid gave to this process.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::AsRawFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use pcid_interface::{
    CHANNEL_ENV, MsiAddrAndData, MsiSetFeatureInfo, PciBar, PciFeature, PciFeatureInfo, PciFunctionHandle,
    SetFeatureInfo, SubdriverArguments,
};

use super::{
    dma::PhysDmaAllocator,
    interrupt::{self, InterruptFd},
    memory::{PhysicalMemory, map_raw, unmap},
};
use crate::{
    dma::{DmaAllocator, PAGE_SIZE},
    error::{Error, Result},
    fd,
    irq::{Interrupt, InterruptKind, Source},
    mmio::{Mapping, Mmio},
    pci::{
        Command, FunctionBackend, PciAddress, Width, dword, function_level_reset, header,
        msix::{Message, Table},
    },
    time::Clock,
};

/// Memory type of a BAR mapping by the channel, in bits 60:59 of the offset.
const UNCACHEABLE: u64 = 1 << 59;
/// Most reads of an answer that nobody waits for any more: no answer is as long.
const MOST_LEFT: usize = 512;

/// What of a function outlives its drivers: pcid's channel, and interrupts that are reserved.
pub(crate) struct Claim {
    address: PciAddress,
    channel: File,
    messages: Vec<(InterruptFd, Message)>,
}

impl Claim {
    /// Takes the channel that pcid-spawner passed, or opens the one of `address`.
    pub(crate) fn find(address: Option<PciAddress>) -> Result<Self> {
        let channel = match (fd::from_env(CHANNEL_ENV)?, address) {
            (Some(channel), _) => File::from(channel),
            (None, Some(address)) => {
                pcid_interface::open_channel(wanted(address)).map_err(|error| attach_error(address, error))?
            }
            (None, None) => {
                let reason = "no device: pcid-spawner passed none, and there is no --device ADDRESS";
                return Err(Error::Attach { reason: reason.to_string() });
            }
        };
        let found = PciFunctionHandle::connect(&channel).map_err(pcid_error)?.config().func.addr;
        let found = PciAddress::new(found.segment, found.bus, found.device, found.function)?;
        match address {
            Some(address) if address != found => {
                Err(Error::Attach { reason: format!("pcid's channel is for {found}, not for {address}") })
            }
            _ => Ok(Claim { address: found, channel, messages: Vec::new() }),
        }
    }

    pub(crate) fn address(&self) -> PciAddress {
        self.address
    }

    /// Reserves interrupt vectors. A function that signals otherwise needs none.
    pub(crate) fn reserve_interrupts(&mut self, vectors: usize) {
        match interrupt::reserve_messages(vectors) {
            Ok(messages) => self.messages = messages,
            Err(error) => log::warn!("{}: {error}", self.address),
        }
    }

    /// The function, for the driver in whose process this is called. What is reserved goes to it.
    pub(crate) fn open(&mut self) -> Result<Arc<dyn FunctionBackend>> {
        self.finish_exchange();
        let channel =
            self.channel.try_clone().map_err(|error| Error::os("duplicate pcid's channel", error))?;
        let pcid = PciFunctionHandle::connect(channel).map_err(pcid_error)?;
        let config = *pcid.config();
        let dma = Arc::new(PhysDmaAllocator::new(PhysicalMemory::open()?));
        let function = PcidFunction {
            allocator: DmaAllocator::new(dma.clone()),
            pcid: Mutex::new(pcid),
            config,
            dma,
            reserved: Mutex::new(std::mem::take(&mut self.messages)),
            messages: Mutex::new(false),
        };
        // pcid switches bus mastering on when the channel is opened; the driver asks for it when it is ready.
        function.set_command(|command| command.remove(Command::BUS_MASTER))?;
        Ok(Arc::new(function))
    }

    /// Turns bus mastering off.
    pub(crate) fn stop_dma(&mut self) -> Result<()> {
        self.finish_exchange();
        let mut pcid = PciFunctionHandle::connect(&self.channel).map_err(pcid_error)?;
        let off = |command: u32| command & !u32::from(Command::BUS_MASTER.bits());
        let command = pcid.read_config(header::COMMAND).map_err(pcid_error)?;
        // The upper half is the status register, in which ones clear bits.
        pcid.write_config(header::COMMAND, off(command) & 0xffff).map_err(pcid_error)
    }

    /// A driver may have died between its request and the answer, which is still there then. Reading when there is none
    /// is an error.
    fn finish_exchange(&mut self) {
        let mut bytes = [0; 4096];
        for _ in 0..MOST_LEFT {
            match (&self.channel).read(&mut bytes) {
                Ok(len) if len > 0 => {}
                _ => return,
            }
        }
    }
}

fn wanted(address: PciAddress) -> pcid_interface::PciAddress {
    pcid_interface::PciAddress {
        segment: address.segment(),
        bus: address.bus(),
        device: address.device(),
        function: address.function(),
    }
}

fn attach_error(address: PciAddress, error: pcid_interface::Error) -> Error {
    let reason = match &error {
        pcid_interface::Error::Open { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            format!("no PCI device {address}")
        }
        pcid_interface::Error::Open { source, .. }
            if source.raw_os_error() == Some(libredox::errno::ENOLCK) =>
        {
            format!("{address} is in use by another process")
        }
        _ => return pcid_error(error),
    };
    Error::Attach { reason }
}

fn pcid_error(error: pcid_interface::Error) -> Error {
    Error::os("talk to pcid", io::Error::other(error))
}

struct PcidFunction {
    pcid: Mutex<PciFunctionHandle<File>>,
    config: SubdriverArguments,
    dma: Arc<PhysDmaAllocator>,
    allocator: DmaAllocator,
    /// Vectors that nothing uses yet.
    reserved: Mutex<Vec<(InterruptFd, Message)>>,
    /// Whether MSI or MSI-X was switched on.
    messages: Mutex<bool>,
}

impl PcidFunction {
    fn pcid(&self) -> MutexGuard<'_, PciFunctionHandle<File>> {
        self.pcid.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_command(&self, change: impl FnOnce(&mut Command)) -> Result<()> {
        #[allow(clippy::cast_possible_truncation, reason = "two bytes are read")]
        let mut command = Command::from_bits_retain(self.config_read(header::COMMAND, Width::Word)? as u16);
        change(&mut command);
        self.config_write(header::COMMAND, Width::Word, command.bits().into())
    }

    /// Up to `count` vectors: of those that were reserved, if any were.
    fn vectors(&self, count: usize) -> Result<Vec<(InterruptFd, Message)>> {
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        let count = count.max(1);
        match reserved.len() {
            0 => interrupt::reserve_messages(count),
            left => Ok(reserved.drain(..count.min(left)).collect()),
        }
    }

    fn enable_msix(&self, count: usize) -> Result<Vec<Interrupt>> {
        let info = match self.pcid().feature_info(PciFeature::MsiX).map_err(pcid_error)? {
            PciFeatureInfo::MsiX(info) => info,
            PciFeatureInfo::Msi(_) => return Err(Error::Unsupported("pcid described MSI".to_string())),
        };
        let table = Table::masked(&self.map_bar(info.table_bar)?, info.table_offset, info.table_size)?;
        let messages = self.vectors(count.min(table.len()))?;
        let mut pcid = self.pcid();
        pcid.enable_feature(PciFeature::MsiX).map_err(pcid_error)?;
        pcid.set_feature_info(SetFeatureInfo::MsiX { function_mask: Some(false) }).map_err(pcid_error)?;
        drop(pcid);
        table.set(messages.iter().map(|(_, message)| *message));
        Ok(messages.into_iter().map(|(interrupt, _)| Interrupt(Source::Os(interrupt))).collect())
    }

    /// One vector: more would have to be consecutive, which the scheme cannot promise.
    fn enable_msi(&self) -> Result<Vec<Interrupt>> {
        let messages = self.vectors(1)?;
        let mut pcid = self.pcid();
        for (_, message) in &messages {
            let info = MsiSetFeatureInfo {
                multi_message_enable: Some(0),
                message_address_and_data: Some(MsiAddrAndData { addr: message.address, data: message.data }),
                mask_bits: None,
            };
            pcid.set_feature_info(SetFeatureInfo::Msi(info)).map_err(pcid_error)?;
        }
        pcid.enable_feature(PciFeature::Msi).map_err(pcid_error)?;
        Ok(messages.into_iter().map(|(interrupt, _)| Interrupt(Source::Os(interrupt))).collect())
    }

    fn enable_intx(&self) -> Result<Vec<Interrupt>> {
        let line = self.config.func.legacy_interrupt_line;
        let line = line.ok_or_else(|| Error::Unsupported("pcid knows of no interrupt line".to_string()))?;
        Ok(vec![Interrupt(Source::Os(interrupt::open_line(line)?))])
    }
}

impl FunctionBackend for PcidFunction {
    fn config_read(&self, offset: u16, width: Width) -> Result<u32> {
        dword::read(offset, width, |at| self.pcid().read_config(at).map_err(pcid_error))
    }

    fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<()> {
        let mut pcid = self.pcid();
        let (at, whole) = dword::merge(offset, width, value, |at| pcid.read_config(at).map_err(pcid_error))?;
        // From before the device can start until after it has stopped, released memory is kept.
        let bus_master = (at == header::COMMAND).then(|| whole & u32::from(Command::BUS_MASTER.bits()) != 0);
        if bus_master == Some(true) {
            self.dma.set_bus_master(true);
        }
        pcid.write_config(at, whole).map_err(pcid_error)?;
        if bus_master == Some(false) {
            self.dma.set_bus_master(false);
        }
        Ok(())
    }

    fn map_bar(&self, bar: u8) -> Result<Mmio> {
        let failed = |reason: &str| Error::Bar { bar, reason: reason.to_string() };
        let (address, len) = match self.config.func.bars.get(usize::from(bar)) {
            Some(PciBar::Memory32 { addr, size }) => (u64::from(*addr), u64::from(*size)),
            Some(PciBar::Memory64 { addr, size }) => (*addr, *size),
            Some(PciBar::Port(_)) => return Err(failed("it is in I/O space, not in memory")),
            Some(PciBar::None) => return Err(failed("there is none")),
            None => return Err(failed("a function has BARs 0 to 5")),
        };
        let page = PAGE_SIZE as u64;
        let skip = address % page;
        let len = usize::try_from(len).ok().filter(|&len| len > 0).ok_or_else(|| failed("empty"))?;
        let whole = usize::try_from(skip).ok().and_then(|skip| skip.checked_add(len));
        let whole = whole.and_then(|whole| whole.checked_next_multiple_of(PAGE_SIZE));
        let whole = whole.ok_or_else(|| failed("too long to be mapped"))?;
        let channel = usize::try_from(self.pcid().channel().as_raw_fd()).unwrap_or(usize::MAX);
        let offset = u64::from(bar) << 61 | UNCACHEABLE;
        let by_channel = map_raw(channel, whole, offset, libredox::flag::MAP_SHARED);
        let memory = match by_channel {
            Ok(memory) if skip == 0 => memory,
            // A system whose pcid does not map BARs, or a BAR that does not begin with a page.
            other => {
                if let Ok(memory) = other {
                    unmap(memory, whole);
                }
                self.dma.memory.map_registers(address - skip, whole)?
            }
        };
        let skip = usize::try_from(skip).map_err(|_| failed("too long to be mapped"))?;
        // SAFETY: `skip` is less than a page, and the mapping has `skip + len` bytes at least.
        let base = unsafe { memory.add(skip) };
        Ok(Mmio::mapped(Mapping { base, len, gaps: Vec::new(), unmap }))
    }

    fn enable_interrupts(&self, kind: InterruptKind, count: usize) -> Result<Vec<Interrupt>> {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        if *messages && kind == InterruptKind::Intx {
            // Of pcid's requests this one switches messages off. It switches bus mastering on, too.
            let before = self.config_read(header::COMMAND, Width::Word)?;
            self.dma.set_bus_master(true);
            self.pcid().enable_device().map_err(pcid_error)?;
            self.config_write(header::COMMAND, Width::Word, before)?;
            *messages = false;
        }
        let vectors = match kind {
            InterruptKind::MsiX => self.enable_msix(count)?,
            InterruptKind::Msi => self.enable_msi()?,
            InterruptKind::Intx => self.enable_intx()?,
        };
        *messages = kind != InterruptKind::Intx;
        Ok(vectors)
    }

    fn dma_allocator(&self) -> Result<DmaAllocator> {
        Ok(self.allocator.clone())
    }

    fn reset(&self) -> Result<()> {
        function_level_reset(self, &self.clock())
    }

    fn clock(&self) -> Clock {
        Clock::monotonic()
    }
}
