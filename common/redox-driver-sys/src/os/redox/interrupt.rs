//! `/scheme/irq`: a descriptor per interrupt that is read for a count and written for an acknowledgement.

use std::{
    fmt, fs,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd},
    sync::atomic::{AtomicUsize, Ordering},
};

use pcid_interface::LegacyInterruptLine;

use crate::{
    error::{Error, Result},
    pci::msix::Message,
};

/// Interrupts below are the legacy ones. The kernel never frees the reservation of number 16 itself.
const FIRST_MESSAGE: u8 = 17;
/// The processor's vector of interrupt 0.
const FIRST_VECTOR: u8 = 32;
/// A line that is shared can fire again between reading its count and acknowledging it.
const MOST_ACKNOWLEDGEMENTS: usize = 8;

/// One interrupt.
pub(crate) struct InterruptFd {
    file: File,
    name: String,
    /// Whether it stays masked from when it fires until it is acknowledged.
    level: bool,
    /// The count that was read last.
    seen: AtomicUsize,
    /// The same number on the boot processor.
    _twin: Option<File>,
}

impl fmt::Debug for InterruptFd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl InterruptFd {
    fn new(file: File, name: String, level: bool) -> Result<Self> {
        let interrupt = InterruptFd { file, name, level, seen: AtomicUsize::new(0), _twin: None };
        // The count goes on from the number's last user.
        if let Some(count) = interrupt.count()? {
            interrupt.seen.store(count, Ordering::Relaxed);
        }
        Ok(interrupt)
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    pub(crate) fn take(&self) -> Result<u64> {
        // The event said that it fired, and the kernel sends one each time whether it is acknowledged or not.
        if !self.level {
            return Ok(1);
        }
        let Some(count) = self.count()? else { return Ok(0) };
        let before = self.seen.swap(count, Ordering::AcqRel);
        Ok(count.wrapping_sub(before) as u64)
    }

    pub(crate) fn rearm(&self) -> Result<()> {
        if !self.level {
            return Ok(());
        }
        for _ in 0..MOST_ACKNOWLEDGEMENTS {
            let Some(count) = self.count()? else { return Ok(()) };
            if self.acknowledge(count)? {
                return Ok(());
            }
        }
        Err(Error::Timeout { what: "acknowledgement of INTx", after: std::time::Duration::ZERO })
    }

    pub(crate) fn set_affinity(&self, cpu: usize) -> Result<()> {
        Err(Error::Unsupported(format!(
            "{} to processor {cpu}: Redox delivers where it was reserved",
            self.name
        )))
    }

    /// How often it fired, unless that is acknowledged already.
    fn count(&self) -> Result<Option<usize>> {
        let mut count = [0; size_of::<usize>()];
        match (&self.file).read(&mut count) {
            Ok(len) if len == count.len() => Ok(Some(usize::from_ne_bytes(count))),
            Ok(_) => Ok(None),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(None)
            }
            Err(error) => Err(Error::os(format!("read {}", self.name), error)),
        }
    }

    /// Whether `count` was the newest.
    fn acknowledge(&self, count: usize) -> Result<bool> {
        match (&self.file).write(&count.to_ne_bytes()) {
            Ok(len) => Ok(len == size_of::<usize>()),
            Err(error) => Err(Error::os(format!("acknowledge {}", self.name), error)),
        }
    }
}

/// Opens the interrupt that the function's pin is connected to.
pub(super) fn open_line(line: LegacyInterruptLine) -> Result<InterruptFd> {
    let (name, create) = match line.phandled {
        None => (format!("/scheme/irq/{}", line.irq), false),
        Some((phandle, cells, count)) => {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            let cells = cells.get(..count).filter(|cells| !cells.is_empty()).ok_or_else(|| {
                Error::Invalid { what: "number of cells of an interrupt", value: count.to_string() }
            })?;
            let cells: Vec<_> = cells.iter().map(u32::to_string).collect();
            (format!("/scheme/irq/phandle-{phandle}/{}", cells.join(",")), true)
        }
    };
    let file = open(&name, create).map_err(|error| Error::os(format!("open {name}"), error))?;
    InterruptFd::new(file, name, true)
}

