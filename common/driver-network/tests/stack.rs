//! A network stack on two devices at the ends of a wire, in the same process.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use driver_network::{
    Engine, NetDevice, Shape,
    testing::{MailPort, Served, Station, Trouble, WireDevice, ping, tcp_echo, wire},
};

fn station(device: WireDevice, number: u8, mtu: u16) -> Station<Served<WireDevice>> {
    let (dma, clock) = (device.dma(), device.clock());
    let address = device.settings().address;
    let mut engine = Engine::start(device, dma, clock, vec![MailPort::default()]).unwrap();
    let shape = Shape { mtu, ..engine.device().shape() };
    engine.reshape(shape, &mut Vec::new()).unwrap().unwrap();
    Station::new(Served(engine), address, number, mtu)
}

#[test]
fn pings_of_every_size_come_back() {
    for mtu in [1500, 9000] {
        let [one, other] = wire();
        let (mut one, mut other) = (station(one, 1, mtu), station(other, 2, mtu));
        let most = usize::from(mtu) - 28;
        ping(&mut one, &mut other, &[0, 1, 56, 100, 1000, 1471, 1472, most - 1, most]);
    }
}

#[test]
fn a_connection_carries_its_bytes() {
    let [one, other] = wire();
    let (mut one, mut other) = (station(one, 1, 1500), station(other, 2, 1500));
    tcp_echo(&mut one, &mut other, 1 << 20, |_| {});
}

#[test]
fn a_connection_survives_lost_and_damaged_packets() {
    let [one, other] = wire();
    let (mut one, mut other) = (station(one, 1, 1500), station(other, 2, 1500));
    one.set_faults(5, 5);
    tcp_echo(&mut one, &mut other, 64 << 10, |_| {});
}

#[test]
fn a_connection_survives_a_device_that_hangs_or_breaks() {
    for trouble in [Trouble::Hangs, Trouble::Breaks, Trouble::Lies] {
        let [one, other] = wire();
        let handle = one.handle();
        let (mut one, mut other) = (station(one, 1, 1500), station(other, 2, 1500));
        let mut made = false;
        let before = handle.resets();
        tcp_echo(&mut one, &mut other, 256 << 10, |back| {
            handle.advance(Duration::from_millis(5));
            if back > 100 << 10 && !made {
                made = true;
                handle.make(trouble);
            }
        });
        let resets = u64::from(trouble != Trouble::Lies);
        assert_eq!(handle.resets() - before, resets, "{trouble:?}");
        assert_eq!(handle.stray_accesses(), 0);
    }
}

#[test]
fn a_connection_survives_a_cable_that_is_pulled() {
    let [one, other] = wire();
    let handle = one.handle();
    let (mut one, mut other) = (station(one, 1, 1500), station(other, 2, 1500));
    let mut looks = 0;
    tcp_echo(&mut one, &mut other, 256 << 10, |back| {
        looks += u32::from(back > 100 << 10);
        handle.set_link(!(10..40).contains(&looks));
    });
    assert!(looks > 40);
}
