//! Takes over the PCI functions named on the command line, one after the other, and shows what the OS boundary can do
//! with each: identity, capabilities, BARs, DMA memory, interrupts, reset. Nothing is written to the devices.
//!
//! `vfio-probe 0000:00:04.0`; the function must be bound to vfio-pci. For an NVMe controller CAP and VS are read too.

use std::{process::ExitCode, time::Duration};

use redox_driver_sys::{
    Result,
    dma::{FromDevice, HostBuffer, ToDevice},
    event::EventQueue,
    irq::InterruptKind,
    mmio::ReadOnly,
    pci::{PciAddress, PciFunction},
};

fn main() -> ExitCode {
    let mut failed = false;
    for argument in std::env::args().skip(1) {
        if let Err(error) = argument.parse().and_then(probe) {
            failed = true;
            match std::error::Error::source(&error) {
                Some(source) => eprintln!("vfio-probe: {error}: {source}"),
                None => eprintln!("vfio-probe: {error}"),
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn probe(address: PciAddress) -> Result<()> {
    let function = PciFunction::open(address)?;
    let ids = function.ids()?;
    println!("{address}: {ids}");
    println!("{:#?}", function.capabilities()?);
    for bar in 0..6 {
        match function.map_bar(bar) {
            Ok(registers) => println!("BAR {bar}: {:#x} bytes", registers.len()),
            Err(error) => println!("{error}"),
        }
    }
    if (ids.class, ids.subclass, ids.interface) == (1, 8, 2) {
        let registers = function.map_bar(0)?;
        let capabilities = registers.register::<u64, ReadOnly>(0)?.read_present("CAP")?;
        let version = registers.register::<u32, ReadOnly>(8)?.read_present("VS")?;
        println!("NVMe CAP {capabilities:#018x} VS {:x}.{:x}", version >> 16, version >> 8 & 0xff);
    }
    dma(&function)?;
    for kind in [InterruptKind::Intx, InterruptKind::Msi, InterruptKind::MsiX] {
        interrupts(&function, kind)?;
    }
    function.set_bus_master(true)?;
    println!("reset: {:?}", function.reset());
    println!("command after it: {:#06x}", function.config_read_u16(4)?);
    Ok(())
}

fn dma(function: &PciFunction) -> Result<()> {
    let allocator = function.dma()?;
    let buffer = allocator.allocate(1 << 20)?;
    buffer.write(0, 0x1122_3344_u32)?;
    println!("{} DMA: {buffer:?}, reads {:#x}", allocator.name(), buffer.read::<u32>(0)?);
    let narrow = allocator.with_address_bits(32);
    let wide = allocator.allocate_aligned(1 << 21, 1 << 21)?;
    println!("below 4 GiB: {:?}, aligned to 2 MiB: {wide:?}", narrow.allocate(4096)?);
    let lent = narrow.map_single(HostBuffer::new(5000)?, ToDevice).map_err(|(error, _)| error)?;
    let other = narrow.map_single(HostBuffer::new(1 << 20)?, FromDevice).map_err(|(error, _)| error)?;
    println!("lent: {lent:?} and {other:?}");
    println!("back: {:?} and {:?}, {:?}", lent.unmap()?, other.unmap()?, narrow.bounce_statistics());
    Ok(())
}

fn interrupts(function: &PciFunction, best: InterruptKind) -> Result<()> {
    let granted = match function.interrupts_up_to(4, best) {
        Ok(granted) => granted,
        Err(error) => {
            println!("up to {best}: {error}");
            return Ok(());
        }
    };
    println!("up to {best}: {} of 4 vectors, {}", granted.len(), granted.kind());
    let mut queue = EventQueue::new(&function.clock())?;
    for (vector, token) in granted.into_vectors().iter().zip(0..) {
        queue.add_interrupt(vector, token)?;
        let affinity = vector.set_affinity(0);
        println!("  {vector:?}: pending {}, to CPU 0 {affinity:?}", vector.take()?);
        vector.rearm()?;
    }
    let mut ready = Vec::new();
    queue.wait(Duration::from_millis(10), &mut ready)?;
    println!("  came on their own: {ready:?}");
    Ok(())
}
