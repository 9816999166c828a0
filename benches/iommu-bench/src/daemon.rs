//! Through the daemon.

use std::{
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use iommu_protocol::{MOST_ELEMENTS, MapFlags, MapPiece, Range};
use redox_driver_sys::iommu::{self, Client};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

use crate::{Args, measure};

const PAGE: u64 = 4096;

/// Lists of pages of one memory object.
struct Lists<'a> {
    client: &'a mut Client,
    domain: u32,
    memory: u32,
}

impl Lists<'_> {
    fn map(&mut self, pages: &[MapPiece]) -> Result<Vec<Range>> {
        let ranges = self.client.map(self.domain, u64::MAX, pages)?;
        ensure!(ranges.len() == pages.len(), "{} of {} pages are mapped", ranges.len(), pages.len());
        Ok(ranges)
    }

    /// The first `count` pages of the object.
    fn pages(&self, count: usize) -> Vec<MapPiece> {
        let flags = MapFlags::READ | MapFlags::WRITE;
        let piece = MapPiece { memory: self.memory, flags, offset: 0, len: PAGE, align: 0, address: 0 };
        (0..count as u64).map(|page| MapPiece { offset: page * PAGE, ..piece }).collect()
    }
}

fn object() -> Result<OwnedFd> {
    let object = memfd_create("pages", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&object, MOST_ELEMENTS as u64 * PAGE)?;
    fcntl_add_seals(&object, SealFlags::SHRINK)?;
    Ok(object)
}

/// Pages of tables that the one domain with mappings has, from the daemon's text.
fn tables(text: &str, live: u32) -> Result<u64> {
    let line = text.lines().find_map(|line| line.split_once(&format!(": {live} mappings, ")));
    let tables = line.and_then(|(_, rest)| rest.split_once(" tables")).map(|(tables, _)| tables);
    tables.context("the daemon tells of no tables")?.parse().context("the daemon's number of tables")
}

/// Returns how long the measured part took, and how many pages of tables the live mappings have.
pub(crate) fn run(args: &Args, rounds: u32) -> Result<(Duration, u64)> {
    // The device is in the domain: each unmap is one that it may know of.
    let (_device, domain) = iommu::open(args.device)?;
    let id = domain.id();
    let mut client = domain.client();
    let object = object()?;
    let memory = client.import(object.as_fd())?.memory;
    let mut lists = Lists { client: &mut client, domain: id, memory };
    let mut left = args.live as usize;
    while left > 0 {
        let count = left.min(MOST_ELEMENTS);
        lists.map(&lists.pages(count))?;
        left -= count;
    }
    let tables = tables(&lists.client.inspect()?, args.live)?;
    let pages = lists.pages(args.list.into());
    let elapsed = measure(args.label, rounds, || {
        let ranges = lists.map(&pages)?;
        Ok(lists.client.unmap(id, &ranges)?)
    })?;
    Ok((elapsed, tables))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_those_of_the_live_mappings() {
        let text = "unit 0: 00:02.0\n  domain 1: 7 mappings, 9 tables, devices: none\n  domain 2: 17 mappings, \
                    4 tables, devices: 00:04.0\n";
        assert_eq!(tables(text, 17).unwrap(), 4);
        assert_eq!(tables(text, 7).unwrap(), 9);
        assert!(tables(text, 1).is_err());
        assert!(tables("", 0).is_err());
    }
}
