#![allow(clippy::cast_possible_truncation)]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// An archive as base's `redox-initfs-ar` lays it out: each part begins a page, directories are in front of what they
/// have, the root is the last inode.
struct Upstream {
    bytes: Vec<u8>,
    inodes: Vec<[u32; 3]>,
}

impl Upstream {
    fn new(bootstrap: &[u8]) -> Self {
        let mut archive = Self { bytes: vec![0; 4096], inodes: Vec::new() };
        archive.put(bootstrap);
        archive
    }

    fn put(&mut self, data: &[u8]) -> u32 {
        let offset = self.bytes.len();
        self.bytes.extend_from_slice(data);
        self.bytes.resize(self.bytes.len().next_multiple_of(4096), 0);
        offset as u32
    }

    fn inode(&mut self, kind: u32, data: &[u8]) -> u16 {
        let offset = self.put(data);
        self.inodes.push([kind, data.len() as u32, offset]);
        self.inodes.len() as u16 - 1
    }

    fn directory(&mut self, entries: &[(&str, u16)]) -> u16 {
        let mut table = Vec::new();
        for (name, inode) in entries {
            let offset = self.put(name.as_bytes());
            table.extend_from_slice(&inode.to_le_bytes());
            table.extend_from_slice(&(name.len() as u16).to_le_bytes());
            table.extend_from_slice(&offset.to_le_bytes());
        }
        self.inode(2, &table)
    }

    fn finish(mut self, entry: u64) -> Vec<u8> {
        let table: Vec<u8> = self.inodes.iter().flatten().flat_map(|number| number.to_le_bytes()).collect();
        let at = self.put(&table);
        let mut header = b"RedoxFtw".to_vec();
        header.extend_from_slice(&at.to_le_bytes());
        header.extend_from_slice(&(self.bytes.len() as u64).to_le_bytes());
        header.extend_from_slice(&4096_u16.to_le_bytes());
        header.extend_from_slice(&(self.inodes.len() as u16 - 1).to_le_bytes());
        header.extend_from_slice(&(self.inodes.len() as u16).to_le_bytes());
        header.extend_from_slice(&entry.to_le_bytes());
        self.bytes[..header.len()].copy_from_slice(&header);
        self.bytes
    }
}

fn file(text: &str, executable: bool) -> Node {
    Node::File { data: text.as_bytes().to_vec(), executable }
}

fn upstream() -> Vec<u8> {
    let mut archive = Upstream::new(b"\x7fELF bootstrap");
    let nvmed = archive.inode(1, b"old driver");
    let drivers = archive.directory(&[("nvmed", nvmed)]);
    let config =
        archive.inode(0, b"[[drivers]]\nclass = 1\ncommand = [\"/scheme/initfs/lib/drivers/nvmed\"]\n");
    let pcid = archive.directory(&[("initfs.toml", config)]);
    let lib = archive.directory(&[("drivers", drivers), ("pcid.d", pcid)]);
    let link = archive.inode(3, b"lib/drivers");
    let empty = archive.inode(0, b"");
    archive.directory(&[("lib", lib), ("link", link), ("empty", empty)]);
    archive.finish(0x2010)
}

#[test]
fn what_upstream_makes_is_read() {
    let initfs = Initfs::read(&upstream()).unwrap();
    assert_eq!(initfs.entry, 0x2010);
    assert_eq!(initfs.bootstrap.len(), 4096, "the program is padded to a page");
    assert!(initfs.bootstrap.starts_with(b"\x7fELF bootstrap"));
    assert_eq!(initfs.get("lib/drivers/nvmed"), Some(&file("old driver", true)));
    assert_eq!(initfs.get("link"), Some(&Node::Link(b"lib/drivers".to_vec())));
    assert_eq!(initfs.get("empty"), Some(&file("", false)));
    assert_eq!(initfs.get("link/nvmed"), None);
    assert_eq!(initfs.get("lib/none"), None);
    let mut paths = Vec::new();
    initfs.walk(&mut |path, _| paths.push(path.to_owned()));
    assert_eq!(
        paths,
        ["empty", "lib", "lib/drivers", "lib/drivers/nvmed", "lib/pcid.d", "lib/pcid.d/initfs.toml", "link"]
    );
}

