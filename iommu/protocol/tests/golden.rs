//! Each message against the bytes of the specification.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use iommu_protocol::*;
use proptest::prelude::*;

/// A request, its id, and its bytes.
fn requests() -> Vec<(Request, u32, &'static str)> {
    let device = Device { segment: 0, function: 0x20 };
    let interrupt = MapInterrupt { device, index: 3, vector: 0x41, destination: 2, reserved: 0 };
    let piece = MapPiece {
        memory: 2,
        flags: MapFlags::READ | MapFlags::WRITE | MapFlags::GUARD,
        offset: 0x1000,
        len: 0x3000,
        align: 0x4000,
        address: 0,
    };
    vec![
        (Request::Query, 1, "10000000 0100 0200 01000000 00000000"),
        (
            Request::CreateDomain(CreateDomain { address_bits: 39, reserved: 0 }),
            2,
            "18000000 0200 0200 02000000 00000000 27000000 00000000",
        ),
        (
            Request::DestroyDomain(DomainHandle { domain: 7, reserved: 0 }),
            3,
            "18000000 0300 0200 03000000 00000000 07000000 00000000",
        ),
        (
            Request::Allocate(Allocate { len: 0x12000 }),
            4,
            "18000000 0400 0200 04000000 00000000 0020010000000000",
        ),
        (Request::Import, 5, "10000000 0500 0200 05000000 00000000"),
        (
            Request::Free(MemoryHandle { memory: 2, reserved: 0, len: 0 }),
            6,
            "20000000 0600 0200 06000000 00000000 02000000 00000000 0000000000000000",
        ),
        (
            Request::Map { domain: 7, mask: 0xffff_ffff, pieces: vec![piece] },
            7,
            "48000000 0700 0200 07000000 00000000 07000000 01000000 ffffffff00000000 \
             02000000 0b000000 0010000000000000 0030000000000000 0040000000000000 0000000000000000",
        ),
        (
            Request::Unmap { domain: 7, ranges: vec![Range { address: 0x1_0000_4000, len: 0x3000 }] },
            8,
            "28000000 0800 0200 08000000 00000000 07000000 01000000 0040000001000000 0030000000000000",
        ),
        (
            Request::Translate(Translate { domain: 7, reserved: 0, address: 0x4321 }),
            9,
            "20000000 0900 0200 09000000 00000000 07000000 00000000 2143000000000000",
        ),
        (
            Request::Assign(Assign { domain: 7, device }),
            10,
            "18000000 0a00 0200 0a000000 00000000 07000000 0000 2000",
        ),
        (
            Request::Unassign(Unassign { device, reserved: 0 }),
            11,
            "18000000 0b00 0200 0b000000 00000000 0000 2000 00000000",
        ),
        (
            Request::MapInterrupt(interrupt),
            12,
            "20000000 0c00 0200 0c000000 00000000 0000 2000 0300 4100 02000000 00000000",
        ),
        (
            Request::UnmapInterrupt(interrupt),
            13,
            "20000000 0d00 0200 0d000000 00000000 0000 2000 0300 4100 02000000 00000000",
        ),
        (
            Request::DrainEvents(DrainEvents { most: 64, reserved: 0 }),
            14,
            "18000000 0e00 0200 0e000000 00000000 40000000 00000000",
        ),
        (Request::Inspect, 15, "10000000 0f00 0200 0f000000 00000000"),
    ]
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn requests_have_the_bytes_of_the_specification() {
    let requests = requests();
    assert_eq!(requests.len(), 15, "one of each operation");
    for (request, id, hex) in requests {
        assert_eq!(request.encode(id), bytes(hex), "{request:?}");
        let (header, parsed) = Request::parse(&bytes(hex)).unwrap();
        assert_eq!((header.id, parsed), (id, request));
    }
}

#[test]
fn every_request_is_in_the_specification() {
    let specification = include_str!("../../../docs/iommu-protocol.md");
    for (request, _, hex) in requests() {
        let hex = hex.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(specification.contains(&hex), "the example of {request:?}");
    }
}

#[test]
fn replies_have_the_bytes_of_the_specification() {
    let request = Request::parse(&Request::Import.encode(9)).unwrap().0;
    let reply = Reply::to(&request).with(&MemoryHandle { memory: 2, reserved: 0, len: 0x12000 }).encode();
    assert_eq!(reply, bytes("20000000 0500 0200 09000000 00000000 02000000 00000000 0020010000000000"));
    let body: MemoryHandle = parse_reply(&reply, 9).unwrap().unwrap().body().unwrap();
    assert_eq!((body.memory, body.len), (2, 0x12000));
    let reply = Reply::with_error(&request, errno::EPERM).encode();
    assert_eq!(reply, bytes("10000000 0500 0200 09000000 01000000"));
    assert_eq!(parse_reply(&reply, 9), Ok(Err(errno::EPERM)));
    assert_eq!(parse_reply(&reply, 8), Err(Malformed::Stray { got: 9, expected: 8 }));
    let event = EventInfo {
        address: 0x4000,
        time: 5,
        device: Device { segment: 0, function: 0x20 },
        code: 2,
        flags: EventFlags::WRITE,
        reserved: 0,
    };
    let reply =
        Reply::to(&request).with(&Drained { events: 1, left: 0, lost: 3 }).with([event].as_slice()).encode();
    let report = parse_reply(&reply, 9).unwrap().unwrap();
    let (drained, events) = report.body_and_list::<Drained, EventInfo>(|drained| drained.events).unwrap();
    assert_eq!((drained.lost, events), (3, vec![event]));
}

#[test]
fn what_is_malformed_is_refused() {
    let refused = |hex: &str| Request::parse(&bytes(hex)).unwrap_err().1;
    assert_eq!(refused("1000"), Malformed::Length { bytes: 2, expected: 16 });
    assert_eq!(refused("10000000 0100 0100 01000000 00000000"), Malformed::Version(1));
    assert_eq!(refused("10000000 1000 0200 01000000 00000000"), Malformed::Operation(16));
    assert_eq!(refused("10000000 0100 0200 01000000 01000000"), Malformed::Reserved("the header"));
    let free = "20000000 0600 0200 06000000 00000000 02000000 00000000";
    assert_eq!(refused(&format!("{free} 0010000000000000")), Malformed::Reserved("length in FREE"));
    assert_eq!(
        refused("11000000 0100 0200 01000000 00000000"),
        Malformed::Length { bytes: 16, expected: 17 }
    );
    let list = "20000000 0700 0200 07000000 00000000 07000000 ffffffff ffffffff00000000";
    assert_eq!(refused(list), Malformed::List(u32::MAX));
    let many = vec![Range::default(); MOST_ELEMENTS + 1];
    let many = Request::Unmap { domain: 1, ranges: many }.encode(1);
    assert_eq!(Request::parse(&many).unwrap_err().1, Malformed::List(257));
    let longest = Request::Map { domain: 1, mask: 0, pieces: vec![MapPiece::default(); MOST_ELEMENTS] };
    assert!(longest.encode(1).len() <= MOST_BYTES);
    assert!(Request::parse(&longest.encode(1)).is_ok());
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_come_back(tail in proptest::collection::vec(any::<u8>(), 0..80), operation in 0u16..18) {
        let len = u32::try_from(16 + tail.len()).unwrap();
        let mut message = len.to_le_bytes().to_vec();
        message.extend(operation.to_le_bytes());
        message.extend([2, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        message.extend(tail);
        if let Ok((header, request)) = Request::parse(&message) {
            prop_assert_eq!(request.encode(header.id), message);
        }
    }
}
