//! Requests (sections 2 and 3).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{
    MOST_BYTES, MOST_ELEMENTS, VERSION,
    error::Malformed,
    messages::{
        Allocate, Assign, CreateDomain, DomainHandle, DrainEvents, Map, MapInterrupt, MapPiece, MemoryHandle,
        Range, Translate, Unassign, Unmap,
    },
};

/// What every request begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RequestHeader {
    /// Bytes of the message, with the header.
    pub len: u32,
    /// An [`Operation`].
    pub operation: u16,
    /// [`VERSION`].
    pub version: u16,
    /// Returned in the reply.
    pub id: u32,
    /// 0.
    pub reserved: u32,
}

const HEADER: usize = size_of::<RequestHeader>();
const _: () = assert!(HEADER == 16);

macro_rules! operations {
    ($($(#[$meta:meta])* $name:ident = $code:literal,)*) => {
        /// What is asked for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        pub enum Operation {
            $($(#[$meta])* $name = $code,)*
        }

        impl TryFrom<u16> for Operation {
            type Error = Malformed;
            fn try_from(code: u16) -> Result<Self, Malformed> {
                match code {
                    $($code => Ok(Operation::$name),)*
                    _ => Err(Malformed::Operation(code)),
                }
            }
        }
    };
}

operations! {
    /// What units there are, and what a client may.
    Query = 1,
    /// Makes an empty domain.
    CreateDomain = 2,
    /// Blocks the devices of a domain, and forgets it.
    DestroyDomain = 3,
    /// Makes memory; its descriptor comes with the reply.
    Allocate = 4,
    /// Brings in memory, whose descriptor comes with the request.
    Import = 5,
    /// Gives memory up. What is mapped stays so.
    Free = 6,
    /// Maps all pieces of a list, or none.
    Map = 7,
    /// Unmaps all ranges of a list, or none.
    Unmap = 8,
    /// What is at an address.
    Translate = 9,
    /// Has a device reach a domain; a descriptor of the device comes with the request.
    Assign = 10,
    /// Blocks a device, and gives it up.
    Unassign = 11,
    /// Lets an interrupt of a device arrive.
    MapInterrupt = 12,
    /// No longer lets it.
    UnmapInterrupt = 13,
    /// Takes the events of the caller's devices.
    DrainEvents = 14,
    /// A text about everything, for the system's administrator.
    Inspect = 15,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "see Operation")]
pub enum Request {
    Query,
    CreateDomain(CreateDomain),
    DestroyDomain(DomainHandle),
    Allocate(Allocate),
    Import,
    Free(MemoryHandle),
    Map { domain: u32, mask: u64, pieces: Vec<MapPiece> },
    Unmap { domain: u32, ranges: Vec<Range> },
    Translate(Translate),
    Assign(Assign),
    Unassign(Unassign),
    MapInterrupt(MapInterrupt),
    UnmapInterrupt(MapInterrupt),
    DrainEvents(DrainEvents),
    Inspect,
}

impl Request {
    /// What is asked for.
    pub fn operation(&self) -> Operation {
        match self {
            Request::Query => Operation::Query,
            Request::CreateDomain(_) => Operation::CreateDomain,
            Request::DestroyDomain(_) => Operation::DestroyDomain,
            Request::Allocate(_) => Operation::Allocate,
            Request::Import => Operation::Import,
            Request::Free(_) => Operation::Free,
            Request::Map { .. } => Operation::Map,
            Request::Unmap { .. } => Operation::Unmap,
            Request::Translate(_) => Operation::Translate,
            Request::Assign(_) => Operation::Assign,
            Request::Unassign(_) => Operation::Unassign,
            Request::MapInterrupt(_) => Operation::MapInterrupt,
            Request::UnmapInterrupt(_) => Operation::UnmapInterrupt,
            Request::DrainEvents(_) => Operation::DrainEvents,
            Request::Inspect => Operation::Inspect,
        }
    }

    /// The bytes of the request. A list that is too long makes a message that the daemon refuses.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "lists longer than 2^32 elements have no room in memory"
    )]
    pub fn encode(&self, id: u32) -> Vec<u8> {
        let operation = self.operation() as u16;
        let header = RequestHeader { len: 0, operation, version: VERSION, id, reserved: 0 };
        let mut bytes = header.as_bytes().to_vec();
        match self {
            Request::Query | Request::Import | Request::Inspect => {}
            Request::CreateDomain(body) => bytes.extend(body.as_bytes()),
            Request::DestroyDomain(body) => bytes.extend(body.as_bytes()),
            Request::Allocate(body) => bytes.extend(body.as_bytes()),
            Request::Free(body) => bytes.extend(body.as_bytes()),
            Request::Map { domain, mask, pieces } => {
                let body = Map { domain: *domain, pieces: pieces.len() as u32, mask: *mask };
                bytes.extend(body.as_bytes());
                bytes.extend(pieces.as_bytes());
            }
            Request::Unmap { domain, ranges } => {
                bytes.extend(Unmap { domain: *domain, ranges: ranges.len() as u32 }.as_bytes());
                bytes.extend(ranges.as_bytes());
            }
            Request::Translate(body) => bytes.extend(body.as_bytes()),
            Request::Assign(body) => bytes.extend(body.as_bytes()),
            Request::Unassign(body) => bytes.extend(body.as_bytes()),
            Request::MapInterrupt(body) | Request::UnmapInterrupt(body) => bytes.extend(body.as_bytes()),
            Request::DrainEvents(body) => bytes.extend(body.as_bytes()),
        }
        let len = (bytes.len() as u32).to_ne_bytes();
        bytes[..len.len()].copy_from_slice(&len);
        bytes
    }

    /// Reads a request.
    ///
    /// # Errors
    /// What is wrong with it, with the header if there is one.
    pub fn parse(bytes: &[u8]) -> Result<(RequestHeader, Self), (Option<RequestHeader>, Malformed)> {
        let short = Malformed::Length { bytes: bytes.len(), expected: HEADER };
        let (header, body) = RequestHeader::read_from_prefix(bytes).map_err(|_| (None, short))?;
        Self::parse_body(&header, body)
            .map(|request| (header, request))
            .map_err(|error| (Some(header), error))
    }

    fn parse_body(header: &RequestHeader, body: &[u8]) -> Result<Self, Malformed> {
        let bytes = HEADER + body.len();
        if bytes > MOST_BYTES {
            return Err(Malformed::Length { bytes, expected: MOST_BYTES });
        }
        if header.version != VERSION {
            return Err(Malformed::Version(header.version));
        }
        let expected = usize::try_from(header.len).unwrap_or(usize::MAX);
        if expected != bytes {
            return Err(Malformed::Length { bytes, expected });
        }
        zero("the header", header.reserved)?;
        Ok(match Operation::try_from(header.operation)? {
            Operation::Query => whole::<()>(body).map(|()| Request::Query)?,
            Operation::Import => whole::<()>(body).map(|()| Request::Import)?,
            Operation::Inspect => whole::<()>(body).map(|()| Request::Inspect)?,
            Operation::CreateDomain => {
                let body: CreateDomain = whole(body)?;
                zero("CREATE_DOMAIN", body.reserved)?;
                Request::CreateDomain(body)
            }
            Operation::DestroyDomain => {
                let body: DomainHandle = whole(body)?;
                zero("DESTROY_DOMAIN", body.reserved)?;
                Request::DestroyDomain(body)
            }
            Operation::Allocate => Request::Allocate(whole(body)?),
            Operation::Free => {
                let body: MemoryHandle = whole(body)?;
                zero("FREE", body.reserved)?;
                // As in the reply that made it, but for its length.
                if body.len != 0 {
                    return Err(Malformed::Reserved("length in FREE"));
                }
                Request::Free(body)
            }
            Operation::Map => {
                let (Map { domain, pieces, mask }, rest) = prefix(body)?;
                let pieces: Vec<MapPiece> = list(pieces, rest)?;
                if pieces.iter().any(|piece| piece.flags.is_unknown()) {
                    return Err(Malformed::Reserved("flags of a piece"));
                }
                Request::Map { domain, mask, pieces }
            }
            Operation::Unmap => {
                let (Unmap { domain, ranges }, rest) = prefix(body)?;
                Request::Unmap { domain, ranges: list(ranges, rest)? }
            }
            Operation::Translate => {
                let body: Translate = whole(body)?;
                zero("TRANSLATE", body.reserved)?;
                Request::Translate(body)
            }
            Operation::Assign => Request::Assign(whole(body)?),
            Operation::Unassign => {
                let body: Unassign = whole(body)?;
                zero("UNASSIGN", body.reserved)?;
                Request::Unassign(body)
            }
            Operation::MapInterrupt => Request::MapInterrupt(interrupt(body)?),
            Operation::UnmapInterrupt => Request::UnmapInterrupt(interrupt(body)?),
            Operation::DrainEvents => {
                let body: DrainEvents = whole(body)?;
                zero("DRAIN_EVENTS", body.reserved)?;
                Request::DrainEvents(body)
            }
        })
    }
}

