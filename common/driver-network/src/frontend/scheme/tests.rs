//! Clients of the scheme, and a device at the other end of a wire.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::sync::{Arc, Mutex};

use redox_driver_sys::scheme::{Errno, SchemeRequest};
use syscall::{
    flag::{EventFlags, O_NONBLOCK, O_RDWR},
    schemev2::{Opcode, Sqe},
};

use super::{NetworkScheme, ROOT, SchemePort, port::MOST, server::MOST_OPEN};
use crate::{
    Engine,
    testing::{Handle, Trouble, WireDevice, wire},
};

/// A buffer of a client's.
type Buffer = Arc<Mutex<Vec<u8>>>;

struct Bench {
    scheme: NetworkScheme<WireDevice>,
    device: Handle,
    /// What the device sends arrives here.
    other: Handle,
    _other: WireDevice,
    tag: u32,
}

impl Bench {
    fn new() -> Self {
        let [device, other] = wire();
        let (handle, far) = (device.handle(), other.handle());
        let (dma, clock) = (device.dma(), device.clock());
        let engine = Engine::start(device, dma, clock, vec![SchemePort::default()]).unwrap();
        let scheme = NetworkScheme::new("network.test", engine);
        let mut bench = Bench { scheme, device: handle, other: far, _other: other, tag: 0 };
        bench.turn();
        bench
    }

    fn turn(&mut self) {
        for _ in 0..3 {
            self.scheme.turn(&[0]).unwrap();
        }
    }

    /// Asks, and returns by which number.
    fn ask(&mut self, opcode: Opcode, args: [u64; 6], buffer: &Buffer) -> u32 {
        self.tag += 1;
        let sqe = Sqe { opcode: opcode as u8, tag: self.tag, args, ..Sqe::default() };
        self.scheme.request(SchemeRequest::of_test(&sqe, buffer.clone()));
        self.tag
    }

    /// The answer to a question that was asked, if there is one.
    fn answer(&mut self, tag: u32) -> Option<Result<usize, Errno>> {
        let answers = self.scheme.answers();
        let at = answers.iter().position(|answer| answer.as_event().is_none() && answer.tag() == tag)?;
        Some(answers.remove(at).result())
    }

    fn at_once(&mut self, opcode: Opcode, args: [u64; 6], buffer: &Buffer) -> Result<usize, Errno> {
        let tag = self.ask(opcode, args, buffer);
        self.answer(tag).expect("an answer at once")
    }

    fn open(&mut self, path: &str) -> Result<usize, Errno> {
        self.open_as(path, 0)
    }

    fn open_as(&mut self, path: &str, user: u64) -> Result<usize, Errno> {
        self.at_once(Opcode::OpenAt, [ROOT as u64, 0, 0, O_RDWR as u64, 0, user], &bytes(path.as_bytes()))
    }

    fn read(&mut self, handle: usize, len: usize, flags: usize) -> (u32, Buffer) {
        let buffer = bytes(&vec![0; len]);
        (self.ask(Opcode::Read, [handle as u64, 0, 0, 0, flags as u64, 0], &buffer), buffer)
    }

    fn write(&mut self, handle: usize, data: &[u8], flags: usize) -> u32 {
        self.ask(Opcode::Write, [handle as u64, 0, 0, 0, flags as u64, 0], &bytes(data))
    }

    fn text(&mut self, path: &str) -> String {
        let handle = self.open(path).unwrap();
        let (tag, buffer) = self.read(handle, 4096, 0);
        let len = self.answer(tag).unwrap().unwrap();
        let text = buffer.lock().unwrap()[..len].to_vec();
        String::from_utf8(text).unwrap()
    }

    /// Events that clients were told.
    fn events(&mut self) -> Vec<(usize, bool, bool)> {
        let events =
            self.scheme.answers().iter().filter_map(redox_driver_sys::scheme::Answer::as_event).collect();
        self.scheme.answers().retain(|answer| answer.as_event().is_none());
        events
    }
}

fn bytes(bytes: &[u8]) -> Buffer {
    Arc::new(Mutex::new(bytes.to_vec()))
}

