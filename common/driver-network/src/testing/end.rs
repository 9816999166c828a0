//! A driver on the model of its device, and a network stack at the other end of the wire.

use std::{collections::VecDeque, time::Duration};

use redox_driver_sys::dma::DmaAllocator;

use super::{MailPort, NEGOTIATION, Nic, Served, Station, Wire, frames::PEER};
use crate::{address::MacAddress, device::NetDevice, engine::Engine};

/// How long a frame takes.
const FLIGHT: Duration = Duration::from_micros(100);

/// The other end: frames go in and out by the model's wire.
#[derive(Debug)]
pub struct WireEnd<W> {
    wire: W,
    came: VecDeque<Vec<u8>>,
}

impl<W: Wire> Nic for WireEnd<W> {
    fn run(&mut self) {
        self.wire.host().advance(FLIGHT);
        self.came.extend(self.wire.take_sent());
    }

    fn send(&mut self, frame: Vec<u8>) {
        self.wire.send(&frame);
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        self.came.pop_front()
    }
}

/// The engine of a device that was just attached, with one port, which is all that a stack looks at, and a link.
pub fn engine<D: NetDevice>(wire: &impl Wire, device: D, dma: DmaAllocator) -> Engine<D, MailPort> {
    let engine = Engine::start(device, dma, wire.host().clock(), vec![MailPort::default()]).unwrap();
    wire.host().advance(NEGOTIATION);
    engine
}

/// The stations at both ends of a wire: one on the driver, the other on the model.
pub fn stations<D: NetDevice, W: Wire>(
    wire: W,
    device: D,
    dma: DmaAllocator,
) -> (Station<Served<D>>, Station<WireEnd<W>>) {
    let (own, mtu) = (device.settings().address, device.shape().mtu);
    let one = Station::new(Served(engine(&wire, device, dma)), own, 1, mtu);
    let other = WireEnd { wire, came: VecDeque::new() };
    (one, Station::new(other, MacAddress(PEER), 2, mtu))
}