#[test]
fn kernel_and_bootloader_find_what_they_read() {
    let initfs = Initfs::read(&upstream()).unwrap();
    let bytes = initfs.write().unwrap();
    assert_eq!(bytes[..8], *b"RedoxFtw");
    assert_eq!(u64::from_le_bytes(bytes[0x1a..0x22].try_into().unwrap()), 0x2010);
    assert_eq!(bytes[4096..8192], initfs.bootstrap, "the program lies where it is linked to");
    assert_eq!(u64::from_le_bytes(bytes[12..20].try_into().unwrap()), bytes.len() as u64);
}

#[test]
fn a_driver_replaces_the_one_of_its_name_and_comes_first() {
    let mut initfs = Initfs::read(&upstream()).unwrap();
    let config = "# ours\n[[drivers]]\nname = \"NVMe\"\nclass = 1\nids = { 0x8086 = [0x5845] }\ncommand = [\"nvmed\", \"-v\"]\n";
    let installed = initfs.install("nvmed", b"new".to_vec(), config).unwrap();
    assert_eq!(
        installed,
        Installed {
            program: "lib/drivers/nvmed".to_owned(),
            replaced: Some(10),
            config: "lib/pcid.d/00-nvmed.toml".to_owned(),
        }
    );
    let initfs = Initfs::read(&initfs.write().unwrap()).unwrap();
    assert_eq!(initfs.get("lib/drivers/nvmed"), Some(&file("new", true)));
    let Some(Node::File { data, executable: false }) = initfs.get("lib/pcid.d/00-nvmed.toml") else {
        unreachable!("the file is there")
    };
    let parsed = pcid_config::parse(std::str::from_utf8(data).unwrap()).unwrap();
    let (_, driver) = &parsed.drivers[0];
    assert_eq!(driver.command, ["/scheme/initfs/lib/drivers/nvmed", "-v"]);
    assert_eq!(driver.ids, Some(BTreeMap::from([(0x8086, vec![0x5845])])));
    assert!(initfs.get("lib/pcid.d/initfs.toml").is_some());
}

#[test]
fn a_driver_needs_no_directories_and_says_what_is_in_its_way() {
    let mut bare = Initfs { bootstrap: Vec::new(), entry: 1, root: BTreeMap::new() };
    let config = "[[drivers]]\nclass = 1\ncommand = [\"d\"]\n";
    assert_eq!(bare.install("d", Vec::new(), config).unwrap().replaced, None);
    assert!(matches!(bare.install("d", Vec::new(), "drivers = []"), Err(DriverError::NoCommand)));
    assert!(matches!(bare.install("d", Vec::new(), "drivers = ["), Err(DriverError::Config(_))));

    bare.put("etc/pcid.d/00-a.toml", file("", false)).unwrap();
    let error = bare.install("d", Vec::new(), config).unwrap_err();
    assert_eq!(error.to_string(), "etc/pcid.d/00-a.toml is read before the driver's own pcid.d file");

    let mut blocked = Initfs { bootstrap: Vec::new(), entry: 1, root: BTreeMap::new() };
    blocked.put("lib", file("", false)).unwrap();
    let error = blocked.install("d", Vec::new(), config).unwrap_err();
    assert_eq!(error.to_string(), "lib/drivers/d: lib is no directory");
}

#[test]
fn what_is_no_archive_is_refused() {
    assert_eq!(Initfs::read(b""), Err(ReadError::Magic));
    assert_eq!(Initfs::read(&[0; 8192]), Err(ReadError::Magic));
    let good = upstream();
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        Initfs::read(&bytes).unwrap_err()
    };
    assert_eq!(with(&|bytes| bytes[20..22].copy_from_slice(&[0, 64])), ReadError::PageSize(16384));
    assert!(matches!(with(&|bytes| bytes.truncate(9000)), ReadError::CutOff { what: "the archive", .. }));
    let end = (good.len() as u32 - 4).to_le_bytes();
    assert!(matches!(
        with(&|bytes| bytes[8..12].copy_from_slice(&end)),
        ReadError::CutOff { what: "the inode table", .. }
    ));
    assert_eq!(with(&|bytes| bytes[22] = 0), ReadError::Root);
    assert_eq!(with(&|bytes| bytes[22] = 200), ReadError::NoInode(200));
    let table = u32::from_le_bytes(good[8..12].try_into().unwrap()) as usize;
    assert_eq!(with(&|bytes| bytes[table] = 9), ReadError::Kind { inode: 0, kind: 9 });
    assert_eq!(with(&|bytes| bytes[table + 16] -= 1), ReadError::Directory(1));
    assert_eq!(
        with(&|bytes| bytes[table + 8..table + 12].fill(0)),
        ReadError::InHeader { what: "an inode's contents", offset: 0 }
    );
}

