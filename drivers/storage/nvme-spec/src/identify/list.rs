//! Lists that Identify and Get Log Page return.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use redox_driver_sys::{codes, display_code};

/// Up to 1024 namespace ids, ascending, ended by a zero: the active and allocated namespace lists (section 5.15.2.3)
/// and the Changed Namespace List log (section 5.14.1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct NamespaceList {
    /// The ids.
    pub ids: [u32; 1024],
}

const _: () = assert!(size_of::<NamespaceList>() == 4096);

impl NamespaceList {
    /// What the first entry of the Changed Namespace List is when more than 1024 changed.
    pub const TOO_MANY: u32 = u32::MAX;

    /// The ids up to the zero.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.ids.iter().copied().take_while(|&id| id != 0)
    }
}

impl Default for NamespaceList {
    fn default() -> Self {
        NamespaceList { ids: [0; 1024] }
    }
}

impl FromIterator<u32> for NamespaceList {
    /// The first 1024 ids.
    fn from_iter<I: IntoIterator<Item = u32>>(ids: I) -> Self {
        let mut list = NamespaceList::default();
        for (slot, id) in list.ids.iter_mut().zip(ids) {
            *slot = id;
        }
        list
    }
}

codes! {
    /// NIDT: type of a namespace identifier (section 5.15.2.4).
    pub struct IdentifierType: u8 {
        EUI64 = 1, "IEEE Extended Unique Identifier";
        NGUID = 2, "Namespace Globally Unique Identifier";
        UUID = 3, "Namespace UUID";
        /// Defined by NVM Express 2.0.
        CSI = 4, "Command Set Identifier";
    }
}

display_code!(IdentifierType);

/// A namespace identifier (section 5.15.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamespaceIdentifier<'a> {
    /// NIDT.
    pub kind: IdentifierType,
    /// NID: 8 bytes of an EUI-64, 16 of an NGUID or a UUID, big-endian; 1 of a command set.
    pub value: &'a [u8],
}

/// The Namespace Identification Descriptor list: each descriptor has its type, its length, two reserved bytes and the
/// identifier; a length of zero ends the list (section 5.15.2.4).
#[derive(Clone, Copy, Debug)]
pub struct NamespaceIdentifiers<'a>(&'a [u8]);

impl<'a> NamespaceIdentifiers<'a> {
    /// Reads the descriptors in `data` one by one; a descriptor that does not fit ends them.
    pub fn of(data: &'a [u8]) -> Self {
        NamespaceIdentifiers(data)
    }
}

impl<'a> Iterator for NamespaceIdentifiers<'a> {
    type Item = NamespaceIdentifier<'a>;

    fn next(&mut self) -> Option<NamespaceIdentifier<'a>> {
        let ([kind, len, _, _], rest) = self.0.split_first_chunk()?;
        let (value, rest) = rest.split_at_checked(usize::from(*len)).filter(|_| *len != 0)?;
        self.0 = rest;
        Some(NamespaceIdentifier { kind: IdentifierType(*kind), value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_end_at_a_zero_length_or_where_they_stop_fitting() {
        let mut data = vec![1, 8, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 4, 1, 0, 0, 0];
        let kinds =
            |data: &[u8]| NamespaceIdentifiers::of(data).map(|id| (id.kind.0, id.value.len())).collect();
        let expected = vec![(1, 8), (4, 1)];
        let found: Vec<(u8, usize)> = kinds(&data);
        assert_eq!(found, expected);
        data.extend([3, 16, 0, 0, 9, 9]);
        let found: Vec<(u8, usize)> = kinds(&data);
        assert_eq!(found, expected, "a cut descriptor is none");
        data.truncate(17);
        data.extend([0; 40]);
        let found: Vec<(u8, usize)> = kinds(&data);
        assert_eq!(found, expected, "the end mark is none");
    }

    #[test]
    fn a_list_ends_at_zero_and_holds_1024() {
        let list: NamespaceList = (1..=2000).collect();
        assert_eq!(list.iter().count(), 1024);
        let list: NamespaceList = [3, 7].into_iter().collect();
        assert_eq!(list.iter().collect::<Vec<_>>(), [3, 7]);
    }
}
