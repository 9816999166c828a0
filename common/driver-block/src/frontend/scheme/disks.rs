//! The disks that are shown, with their partitions.

use std::{collections::BTreeMap, fmt::Write};

use super::{
    handles::Extent,
    node::Node,
    table::{Search, TableSearch, Wanted},
    verbs::Counters,
};
use crate::{
    device::{Disk, DiskId},
    error::BlockError,
    partitions::{PartitionError, PartitionTable, Window},
};

/// One disk.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) disk: Disk,
    pub(super) counters: Counters,
    partitions: Vec<Window>,
    /// Running, with its number.
    search: Option<(u64, TableSearch)>,
}

/// All disks of a controller.
#[derive(Debug, Default)]
pub(super) struct Disks {
    disks: BTreeMap<DiskId, Served>,
    /// Searches that were begun.
    searches: u64,
}

/// What a search needs next.
#[derive(Clone, Copy, Debug)]
pub(super) struct SearchRead {
    pub(super) number: u64,
    pub(super) disk: DiskId,
    pub(super) block_size: u32,
    pub(super) wanted: Wanted,
}

impl Disks {
    /// A disk appeared or changed.
    pub(super) fn set(&mut self, disk: Disk) {
        match self.disks.get_mut(&disk.id) {
            Some(served) => served.disk = disk,
            None => {
                let served =
                    Served { disk, counters: Counters::default(), partitions: Vec::new(), search: None };
                self.disks.insert(served.disk.id, served);
            }
        }
    }

    pub(super) fn remove(&mut self, disk: DiskId) {
        self.disks.remove(&disk);
    }

    pub(super) fn get(&self, disk: DiskId) -> Option<&Served> {
        self.disks.get(&disk)
    }

    pub(super) fn get_mut(&mut self, disk: DiskId) -> Option<&mut Served> {
        self.disks.get_mut(&disk)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = DiskId> {
        self.disks.keys().copied()
    }

    /// Begins to look for partitions. What was found before stays until the search is over.
    pub(super) fn search(&mut self, name: &str, disk: DiskId) -> Option<SearchRead> {
        self.searches += 1;
        let served = self.disks.get_mut(&disk)?;
        served.search = Some((self.searches, TableSearch::new(&served.disk)));
        served.go_on(name)
    }

    /// What the search with this number wanted has come.
    pub(super) fn search_read(
        &mut self,
        name: &str,
        disk: DiskId,
        number: u64,
        wanted: Wanted,
        bytes: Result<Vec<u8>, BlockError>,
    ) -> Option<SearchRead> {
        let served = self.disks.get_mut(&disk)?;
        match &mut served.search {
            Some((running, search)) if *running == number => search.read(wanted, bytes),
            _ => return None,
        }
        served.go_on(name)
    }

    /// Whether no search is running.
    pub(super) fn are_settled(&self) -> bool {
        self.disks.values().all(|served| served.search.is_none())
    }

    /// What a node stands for, if it is there.
    pub(super) fn extent(&self, node: Node) -> Option<Extent> {
        match node {
            Node::Disk(disk) => {
                let blocks = self.disks.get(&disk)?.disk.blocks;
                Some(Extent { disk, window: Window::whole(blocks) })
            }
            Node::Partition(disk, number) => {
                let window = *self.disks.get(&disk)?.partitions.get(usize::try_from(number).ok()?)?;
                Some(Extent { disk, window })
            }
            Node::Root | Node::Inspect => None,
        }
    }

    /// All nodes, each disk before its partitions.
    pub(super) fn nodes(&self) -> impl Iterator<Item = Node> {
        self.disks.iter().flat_map(|(id, served)| {
            let partitions = (0..).zip(&served.partitions).map(|(number, _)| Node::Partition(*id, number));
            std::iter::once(Node::Disk(*id)).chain(partitions)
        })
    }

    /// The names of all nodes, one in a line.
    pub(super) fn listing(&self) -> String {
        let mut text = String::new();
        for node in self.nodes() {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{node}");
        }
        text
    }
}

impl Served {
    fn go_on(&mut self, name: &str) -> Option<SearchRead> {
        let (number, search) = self.search.as_ref()?;
        match search.go_on() {
            Search::Wants(wanted) => Some(SearchRead {
                number: *number,
                disk: self.disk.id,
                block_size: self.disk.limits.block_size,
                wanted,
            }),
            Search::Over(table) => {
                self.search = None;
                self.found(name, table);
                None
            }
        }
    }

    fn found(&mut self, name: &str, table: Result<PartitionTable, PartitionError>) {
        let disk = self.disk.id;
        match table {
            Ok(table) => {
                for warning in &table.warnings {
                    log::warn!("{name}: disk {disk}: {warning}");
                }
                self.partitions = table.partitions.iter().map(|partition| partition.window).collect();
            }
            Err(PartitionError::BlockSize(_)) => self.partitions.clear(),
            Err(error) => {
                log::warn!("{name}: disk {disk} is served without partitions: {error}");
                self.partitions.clear();
            }
        }
    }
}