fn frame(number: u8, len: usize) -> Vec<u8> {
    (0..len).map(|at| number.wrapping_add(at.to_le_bytes()[0])).collect()
}

#[test]
fn only_root_opens_and_only_what_there_is() {
    let mut bench = Bench::new();
    for path in ["", "mac", "mtu", "link", "stats", "offload"] {
        assert!(bench.open(path).is_ok(), "{path}");
        assert_eq!(bench.open_as(path, 1000), Err(Errno::ACCESS), "{path}");
    }
    for path in ["macs", "/", "a path that is longer than any"] {
        assert_eq!(bench.open(path), Err(Errno::NOENT), "{path}");
    }
    let args = [7, 0, 0, O_RDWR as u64, 0, 0];
    assert_eq!(bench.at_once(Opcode::OpenAt, args, &bytes(b"mac")), Err(Errno::ACCESS));
}

#[test]
fn frames_come_in_order_to_readers_in_order() {
    let mut bench = Bench::new();
    let handle = bench.open("").unwrap();
    let waiting: Vec<_> = (0..3).map(|_| bench.read(handle, 2000, 0)).collect();
    for number in 0..5 {
        bench.device.send(&frame(number, 100));
    }
    bench.turn();
    for (number, (tag, buffer)) in (0..).zip(&waiting) {
        assert_eq!(bench.answer(*tag), Some(Ok(100)));
        assert_eq!(buffer.lock().unwrap()[..100], frame(number, 100));
    }
    for number in 3..5 {
        let (tag, buffer) = bench.read(handle, 100, O_NONBLOCK);
        assert_eq!(bench.answer(tag), Some(Ok(100)));
        assert_eq!(*buffer.lock().unwrap(), frame(number, 100));
    }
    let (tag, _) = bench.read(handle, 100, O_NONBLOCK);
    assert_eq!(bench.answer(tag), Some(Err(Errno::AGAIN)));
}

#[test]
fn a_frame_that_does_not_fit_is_not_lost() {
    let mut bench = Bench::new();
    let handle = bench.open("").unwrap();
    bench.device.send(&frame(1, 1514));
    bench.turn();
    for (len, result) in [(1513, Err(Errno::MSGSIZE)), (0, Ok(0)), (1514, Ok(1514))] {
        let (tag, _) = bench.read(handle, len, O_NONBLOCK);
        assert_eq!(bench.answer(tag), Some(result), "{len}");
    }
}

#[test]
fn frames_that_are_none_are_not_sent() {
    let mut bench = Bench::new();
    let handle = bench.open("").unwrap();
    for (len, result) in [
        (0, Err(Errno::INVAL)),
        (13, Err(Errno::INVAL)),
        (14, Ok(14)),
        (1518, Ok(1518)),
        (1519, Err(Errno::MSGSIZE)),
    ] {
        let tag = bench.write(handle, &frame(3, len), O_NONBLOCK);
        assert_eq!(bench.answer(tag), Some(result), "{len}");
    }
    bench.turn();
    assert_eq!(bench.other.intercept(), Some(frame(3, 14)));
    assert_eq!(bench.other.intercept(), Some(frame(3, 1518)));
    assert_eq!(bench.other.intercept(), None);
}

#[test]
fn writers_wait_for_room_and_are_told() {
    let mut bench = Bench::new();
    let handle = bench.open("").unwrap();
    let wanted = (EventFlags::EVENT_READ | EventFlags::EVENT_WRITE).bits() as u64;
    let ready = bench.at_once(Opcode::Fevent, [handle as u64, wanted, 0, 0, 0, 0], &bytes(b""));
    assert_eq!(ready, Ok(EventFlags::EVENT_WRITE.bits()));
    // No turn meanwhile: nothing goes.
    for number in 0..MOST {
        let tag = bench.write(handle, &frame(number.to_le_bytes()[0], 60), O_NONBLOCK);
        assert_eq!(bench.answer(tag), Some(Ok(60)), "{number}");
    }
    let waiting = bench.write(handle, &frame(0xee, 60), 0);
    assert_eq!(bench.answer(waiting), None);
    let refused = bench.write(handle, &frame(0xef, 60), O_NONBLOCK);
    assert_eq!(bench.answer(refused), Some(Err(Errno::AGAIN)));
    for _ in 0..MOST {
        bench.turn();
    }
    assert_eq!(bench.answer(waiting), Some(Ok(60)));
    assert_eq!(bench.events(), [(handle, false, true)]);
    let sent: Vec<_> = std::iter::from_fn(|| bench.other.intercept()).collect();
    assert_eq!(sent.len(), MOST);
    assert_eq!(sent[0], frame(0, 60));
}

