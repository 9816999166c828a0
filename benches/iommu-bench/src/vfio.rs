//! Through the kernel.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use redox_driver_sys::{
    dma::{Bidirectional, HostBuffer},
    pci::PciFunction,
};

use crate::{Args, measure};

const PAGE: usize = 4096;

/// Returns how long the measured part took.
pub(crate) fn run(args: &Args, rounds: u32) -> Result<Duration> {
    ensure!(args.list == 1, "VFIO maps one range in a call");
    let dma = PciFunction::open(args.device)?.dma()?;
    let mut live = Vec::new();
    for _ in 0..args.live {
        live.push(dma.map_single(HostBuffer::new(PAGE)?, Bidirectional).map_err(|(error, _)| error)?);
    }
    let mut buffer = Some(HostBuffer::new(PAGE)?);
    let elapsed = measure(args.label, rounds, || {
        let taken = buffer.take().context("the page is lost")?;
        let mapping = dma.map_single(taken, Bidirectional).map_err(|(error, _)| error)?;
        ensure!(!mapping.is_bounced(), "the page is copied, not mapped");
        buffer = Some(mapping.unmap()?);
        Ok(())
    })?;
    for mapping in live {
        mapping.unmap()?;
    }
    Ok(elapsed)
}
