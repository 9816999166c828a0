//! Reading an archive. Nothing in it is trusted.

use std::collections::{BTreeMap, BTreeSet};

use zerocopy::FromBytes;

use super::format::{Entry, Header, Inode, MAGIC, PAGE, kind};
use super::tree::{Initfs, Node};

/// Directories inside each other.
const DEEPEST: usize = 64;

/// What makes a file no archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It does not begin as one.
    #[error("it is no initfs: it does not begin with \"RedoxFtw\"")]
    Magic,
    /// It is for pages of another size.
    #[error("its pages have {0} bytes, and only {PAGE} are known")]
    PageSize(u16),
    /// It ends before something that it says it has.
    #[error("it is cut off: {what} is at {offset:#x}, {length:#x} bytes long, of {size:#x}")]
    CutOff {
        /// What it would have.
        what: &'static str,
        /// Where that would begin.
        offset: u64,
        /// How long it would be.
        length: u64,
        /// How much there is.
        size: u64,
    },
    /// Something lies in the header's page.
    #[error("{what} is at {offset:#x}, inside the header's page")]
    InHeader {
        /// What does.
        what: &'static str,
        /// Where it begins.
        offset: u64,
    },
    /// An inode that the table does not have.
    #[error("inode {0} is beyond the table")]
    NoInode(u16),
    /// An inode with two names, which no archiver makes; it could lead round in circles.
    #[error("inode {0} has more than one name")]
    Shared(u16),
    /// An inode of a kind that is not known.
    #[error("inode {inode} is of the unknown kind {kind}")]
    Kind {
        /// The inode.
        inode: u16,
        /// Its kind.
        kind: u32,
    },
    /// The root is something else.
    #[error("the root is no directory")]
    Root,
    /// A directory whose contents are not whole entries.
    #[error("directory {0} ends in the middle of an entry")]
    Directory(u16),
    /// A name that no file can have.
    #[error("directory {inode} has an entry that is called {name:?}")]
    Name {
        /// The directory.
        inode: u16,
        /// The name.
        name: String,
    },
    /// Directories are too deep inside each other.
    #[error("directories are more than {DEEPEST} deep")]
    Deep,
}

impl Initfs {
    /// Reads an archive. What follows its end is ignored.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read(bytes: &[u8]) -> Result<Self, ReadError> {
        let (header, _) = Header::read_from_prefix(bytes).map_err(|_| ReadError::Magic)?;
        if header.magic != MAGIC {
            return Err(ReadError::Magic);
        }
        if header.page_size.get() != PAGE {
            return Err(ReadError::PageSize(header.page_size.get()));
        }
        let mut archive = Archive { bytes, lowest: u64::MAX, inodes: &[], seen: BTreeSet::new() };
        let size = header.size.get();
        archive.bytes = archive.slice("the archive", 0, size)?;
        let length = u64::from(header.inode_count.get()) * size_of::<Inode>() as u64;
        let table = archive.find("the inode table", header.inode_table.get(), length)?;
        archive.inodes = <[Inode]>::ref_from_bytes(table).map_err(|_| ReadError::Root)?;
        let Node::Directory(root) = archive.node(header.root.get(), DEEPEST)? else {
            return Err(ReadError::Root);
        };
        // What lies between the header and the first thing that the header leads to.
        let bootstrap = archive.slice(
            "the bootstrap program",
            u64::from(PAGE),
            archive.lowest.saturating_sub(u64::from(PAGE)),
        )?;
        Ok(Self { bootstrap: bootstrap.to_vec(), entry: header.bootstrap_entry.get(), root })
    }
}

struct Archive<'a> {
    bytes: &'a [u8],
    /// The lowest offset of anything.
    lowest: u64,
    inodes: &'a [Inode],
    seen: BTreeSet<u16>,
}

impl<'a> Archive<'a> {
    fn slice(&self, what: &'static str, offset: u64, length: u64) -> Result<&'a [u8], ReadError> {
        let size = self.bytes.len() as u64;
        let range = usize::try_from(offset)
            .ok()
            .zip(offset.checked_add(length).and_then(|end| usize::try_from(end).ok()));
        range.and_then(|(from, to)| self.bytes.get(from..to)).ok_or(ReadError::CutOff {
            what,
            offset,
            length,
            size,
        })
    }

    /// Something outside of the header.
    fn find(
        &mut self,
        what: &'static str,
        offset: impl Into<u64>,
        length: u64,
    ) -> Result<&'a [u8], ReadError> {
        let offset = offset.into();
        // What is empty may be anywhere.
        if length > 0 {
            if offset < u64::from(PAGE) {
                return Err(ReadError::InHeader { what, offset });
            }
            self.lowest = self.lowest.min(offset);
        }
        self.slice(what, offset, length)
    }

    fn node(&mut self, number: u16, depth: usize) -> Result<Node, ReadError> {
        let inode = *self.inodes.get(usize::from(number)).ok_or(ReadError::NoInode(number))?;
        if !self.seen.insert(number) {
            return Err(ReadError::Shared(number));
        }
        let data = self.find("an inode's contents", inode.offset.get(), inode.length.get().into())?;
        Ok(match inode.kind.get() {
            kind::FILE => Node::File { data: data.to_vec(), executable: false },
            kind::EXECUTABLE => Node::File { data: data.to_vec(), executable: true },
            kind::LINK => Node::Link(data.to_vec()),
            kind::DIRECTORY => {
                let depth = depth.checked_sub(1).ok_or(ReadError::Deep)?;
                let entries = <[Entry]>::ref_from_bytes(data).map_err(|_| ReadError::Directory(number))?;
                let mut directory = BTreeMap::new();
                for entry in entries {
                    let name = self.find("a name", entry.name.get(), entry.name_length.get().into())?;
                    let node = self.node(entry.inode.get(), depth)?;
                    let sound = !name.is_empty()
                        && !matches!(name, b"." | b"..")
                        && !name.iter().any(|byte| matches!(byte, b'/' | 0));
                    if !sound || directory.insert(name.to_vec(), node).is_some() {
                        let name = String::from_utf8_lossy(name).into_owned();
                        return Err(ReadError::Name { inode: number, name });
                    }
                }
                Node::Directory(directory)
            }
            kind => return Err(ReadError::Kind { inode: number, kind }),
        })
    }
}
