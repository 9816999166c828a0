//! ahcid on a controller that lies.

use std::{
    sync::{Arc, atomic::AtomicBool, atomic::Ordering},
    time::Duration,
};

use ahci_spec::AtaError;
use ahcid::{AhciController, AhciQueue, Coalescing, LinkPower, Options};
use driver_block::{Command, Completed, Controller, Disk, HardwareQueue, LbaRange, Operation, SubmitError};
use model_ahci::{
    Action, Ahci, CdConfig, Config, DeviceConfig, DiskConfig, FaultPlan, Handle, Place, PowerCut, Rule,
};
use redox_driver_sys::{
    dma::{DmaBuffer, Segment},
    irq::InterruptKind,
    model::Host,
};

use crate::{hostile::Hostile, input::Input};

/// Data buffer of each tag.
const BUFFER: usize = 16 << 10;
/// Bounds of the virtual time that a step may take. Nothing that the queue does waits; the controller does for an HBA
/// reset, for the BIOS, for the disks to settle, for a report.
const LONGEST_STEP: Duration = Duration::from_secs(40);
const LONGEST_SHUTDOWN: Duration = Duration::from_secs(40);
const MOST_STEPS: usize = 256;

/// One run: the first half of `data` says how the device lies, the second what the driver is asked to do.
pub fn run(data: &[u8]) {
    let (device, script) = data.split_at(data.len() / 2);
    let script = Input::new(script);
    let (ahci, model) = Ahci::new(config(&script));
    let (device, tampered) = Hostile::new(ahci, Input::new(device));
    let host = Host::new(Box::new(device));
    if script.byte() % 4 == 3 {
        model.set_faults(plan(&script));
        tampered.store(true, Ordering::Relaxed);
    }
    let start = host.now();
    let attached = AhciController::attach(host.function(), options(&script));
    assert!(host.now().since(start) < LONGEST_STEP, "attaching took {:?}", host.now().since(start));
    let connected = match attached {
        Ok(controller) => Driven::new(host.clone(), model.clone(), controller, tampered.clone()).run(&script),
        Err(error) => {
            assert!(tampered.load(Ordering::Relaxed), "a proper controller was refused: {error:?}");
            true
        }
    };
    assert_eq!(host.mapped_bytes(), 0, "memory stays mapped");
    assert!(!connected || !host.bus_master(), "bus mastering stays on");
    if !tampered.load(Ordering::Relaxed) {
        assert_eq!(model.take_violations(), []);
        assert_eq!(host.take_faults(), []);
    }
}

fn config(script: &Input) -> Config {
    let choice = script.byte();
    let disk = |blocks, serial| DeviceConfig::Disk(DiskConfig::new(blocks, serial));
    let cd = DeviceConfig::Cd(CdConfig { blocks: Some(500), serial: "CD".to_string() });
    let mut devices = vec![Some(disk(1 << 16, "a")), None, Some(cd)];
    devices.push(Some(DeviceConfig::Disk(DiskConfig::old(1 << 10, "old"))));
    if choice & 1 != 0 {
        devices.push(Some(DeviceConfig::Multiplier(vec![
            Some(disk(1 << 10, "m0")),
            None,
            Some(disk(1 << 11, "m2")),
        ])));
    }
    Config {
        fbs: choice & 2 != 0,
        staggered: choice & 4 != 0,
        bios: choice & 8 != 0,
        device_sleep: choice & 16 != 0,
        slots: if choice & 32 != 0 { 32 } else { 4 },
        devices,
        seed: choice.into(),
        ..Config::default()
    }
}

/// Each kind of fault, now and then.
fn plan(script: &Input) -> FaultPlan {
    let actions = [
        Action::Drop,
        Action::Hang,
        Action::Fail(AtaError::from(script.byte())),
        Action::DeviceFault,
        Action::Duplicate,
        Action::Garbage,
        Action::GarbageLog,
        Action::ClearOthers(script.word().into()),
        Action::LoseInterrupt,
        Action::SpuriousInterrupt,
        Action::LinkError,
        Action::BusError,
        Action::LinkLoss,
        Action::Unplug,
        Action::WildWrite(script.long()),
    ];
    let chosen = script.word();
    let rules = (0..).zip(actions).filter(|(bit, _)| chosen & 1 << bit != 0);
    rules.fold(FaultPlan::new(script.long()), |plan, (_, action)| {
        plan.rule(Rule::new(action).probability(0.05))
    })
}