#[test]
fn who_waits_for_room_without_a_write_is_told_too() {
    let mut bench = Bench::new();
    let handle = bench.open("").unwrap();
    for _ in 0..MOST {
        let tag = bench.write(handle, &frame(1, 60), O_NONBLOCK);
        assert_eq!(bench.answer(tag), Some(Ok(60)));
    }
    let write = EventFlags::EVENT_WRITE.bits() as u64;
    assert_eq!(bench.at_once(Opcode::Fevent, [handle as u64, write, 0, 0, 0, 0], &bytes(b"")), Ok(0));
    bench.turn();
    assert_eq!(bench.events(), [(handle, false, true)]);
    bench.turn();
    assert_eq!(bench.events(), []);
}

#[test]
fn readers_are_told_once_for_what_comes() {
    let mut bench = Bench::new();
    let (handle, silent) = (bench.open("").unwrap(), bench.open("").unwrap());
    let read = EventFlags::EVENT_READ.bits() as u64;
    assert_eq!(bench.at_once(Opcode::Fevent, [handle as u64, read, 0, 0, 0, 0], &bytes(b"")), Ok(0));
    assert_eq!(bench.events(), []);
    bench.device.send(&frame(1, 60));
    bench.turn();
    assert_eq!(bench.events(), [(handle, true, false)]);
    bench.turn();
    assert_eq!(bench.events(), []);
    let ready = bench.at_once(Opcode::Fevent, [silent as u64, read, 0, 0, 0, 0], &bytes(b""));
    assert_eq!(ready, Ok(EventFlags::EVENT_READ.bits()));
}

#[test]
fn more_than_clients_read_is_dropped_and_counted() {
    let mut bench = Bench::new();
    let handle = bench.open("").unwrap();
    for _ in 0..MOST + 10 {
        bench.device.send(&frame(1, 60));
        bench.turn();
    }
    assert!(bench.text("stats").contains("\nlane_rx_dropped: 10\n"));
    for _ in 0..MOST {
        let (tag, _) = bench.read(handle, 60, O_NONBLOCK);
        assert_eq!(bench.answer(tag), Some(Ok(60)));
    }
    let (tag, _) = bench.read(handle, 60, O_NONBLOCK);
    assert_eq!(bench.answer(tag), Some(Err(Errno::AGAIN)));
}

#[test]
fn the_device_can_be_asked_and_changed() {
    let mut bench = Bench::new();
    assert_eq!(bench.text("mtu"), "1500\n");
    assert_eq!(bench.text("link"), "up, full duplex\n");
    assert_eq!(bench.text("offload"), "tx_checksum: off\nrx_checksum: off\n");
    let handle = bench.open("mtu").unwrap();
    for (text, result) in [
        (&b"9000\n"[..], Ok(5)),
        (b"9001", Err(Errno::INVAL)),
        (b"67", Err(Errno::INVAL)),
        (b"", Err(Errno::INVAL)),
        (b"many", Err(Errno::INVAL)),
        (b"00000000000000000001500", Err(Errno::INVAL)),
    ] {
        let tag = bench.write(handle, text, 0);
        assert_eq!(bench.answer(tag), Some(result), "{text:?}");
    }
    assert_eq!(bench.text("mtu"), "9000\n");
    assert_eq!(bench.device.resets(), 1);
    let mac = bench.open("mac").unwrap();
    for (address, result) in [
        (&[2, 0, 0, 0, 0, 9][..], Ok(6)),
        (&[2, 0, 0, 0, 0], Err(Errno::INVAL)),
        (&[3, 0, 0, 0, 0, 9], Err(Errno::INVAL)),
        (&[0; 6], Err(Errno::INVAL)),
    ] {
        let tag = bench.write(mac, address, 0);
        assert_eq!(bench.answer(tag), Some(result), "{address:?}");
    }
    assert_eq!(bench.device.settings().address.0, [2, 0, 0, 0, 0, 9]);
    let link = bench.open("link").unwrap();
    let tag = bench.write(link, b"down", 0);
    assert_eq!(bench.answer(tag), Some(Err(Errno::INVAL)));
}