fn open(path: &str, create: bool) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(create).truncate(false).open(path)
}

/// Reserves up to `count` vectors, one processor's after the other's, and says what the device has to send for each. A
/// processor is addressed by the number that the kernel gives it.
pub(super) fn reserve_messages(count: usize) -> Result<Vec<(InterruptFd, Message)>> {
    let boot = boot_processor()?;
    let mut processors = processors()?;
    // The controller's own queue is no load.
    processors.sort_by_key(|processor| *processor != boot);
    let mut messages = Vec::new();
    for processor in processors.iter().cycle().take(count) {
        let reserved = match reserve_message(boot, *processor)? {
            None if *processor != boot => reserve_message(boot, boot)?,
            reserved => reserved,
        };
        match reserved {
            Some(message) => messages.push(message),
            None => break,
        }
    }
    if messages.is_empty() {
        return Err(Error::Unsupported(format!("no vector of processor {boot} is left")));
    }
    Ok(messages)
}

/// The numbers of all processors.
pub(crate) fn processors() -> Result<Vec<u8>> {
    const PATH: &str = "/scheme/irq";
    let list = |error| Error::os(format!("list {PATH}"), error);
    let mut processors = Vec::new();
    for entry in fs::read_dir(PATH).map_err(list)? {
        let name = entry.map_err(list)?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("cpu-"));
        processors.extend(number.and_then(|number| u8::from_str_radix(number, 16).ok()));
    }
    Ok(processors)
}

/// Reserves a vector of `processor`, if one is left.
///
/// The kernel knows an interrupt by its number alone: those of the same number on two processors would announce each
/// other, and giving back one of another processor gives back the boot processor's. So the number is reserved there, too.
fn reserve_message(boot: u8, processor: u8) -> Result<Option<(InterruptFd, Message)>> {
    let directory = format!("/scheme/irq/cpu-{processor:02x}");
    let list = |error| Error::os(format!("list {directory}"), error);
    for entry in fs::read_dir(&directory).map_err(list)? {
        let number = entry.map_err(list)?.file_name().to_str().and_then(|name| name.parse::<u8>().ok());
        let Some(number) = number.filter(|&number| number >= FIRST_MESSAGE) else { continue };
        let Some(vector) = number.checked_add(FIRST_VECTOR) else { continue };
        let twin = match processor == boot {
            true => None,
            false => match reserve(boot, number)? {
                Some((twin, _)) => Some(twin),
                None => continue,
            },
        };
        if let Some((file, name)) = reserve(processor, number)? {
            let interrupt = InterruptFd { _twin: twin, ..InterruptFd::new(file, name, false)? };
            return Ok(Some((interrupt, Message::new(processor, vector)?)));
        }
    }
    Ok(None)
}

/// Reserves this very interrupt, unless somebody else was faster.
fn reserve(processor: u8, number: u8) -> Result<Option<(File, String)>> {
    let name = format!("/scheme/irq/cpu-{processor:02x}/{number}");
    match open(&name, true) {
        Ok(file) => Ok(Some((file, name))),
        Err(error) if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) => {
            Ok(None)
        }
        Err(error) => Err(Error::os(format!("reserve {name}"), error)),
    }
}

/// The number of the processor that the system started on.
fn boot_processor() -> Result<u8> {
    const PATH: &str = "/scheme/irq/bsp";
    let mut number = [0; 8];
    let len = File::open(PATH)
        .and_then(|mut file| file.read(&mut number))
        .map_err(|error| Error::os(format!("read {PATH}"), error))?;
    let number = u64::from_le_bytes(number);
    u8::try_from(number).ok().filter(|_| len >= 4).ok_or_else(|| Error::Invalid {
        what: "number of the boot processor",
        value: format!("{number} in {len} bytes"),
    })
}