fn options(script: &Input) -> Options {
    let choice = script.byte();
    Options {
        queue_depth: choice % 32 + 1,
        ncq: choice & 32 == 0,
        polled: choice & 64 != 0,
        interrupts: if choice & 128 != 0 { InterruptKind::Intx } else { InterruptKind::Msi },
        command_timeout: Duration::from_millis(100),
        settle: Duration::from_millis(u64::from(script.byte()) * 4),
        link_power: [
            LinkPower::MaxPerformance,
            LinkPower::MediumPower,
            LinkPower::MinPower,
            LinkPower::DeviceSleep,
        ][script.below(4)],
        coalescing: (script.byte() & 1 != 0).then_some(Coalescing { completions: 3, delay_ms: 1 }),
        standby: script.byte() & 1 != 0,
    }
}

struct Driven {
    // The controller goes before the memory that it was lent.
    controller: AhciController,
    queue: Option<AhciQueue>,
    in_flight: Vec<bool>,
    buffer: Option<DmaBuffer>,
    host: Host,
    model: Handle,
    tampered: Arc<AtomicBool>,
    /// What is pulled out hears of nothing, and does no DMA.
    connected: bool,
}

impl Driven {
    fn new(host: Host, model: Handle, mut controller: AhciController, tampered: Arc<AtomicBool>) -> Self {
        let queue = controller.take_queues().pop();
        let tags = queue.as_ref().map_or(0, |queue| usize::from(queue.depth()));
        let buffer = controller.dma().allocate((tags * BUFFER).max(1)).ok();
        let in_flight = vec![false; tags];
        Driven { controller, queue, in_flight, buffer, host, model, tampered, connected: true }
    }

    /// Returns whether the controller is still plugged in.
    fn run(mut self, script: &Input) -> bool {
        for _ in 0..MOST_STEPS {
            if script.is_empty() {
                break;
            }
            let start = self.host.now();
            if !self.step(script) {
                return self.connected;
            }
            assert!(self.host.now().since(start) < LONGEST_STEP, "{:?}", self.host.now().since(start));
        }
        let start = self.host.now();
        let ended = self.controller.shutdown(self.queue.take().into_iter().collect());
        let took = self.host.now().since(start);
        assert!(took < LONGEST_SHUTDOWN, "shutting down took {took:?}");
        assert!(ended.is_ok() || self.tampered.load(Ordering::Relaxed), "{ended:?}");
        assert!(!self.may_do_dma(), "bus mastering is on after the end");
        self.connected
    }

    fn may_do_dma(&self) -> bool {
        self.connected && self.host.bus_master()
    }

    /// Does one step; false when the controller is lost.
    fn step(&mut self, script: &Input) -> bool {
        match script.byte() % 16 {
            0..=4 => self.submit(script),
            5 => self.queue.iter_mut().for_each(HardwareQueue::commit),
            6 | 7 => self.reap(true),
            8 => {
                let mut events = Vec::new();
                let _ = self.controller.poll(self.host.now(), &mut events);
            }
            9 => {
                let tag = u16::try_from(script.below(self.in_flight.len())).unwrap_or(0);
                if let Some(queue) = &mut self.queue {
                    let _ = queue.abort(tag);
                }
            }
            10 => return self.reset(),
            11 => drop(self.controller.inspect()),
            12 => self.host.advance(Duration::from_micros(u64::from(script.word()) * 16)),
            13 => {
                self.queue.iter_mut().for_each(HardwareQueue::commit);
                self.host.advance(Duration::from_millis(1));
                self.reap(true);
            }
            14 => self.disturb(script),
            _ => {
                // Only what is due.
                self.host.advance(Duration::from_millis(script.byte().into()));
                self.reap(false);
                for disk in self.controller.disks() {
                    let limits = &disk.limits;
                    assert!(
                        disk.blocks > 0 && limits.block_size.is_power_of_two() && limits.max_transfer > 0
                    );
                    assert!(limits.max_transfer.is_multiple_of(limits.block_size), "{limits:?}");
                }
            }
        }
        true
    }