#[test]
fn a_device_that_does_not_come_back_with_another_mtu_is_the_end() {
    let mut bench = Bench::new();
    let handle = bench.open("mtu").unwrap();
    bench.device.make(Trouble::Dies);
    let tag = bench.write(handle, b"9000", 0);
    assert_eq!(bench.answer(tag), Some(Err(Errno::IO)));
    let error = bench.scheme.turn(&[0]).unwrap_err();
    assert_eq!(error.to_string(), "reset");
}

#[test]
fn only_so_much_is_open_at_a_time() {
    let mut bench = Bench::new();
    let first = bench.open("mac").unwrap();
    for _ in 1..MOST_OPEN {
        bench.open("mac").unwrap();
    }
    assert_eq!(bench.open("mac"), Err(Errno::NFILE));
    let args = [first as u64, 0, 0, 0, 0, 0];
    let sqe = Sqe { opcode: Opcode::CloseMsg as u8, args, ..Sqe::default() };
    bench.scheme.request(SchemeRequest::of_test(&sqe, bytes(b"")));
    assert!(bench.open("mac").is_ok());
}

#[test]
fn who_gives_up_waiting_gets_no_frame() {
    let mut bench = Bench::new();
    let handle = bench.open("").unwrap();
    let (first, _) = bench.read(handle, 100, 0);
    let (second, _) = bench.read(handle, 100, 0);
    let sqe = Sqe { opcode: Opcode::Cancel as u8, tag: first, ..Sqe::default() };
    bench.scheme.request(SchemeRequest::of_test(&sqe, bytes(b"")));
    assert_eq!(bench.answer(first), Some(Err(Errno::INTR)));
    bench.device.send(&frame(1, 60));
    bench.turn();
    assert_eq!(bench.answer(second), Some(Ok(60)));
    let (last, _) = bench.read(handle, 100, 0);
    let Bench { scheme, .. } = bench;
    let (answers, ended) = scheme.shutdown(std::time::Duration::ZERO, crate::WakeOn::empty());
    assert_eq!(ended, Ok(()));
    assert_eq!(
        answers.iter().map(|answer| (answer.tag(), answer.result())).collect::<Vec<_>>(),
        [(last, Err(Errno::NODEV))]
    );
}

#[test]
fn handles_that_are_closed_are_gone() {
    let mut bench = Bench::new();
    let handle = bench.open("mac").unwrap();
    let path = bytes(&[0; 64]);
    let len = bench.at_once(Opcode::Fpath, [handle as u64, 0, 0, 0, 0, 0], &path).unwrap();
    assert_eq!(path.lock().unwrap()[..len], *b"network.test:mac");
    let sqe = Sqe { opcode: Opcode::CloseMsg as u8, args: [handle as u64, 0, 0, 0, 0, 0], ..Sqe::default() };
    bench.scheme.request(SchemeRequest::of_test(&sqe, bytes(b"")));
    for opcode in [Opcode::Read, Opcode::Write, Opcode::Fpath, Opcode::Fsize, Opcode::Fevent] {
        let args = [handle as u64, 0, 0, 0, 0, 0];
        assert_eq!(bench.at_once(opcode, args, &bytes(&[0; 6])), Err(Errno::BADF), "{opcode:?}");
    }
}
