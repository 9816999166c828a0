//! The races between driver and device under every interleaving:
//! `RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test --release -p virtio-core --lib interleavings`.
//!
//! The real rings run; only the memory is replaced, by one in which each side may see late what the other one has written. Each
//! side sleeps when it finds nothing and has asked for a notification, or an interrupt. A lost one is a deadlock, which loom
//! reports; a chain that is seen before it is complete, or twice, fails an assertion.

use loom::{
    model::Builder,
    sync::{Arc, Notify},
    thread,
};
use model_virtio::{Blk, BlkConfig, TransportConfig, Virtio};
use redox_driver_sys::{
    dma::{DmaAddr, DmaAllocator, Segment},
    model::Host,
};

use super::{Chain, Used};
use crate::Features;

/// Chains that are exchanged.
const CHAINS: u16 = 2;

/// The device's side of a ring, on the same memory.
pub(super) trait Peer: Send + 'static {
    /// The number, and the address of the first segment, of the next chain.
    fn fetch(&mut self) -> Option<(u16, u64)>;
    /// Asks to be notified; a full barrier must follow before the next [`fetch`](Self::fetch).
    fn want_notification(&mut self);
    /// Gives a chain back, and says whether the driver wants to be interrupted.
    fn finish(&mut self, id: u16, len: u32) -> bool;
}

/// The driver's side.
pub(super) trait Subject {
    fn add(&mut self, chain: &Chain<'_>, token: u16);
    fn publish(&mut self) -> bool;
    fn pop(&mut self) -> Option<Used>;
    fn arm(&mut self) -> bool;
}

pub(super) fn allocator() -> (Host, DmaAllocator) {
    let (device, _) = Virtio::new(TransportConfig::default(), Blk::new(BlkConfig::default()));
    let host = Host::new(Box::new(device));
    let dma = host.function().dma().unwrap();
    (host, dma)
}

/// Runs a driver and a device that exchange a few chains, one after the other or together, in every interleaving.
pub(super) fn explore<S: Subject, P: Peer>(
    features: Features,
    together: bool,
    make: impl Fn(Features) -> (S, P) + Send + Sync + 'static,
) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        let (mut driver, mut device) = make(features);
        let (notification, interrupt) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (notified, interrupts) = (notification.clone(), interrupt.clone());
        let device = thread::spawn(move || {
            let mut done = 0;
            while done < CHAINS {
                if let Some((id, addr)) = device.fetch() {
                    // What was shown is complete.
                    assert_eq!(addr, 0x1000 + u64::from(done));
                    done += 1;
                    if device.finish(id, done.into()) {
                        interrupts.notify();
                    }
                    continue;
                }
                device.want_notification();
                super::memory::fence(std::sync::atomic::Ordering::SeqCst);
                if let Some((id, addr)) = device.fetch() {
                    assert_eq!(addr, 0x1000 + u64::from(done));
                    done += 1;
                    if device.finish(id, done.into()) {
                        interrupts.notify();
                    }
                    continue;
                }
                notified.wait();
            }
        });
        let show = |driver: &mut S| {
            if driver.publish() {
                notification.notify();
            }
        };
        let mut received = 0;
        for token in 0..CHAINS {
            let writable = [Segment { addr: DmaAddr::new(0x1000 + u64::from(token)), len: 100 }];
            driver.add(&Chain { readable: [&[], &[]], writable: [&writable, &[]] }, token);
            show(&mut driver);
            let wanted = if together { 0 } else { token + 1 };
            receive(&mut driver, &mut received, wanted, &interrupt);
        }
        receive(&mut driver, &mut received, CHAINS, &interrupt);
        device.join().unwrap();
    });
}

/// Takes chains back until there have been so many.
fn receive<S: Subject>(driver: &mut S, received: &mut u16, wanted: u16, interrupt: &Notify) {
    while *received < wanted {
        if let Some(used) = driver.pop() {
            assert_eq!(used, Used { token: *received, len: u32::from(*received) + 1 });
            *received += 1;
        } else if !driver.arm() {
            interrupt.wait();
        }
    }
}