#[test]
fn an_archive_that_leads_in_circles_is_refused() {
    let mut archive = Upstream::new(b"b");
    archive.directory(&[("again", 0)]);
    assert_eq!(Initfs::read(&archive.finish(1)), Err(ReadError::Shared(0)));
    let mut archive = Upstream::new(b"b");
    let mut inner = archive.directory(&[]);
    for _ in 0..70 {
        inner = archive.directory(&[("d", inner)]);
    }
    assert_eq!(Initfs::read(&archive.finish(1)), Err(ReadError::Deep));
}

#[test]
fn names_that_no_file_has_are_refused() {
    for name in ["", ".", "..", "a/b", "a\0"] {
        let mut archive = Upstream::new(b"b");
        let inode = archive.inode(0, b"x");
        archive.directory(&[(name, inode)]);
        assert!(matches!(Initfs::read(&archive.finish(1)), Err(ReadError::Name { .. })), "{name:?}");
    }
    let mut archive = Upstream::new(b"b");
    let (one, two) = (archive.inode(0, b"x"), archive.inode(0, b"y"));
    archive.directory(&[("same", one), ("same", two)]);
    assert!(matches!(Initfs::read(&archive.finish(1)), Err(ReadError::Name { .. })));
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut initfs = Initfs { bootstrap: Vec::new(), entry: 1, root: BTreeMap::new() };
    initfs.root.insert(vec![b'n'; 65_536], file("", false));
    assert!(matches!(initfs.write(), Err(WriteError::Name(_))));
    initfs.root = (0..65_535_u32).map(|number| (number.to_string().into(), Node::Link(Vec::new()))).collect();
    assert_eq!(initfs.write(), Err(WriteError::Inodes));
    initfs.root.remove(b"0".as_slice());
    assert_eq!(Initfs::read(&initfs.write().unwrap()).unwrap().root, initfs.root);
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    "[a-z0-9._-]{1,12}"
        .prop_filter("no name", |name| name != "." && name != "..")
        .prop_map(String::into_bytes)
}

fn tree() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        (prop::collection::vec(any::<u8>(), 0..200), any::<bool>())
            .prop_map(|(data, executable)| Node::File { data, executable }),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Node::Link),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop::collection::btree_map(name(), inner, 0..6).prop_map(Node::Directory)
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        bootstrap in prop::collection::vec(any::<u8>(), 0..9000),
        entry: u64,
        root in prop::collection::btree_map(name(), tree(), 0..6),
    ) {
        let initfs = Initfs { bootstrap, entry, root };
        let bytes = initfs.write().unwrap();
        let mut read = Initfs::read(&bytes).unwrap();
        prop_assert_eq!(&read.root, &initfs.root);
        prop_assert_eq!(read.entry, entry);
        prop_assert!(read.bootstrap.starts_with(&initfs.bootstrap));
        prop_assert!(read.bootstrap[initfs.bootstrap.len()..].iter().all(|byte| *byte == 0));
        // Padded once, it stays as it is.
        let again = read.write().unwrap();
        prop_assert_eq!(&again, &bytes);
        // What follows does not matter.
        read = Initfs::read(&[bytes, vec![1; 100]].concat()).unwrap();
        prop_assert_eq!(&read.root, &initfs.root);
    }

    #[test]
    fn damage_is_never_more_than_an_error(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40)) {
        let mut bytes = Initfs::read(&upstream()).unwrap().write().unwrap();
        let end = bytes.len();
        for (index, byte) in changes {
            // Data and padding do not matter: the header, and the structures at the end.
            let at = index.index(34 + 600);
            let at = if at < 34 { at } else { end - 4096 + at - 34 };
            bytes[at] = byte;
        }
        let _ = Initfs::read(&bytes);
    }
}
