//! An archive's contents in memory.

use std::collections::BTreeMap;

/// A file, directory or link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A file with its contents.
    File {
        /// The contents.
        data: Vec<u8>,
        /// Whether it can be executed.
        executable: bool,
    },
    /// A directory by its entries' names.
    Directory(BTreeMap<Vec<u8>, Node>),
    /// A symbolic link with its target.
    Link(Vec<u8>),
}

/// What an archive consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Initfs {
    /// The program that the kernel starts, as a memory image.
    pub bootstrap: Vec<u8>,
    /// Address of its first instruction.
    pub entry: u64,
    /// The entries of the root.
    pub root: BTreeMap<Vec<u8>, Node>,
}

impl Initfs {
    /// What is at a path, as `lib/drivers/nvmed`. Links are not followed.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Node> {
        let mut entries = &self.root;
        let mut names = path.split('/');
        let last = names.next_back()?;
        for name in names {
            match entries.get(name.as_bytes())? {
                Node::Directory(inner) => entries = inner,
                Node::File { .. } | Node::Link(_) => return None,
            }
        }
        entries.get(last.as_bytes())
    }

    /// Puts something at a path, making the directories that lead there, and returns what was there before.
    ///
    /// # Errors
    /// The part of the path that is there and is no directory.
    pub fn put(&mut self, path: &str, node: Node) -> Result<Option<Node>, String> {
        let mut entries = &mut self.root;
        let (directories, last) = path.rsplit_once('/').map_or((None, path), |(a, b)| (Some(a), b));
        for name in directories.into_iter().flat_map(|path| path.split('/')) {
            let inner =
                entries.entry(name.as_bytes().to_vec()).or_insert_with(|| Node::Directory(BTreeMap::new()));
            match inner {
                Node::Directory(inner) => entries = inner,
                Node::File { .. } | Node::Link(_) => return Err(name.to_owned()),
            }
        }
        Ok(entries.insert(last.as_bytes().to_vec(), node))
    }

    /// All paths with what is there, directories before what they have.
    pub fn walk(&self, visit: &mut dyn FnMut(&str, &Node)) {
        walk("", &self.root, visit);
    }
}

fn walk(above: &str, entries: &BTreeMap<Vec<u8>, Node>, visit: &mut dyn FnMut(&str, &Node)) {
    for (name, node) in entries {
        let path = format!("{above}{}", String::from_utf8_lossy(name));
        visit(&path, node);
        if let Node::Directory(inner) = node {
            walk(&format!("{path}/"), inner, visit);
        }
    }
}