fn interrupt(body: &[u8]) -> Result<MapInterrupt, Malformed> {
    let body: MapInterrupt = whole(body)?;
    zero("MAP_INTERRUPT", body.reserved)?;
    Ok(body)
}

fn zero(what: &'static str, reserved: u32) -> Result<(), Malformed> {
    if reserved == 0 { Ok(()) } else { Err(Malformed::Reserved(what)) }
}

/// A body with nothing behind it.
pub(crate) fn whole<T: FromBytes>(bytes: &[u8]) -> Result<T, Malformed> {
    T::read_from_bytes(bytes)
        .map_err(|_| Malformed::Length { bytes: HEADER + bytes.len(), expected: HEADER + size_of::<T>() })
}

/// A body, and what is behind it.
pub(crate) fn prefix<T: FromBytes>(bytes: &[u8]) -> Result<(T, &[u8]), Malformed> {
    T::read_from_prefix(bytes)
        .map_err(|_| Malformed::Length { bytes: HEADER + bytes.len(), expected: HEADER + size_of::<T>() })
}

/// A list of `count` elements with nothing behind it.
pub(crate) fn list<T: FromBytes>(count: u32, bytes: &[u8]) -> Result<Vec<T>, Malformed> {
    let len = usize::try_from(count).ok().filter(|&count| count <= MOST_ELEMENTS);
    let expected = len.ok_or(Malformed::List(count))? * size_of::<T>();
    let wrong = Malformed::Length { bytes: bytes.len(), expected };
    if bytes.len() != expected {
        return Err(wrong);
    }
    bytes.chunks_exact(size_of::<T>()).map(|element| T::read_from_bytes(element).map_err(|_| wrong)).collect()
}