    fn submit(&mut self, script: &Input) {
        let disks = self.controller.disks();
        let Some(disk) = disks.get(script.below(disks.len())) else { return };
        let tag = script.below(self.in_flight.len());
        let (Some(false), Some(queue), Some(buffer)) =
            (self.in_flight.get(tag).copied(), &mut self.queue, &self.buffer)
        else {
            return;
        };
        let operation = match script.byte() % 8 {
            0..=2 => Operation::Read,
            3 | 4 => Operation::Write,
            5 => Operation::Flush,
            6 => Operation::Discard,
            _ => Operation::WriteZeroes,
        };
        if let Some(submitted) = submit(queue, buffer, disk, operation, tag, script) {
            self.in_flight[tag] = submitted.is_ok();
        }
    }

    fn reap(&mut self, interrupted: bool) {
        let Some(queue) = &mut self.queue else { return };
        if interrupted {
            queue.interrupted();
        }
        let mut completed: Vec<Completed> = Vec::new();
        let _ = queue.reap(&mut completed);
        let _ = (queue.due(), queue.attention());
        for Completed { tag, .. } in completed {
            let in_flight = self.in_flight.get_mut(usize::from(tag));
            assert_eq!(in_flight.as_deref(), Some(&true), "tag {tag} completed and was not in flight");
            self.in_flight[usize::from(tag)] = false;
        }
    }

    fn reset(&mut self) -> bool {
        match self.controller.reset(self.queue.take().into_iter().collect()) {
            Ok(mut queues) => {
                self.queue = queues.pop();
                self.in_flight.fill(false);
                true
            }
            Err(error) => {
                assert!(self.tampered.load(Ordering::Relaxed), "a proper controller was lost: {error}");
                assert!(!self.may_do_dma(), "a controller that was given up may still do DMA");
                false
            }
        }
    }

    /// Something happens to the controller from outside.
    fn disturb(&mut self, script: &Input) {
        let disk = |blocks: u64| DeviceConfig::Disk(DiskConfig::new(blocks, "plugged"));
        match script.byte() % 8 {
            0 => self.model.plug(script.byte() % 6, Some(disk(script.word().into()))),
            1 => self.model.plug(script.byte() % 6, None),
            2 => self.model.plug(Place { port: 4, pm_port: script.byte() % 4 }, Some(disk(1000))),
            3 => self.model.insert(2, script.byte().is_multiple_of(2).then(|| script.word().into())),
            4 => self.controller.set_link_power(LinkPower::MinPower),
            5 => self.controller.set_link_power(LinkPower::MaxPerformance),
            other => {
                self.tampered.store(true, Ordering::Relaxed);
                if other == 6 {
                    self.model.power_cut(PowerCut::Torn);
                } else {
                    self.connected = script.byte().is_multiple_of(2);
                    self.host.set_connected(self.connected);
                }
            }
        }
    }
}

/// Submits a command that keeps the disk's limits, as the block layer does; `None` if there is none.
fn submit(
    queue: &mut AhciQueue,
    buffer: &DmaBuffer,
    disk: &Disk,
    operation: Operation,
    tag: usize,
    script: &Input,
) -> Option<Result<(), SubmitError>> {
    let limits = &disk.limits;
    let most_bytes = match operation {
        Operation::Read | Operation::Write => limits.max_transfer.min(u32::try_from(BUFFER).ok()?),
        Operation::Flush => 0,
        Operation::Discard if limits.max_discard_blocks > 0 => 1 << 20,
        _ => return None,
    };
    let most = u64::from(most_bytes / limits.block_size).min(disk.blocks);
    let blocks = u32::try_from(u64::from(script.word()) % most.max(1)).ok()? + 1;
    let lba = u64::from(script.word()) % (disk.blocks - u64::from(blocks).min(disk.blocks) + 1);
    let range = [LbaRange { lba, blocks }];
    let len = blocks.checked_mul(limits.block_size)?;
    let mut segments: Vec<Segment> = Vec::new();
    let mut done = 0;
    while matches!(operation, Operation::Read | Operation::Write) && done < len {
        let part = (len - done).min(4096);
        segments.push(buffer.segment(tag * BUFFER + done as usize, part).ok()?);
        done += part;
    }
    let ranges = if operation == Operation::Flush { &[][..] } else { &range[..] };
    let fua = operation == Operation::Write && script.byte().is_multiple_of(4);
    let command = Command { operation, disk: disk.id, fua, ranges, segments: &segments };
    Some(queue.submit(u16::try_from(tag).ok()?, &command))
}
