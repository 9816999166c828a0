//! Several clients of one queue.

use std::time::Duration;

use super::{
    Setup, Specimen, Unable,
    bench::{Bench, PATIENCE},
};
use crate::{
    device::{DiskId, Operation},
    request::Request,
};

/// What the busy one has outstanding.
const MANY: u64 = 96;
/// How many single requests the other makes.
const TURNS: u64 = 50;

/// Somebody keeps [`MANY`] requests outstanding on one disk; another has one at a time, of one block. That one never waits
/// for more of the others than were there before it, and those that the device has taken meanwhile.
fn take_turns<S: Specimen>(bench: &mut Bench<S>, busy: DiskId, modest: DiskId) {
    const MODEST: u64 = 1 << 32;
    let blocks = 64;
    let (mut next, mut outstanding, mut answers) = (0, 0, Vec::new());
    let mut worst = 0;
    for turn in 0..TURNS {
        let mut passed = 0u64;
        let mut waiting = false;
        let asked = bench.device.host().now();
        loop {
            while outstanding < MANY {
                let lba = next * 7919 % 8000;
                let request =
                    Request { disk: busy, ..bench.transfer(Operation::Read, lba, blocks, 0, next % MODEST) };
                bench.engine.submit(0, request).unwrap();
                next += 1;
                outstanding += 1;
            }
            if !waiting {
                let request = bench.transfer(Operation::Read, turn, 1, 1 << 20, MODEST + turn);
                bench.engine.submit(0, Request { disk: modest, ..request }).unwrap();
                waiting = true;
            }
            bench.engine.kick();
            bench.engine.step(&mut answers);
            let mut answered = false;
            for answer in answers.drain(..) {
                assert_eq!(answer.completion.result, Ok(()));
                if answer.completion.cookie >= MODEST {
                    answered = true;
                } else {
                    outstanding -= 1;
                    passed += u64::from(!answered);
                }
            }
            if answered {
                break;
            }
            assert!(bench.device.host().now().since(asked) < PATIENCE, "nobody is answered");
            bench.device.host().advance(Duration::from_micros(5));
        }
        worst = worst.max(passed);
    }
    assert!(next > MANY, "the busy one did not come to its turn either");
    // Those that were there before, and what is answered in the same turn.
    assert!(
        worst <= MANY + MANY / 4,
        "{worst} requests of the busy one were answered before one of the other"
    );
    bench.engine.drain(PATIENCE).unwrap();
    bench.check_behaviour();
}

pub(super) fn clients<S: Specimen>(variant: &S::Variant) -> Result<(), Unable> {
    let mut bench = Bench::<S>::new(variant, &Setup::default())?;
    let disk = bench.disk;
    take_turns(&mut bench, disk, disk);
    Ok(())
}

pub(super) fn disks<S: Specimen>(variant: &S::Variant) -> Result<(), Unable> {
    let mut bench = Bench::<S>::new(variant, &Setup { disks: 2, ..Setup::default() })?;
    let disk = bench.disk;
    let other = bench.engine.disks().iter().map(|disk| disk.id).find(|id| *id != disk);
    let other = other.ok_or(Unable("it has one disk"))?;
    take_turns(&mut bench, other, disk);
    Ok(())
}
