//! A disk that outlives its driver's process.

use std::time::Duration;

use redox_driver_sys::{dma::Segment, irq::Interrupt, shared::SharedMemory, time::Time};

use super::machine::Machine;
use crate::{
    device::{
        Command, Completed, Controller, ControllerEvent, Disk, HardwareQueue, LbaRange, Operation,
        SubmitError,
    },
    error::BlockError,
};

/// A controller of one disk whose data are in [`SharedMemory`], so that the processes which drive it one after the other
/// find what the last one wrote. Commands are carried out when they are reaped.
#[derive(Debug)]
pub struct SurvivingDisk {
    disk: Disk,
    queues: Vec<SurvivingQueue>,
}

impl SurvivingDisk {
    /// A controller of `disk` in `machine`, with `queues` queues of `depth` commands.
    pub fn new(machine: &Machine, disk: Disk, medium: &SharedMemory, queues: u16, depth: u16) -> Self {
        let queue = || SurvivingQueue {
            machine: machine.clone(),
            medium: medium.clone(),
            block_size: disk.limits.block_size,
            depth,
            flights: Vec::new(),
            committed: 0,
        };
        SurvivingDisk { queues: (0..queues).map(|_| queue()).collect(), disk }
    }
}

impl Controller for SurvivingDisk {
    type Queue = SurvivingQueue;

    fn name(&self) -> &str {
        "surviving"
    }
    fn disks(&self) -> Vec<Disk> {
        vec![self.disk.clone()]
    }
    fn take_queues(&mut self) -> Vec<SurvivingQueue> {
        std::mem::take(&mut self.queues)
    }
    fn command_timeout(&self) -> Duration {
        Duration::from_secs(30)
    }
    fn interrupt(&self) -> Option<&Interrupt> {
        None
    }
    fn shares_interrupt(&self) -> bool {
        false
    }
    fn poll(&mut self, _: Time, _: &mut Vec<ControllerEvent>) -> Result<(), BlockError> {
        Ok(())
    }
    fn abort(&mut self, _: u16, _: u32) -> Result<(), BlockError> {
        Err(BlockError::Unsupported)
    }
    fn reset(&mut self, queues: Vec<SurvivingQueue>) -> Result<Vec<SurvivingQueue>, BlockError> {
        Ok(queues)
    }
    fn shutdown(&mut self, _: Vec<SurvivingQueue>) -> Result<(), BlockError> {
        Ok(())
    }
    fn inspect(&mut self) -> String {
        "surviving\n".to_string()
    }
}

#[derive(Debug)]
struct Flight {
    tag: u16,
    operation: Operation,
    ranges: Vec<LbaRange>,
    segments: Vec<Segment>,
}

/// A queue of [`SurvivingDisk`].
#[derive(Debug)]
pub struct SurvivingQueue {
    machine: Machine,
    medium: SharedMemory,
    block_size: u32,
    depth: u16,
    flights: Vec<Flight>,
    committed: usize,
}

impl SurvivingQueue {
    fn carry_out(&self, flight: &Flight) -> Result<(), BlockError> {
        for range in &flight.ranges {
            let at = usize::try_from(range.lba * u64::from(self.block_size))
                .map_err(|_| BlockError::OutOfRange)?;
            let mut bytes = vec![0; range.blocks as usize * self.block_size as usize];
            let done = match flight.operation {
                Operation::Read => {
                    self.medium.copy_out(at, &mut bytes).is_ok()
                        && self.machine.scatter(&flight.segments, &bytes)
                }
                Operation::Write => {
                    self.machine.gather(&flight.segments, &mut bytes)
                        && self.medium.copy_in(at, &bytes).is_ok()
                }
                Operation::WriteZeroes | Operation::Discard => self.medium.copy_in(at, &bytes).is_ok(),
                Operation::Flush => true,
            };
            if !done {
                return Err(BlockError::Medium);
            }
        }
        Ok(())
    }
}

impl HardwareQueue for SurvivingQueue {
    fn depth(&self) -> u16 {
        self.depth
    }
    fn submit(&mut self, tag: u16, command: &Command<'_>) -> Result<(), SubmitError> {
        self.flights.push(Flight {
            tag,
            operation: command.operation,
            ranges: command.ranges.to_vec(),
            segments: command.segments.to_vec(),
        });
        Ok(())
    }
    fn commit(&mut self) {
        self.committed = self.flights.len();
    }
    fn reap(&mut self, completed: &mut Vec<Completed>) -> Result<(), BlockError> {
        let flights: Vec<_> = self.flights.drain(..self.committed).collect();
        self.committed = 0;
        completed.extend(
            flights.iter().map(|flight| Completed { tag: flight.tag, result: self.carry_out(flight) }),
        );
        Ok(())
    }
    fn interrupt(&self) -> Option<&Interrupt> {
        None
    }
    fn abort_handle(&self, tag: u16) -> u32 {
        tag.into()
    }
}
