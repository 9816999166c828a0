//! Writing an archive.

use std::collections::BTreeMap;

use zerocopy::IntoBytes;

use super::format::{Entry, Header, Inode, MAGIC, PAGE, kind};
use super::tree::{Initfs, Node};

/// What does not fit into an archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// More inodes than their numbers can tell apart.
    #[error("it has more than {} files", u16::MAX)]
    Inodes,
    /// More bytes than offsets reach.
    #[error("it is larger than 4 GiB")]
    Size,
    /// A name of more bytes than its length can say.
    #[error("the name {0}… is too long")]
    Name(String),
}

impl Initfs {
    /// Writes an archive: the header's page, the bootstrap program, files, each at a page's beginning, with links,
    /// directories and names between them, and the inode table.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn write(&self) -> Result<Vec<u8>, WriteError> {
        let mut archive = Archive { bytes: vec![0; usize::from(PAGE)], inodes: Vec::new() };
        archive.put(&self.bootstrap)?;
        archive.align();
        let root = archive.directory(&self.root)?;
        let (inodes, inode_count) = (std::mem::take(&mut archive.inodes), root.saturating_add(1));
        let inode_table = archive.put(inodes.as_bytes())?;
        archive.align();
        let header = Header {
            magic: MAGIC,
            inode_table: inode_table.into(),
            size: (archive.bytes.len() as u64).into(),
            page_size: PAGE.into(),
            root: root.into(),
            inode_count: inode_count.into(),
            bootstrap_entry: self.entry.into(),
        };
        for (to, from) in archive.bytes.iter_mut().zip(header.as_bytes()) {
            *to = *from;
        }
        Ok(archive.bytes)
    }
}

struct Archive {
    bytes: Vec<u8>,
    inodes: Vec<Inode>,
}

impl Archive {
    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(usize::from(PAGE)), 0);
    }

    /// Appends something and returns its offset.
    fn put(&mut self, data: &[u8]) -> Result<u32, WriteError> {
        let offset = u32::try_from(self.bytes.len()).map_err(|_| WriteError::Size)?;
        self.bytes.extend_from_slice(data);
        u32::try_from(self.bytes.len()).map_err(|_| WriteError::Size)?;
        Ok(offset)
    }

    /// Appends an inode with its contents and returns its number.
    fn inode(&mut self, kind: u32, data: &[u8]) -> Result<u16, WriteError> {
        let number = u16::try_from(self.inodes.len()).map_err(|_| WriteError::Inodes)?;
        // The root's number and the count have to fit as well.
        if number == u16::MAX {
            return Err(WriteError::Inodes);
        }
        let offset = self.put(data)?;
        let length = u32::try_from(data.len()).map_err(|_| WriteError::Size)?;
        self.inodes.push(Inode { kind: kind.into(), length: length.into(), offset: offset.into() });
        Ok(number)
    }

    fn node(&mut self, node: &Node) -> Result<u16, WriteError> {
        match node {
            Node::File { data, executable } => {
                self.align();
                self.inode(if *executable { kind::EXECUTABLE } else { kind::FILE }, data)
            }
            Node::Link(target) => self.inode(kind::LINK, target),
            Node::Directory(entries) => self.directory(entries),
        }
    }

    fn directory(&mut self, entries: &BTreeMap<Vec<u8>, Node>) -> Result<u16, WriteError> {
        let mut table = Vec::with_capacity(entries.len());
        for (name, node) in entries {
            let inode = self.node(node)?;
            let name_length = u16::try_from(name.len())
                .map_err(|_| WriteError::Name(String::from_utf8_lossy(name).chars().take(32).collect()))?;
            let name = self.put(name)?;
            table.push(Entry { inode: inode.into(), name_length: name_length.into(), name: name.into() });
        }
        self.inode(kind::DIRECTORY, table.as_bytes())
    }
}
