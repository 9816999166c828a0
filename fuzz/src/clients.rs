//! Clients that ask for anything, above the block layer and a driver whose device lies.

use std::{collections::BTreeSet, time::Duration};

use driver_block::{
    Controller, DiskId, LocalEngine, Operation, QueueOptions, RecoveryPolicy, Request, Segments,
};
use redox_driver_sys::{
    dma::{DmaAllocator, DmaBuffer},
    model::Host,
    time::Clock,
};

use crate::{driver::Disturbance, input::Input};

const BUFFER: usize = 256 << 10;
const REQUESTS: u32 = 24;
const MOST_STEPS: usize = 256;
/// How long requests may take in virtual time, whatever the device does: retries and resets have ends.
const BOUND: Duration = Duration::from_secs(3600);

/// Lets clients ask for what `script` says. Every request that is taken is answered exactly once, and in bounded time.
///
/// Returns whether the controller is still plugged in.
pub(crate) fn run<C: Controller>(
    host: &Host,
    controller: C,
    (dma, clock): (&DmaAllocator, &Clock),
    mut disturb: impl FnMut(&mut C, &Input) -> Disturbance,
    script: &Input,
) -> bool {
    let options = QueueOptions::new(REQUESTS, controller.command_timeout());
    let Ok(buffer) = dma.allocate(BUFFER) else { return true };
    let Ok(mut engine) = LocalEngine::new(controller, clock, &options, RecoveryPolicy::default()) else {
        return true;
    };
    let mut outstanding = BTreeSet::new();
    let mut connected = true;
    for number in 0..MOST_STEPS as u64 {
        if script.is_empty() {
            break;
        }
        match script.byte() % 8 {
            0..=3 => {
                let queue = u16::from(script.byte() % 4);
                let request = request(&engine, &buffer, number, script);
                if usize::from(queue) < engine.queues().len() && engine.submit(queue, request).is_ok() {
                    outstanding.insert(number);
                }
            }
            4 => engine.kick(),
            5 => host.advance(Duration::from_micros(u64::from(script.word()) * 16)),
            6 => {
                if let Some(controller) = engine.controller_mut()
                    && let Disturbance::Connected(now) = disturb(controller, script)
                {
                    connected = now;
                    host.set_connected(now);
                }
            }
            _ => {}
        }
        take_answers(&mut engine, &mut outstanding);
    }
    engine.kick();
    let end = host.now().plus(BOUND);
    while !outstanding.is_empty() {
        take_answers(&mut engine, &mut outstanding);
        host.advance(Duration::from_millis(20));
        assert!(host.now() < end, "{outstanding:?} were never answered");
    }
    // What a device that lies makes of its end is no matter here, but it has one.
    let _ = engine.shutdown(Duration::from_secs(60));
    connected
}

fn take_answers<C: Controller>(engine: &mut LocalEngine<C>, outstanding: &mut BTreeSet<u64>) {
    let mut answers = Vec::new();
    engine.step(&mut answers);
    for answer in answers {
        let cookie = answer.completion.cookie;
        assert!(outstanding.remove(&cookie), "an answer to nothing, or a second one: {cookie}");
    }
}

/// Anything: proper more often than not, so that there is something to go wrong.
fn request<C: Controller>(
    engine: &LocalEngine<C>,
    buffer: &DmaBuffer,
    cookie: u64,
    script: &Input,
) -> Request {
    let operation = match script.byte() % 8 {
        0..=2 => Operation::Read,
        3 | 4 => Operation::Write,
        5 => Operation::Flush,
        6 => Operation::Discard,
        _ => Operation::WriteZeroes,
    };
    let disks = engine.disks();
    let disk = disks.get(script.below(disks.len().max(1)));
    let size = disk.map_or(512, |disk| u64::from(disk.limits.block_size));
    let (mut lba, mut blocks) = (u64::from(script.word()), u64::from(script.byte() % 64) + 1);
    let mut disk = disk.map_or(DiskId(0), |disk| disk.id);
    let mut segments = Segments::new();
    if matches!(operation, Operation::Read | Operation::Write) {
        let len = (blocks * size).min(BUFFER as u64);
        segments.extend(u32::try_from(len).ok().and_then(|len| buffer.segment(0, len).ok()));
    }
    match script.byte() {
        0 => lba = script.long(),
        1 => blocks = script.long(),
        2 => disk = DiskId(script.word().into()),
        3 => segments.clear(),
        4 => {
            for _ in 0..script.byte() % 40 {
                let (at, len) = (script.below(BUFFER), u32::from(script.word()));
                segments.extend(buffer.segment(at, len).ok());
            }
        }
        _ => {}
    }
    Request { operation, disk, lba, blocks, fua: script.byte().is_multiple_of(4), segments, cookie }
}
