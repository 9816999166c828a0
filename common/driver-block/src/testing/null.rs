//! A disk that does nothing, at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redox_driver_sys::{irq::Interrupt, time::Time};

use crate::{
    device::{Command, Completed, Controller, ControllerEvent, Disk, HardwareQueue, SubmitError},
    error::BlockError,
};

/// A controller whose commands complete as soon as they are committed. No data move: reads leave memory as it is.
#[derive(Debug)]
pub struct NullDisk {
    disks: Vec<Disk>,
    queues: Vec<NullQueue>,
    /// How many blocks the disks get, and when.
    resize: Option<(u64, Arc<AtomicBool>)>,
}

impl NullDisk {
    /// A controller with these disks and `queues` queues of `depth` commands.
    pub fn new(disks: Vec<Disk>, queues: u16, depth: u16) -> Self {
        let queues = (0..queues).map(|_| NullQueue::new(depth)).collect();
        NullDisk { disks, queues, resize: None }
    }

    /// Gives every disk `blocks` blocks once `now` is set.
    #[must_use]
    pub fn resized(mut self, blocks: u64, now: Arc<AtomicBool>) -> Self {
        self.resize = Some((blocks, now));
        self
    }
}

impl Controller for NullDisk {
    type Queue = NullQueue;

    fn name(&self) -> &str {
        "null"
    }
    fn disks(&self) -> Vec<Disk> {
        self.disks.clone()
    }
    fn take_queues(&mut self) -> Vec<NullQueue> {
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
    fn poll(&mut self, _: Time, events: &mut Vec<ControllerEvent>) -> Result<(), BlockError> {
        if let Some((blocks, _)) = self.resize.take_if(|(_, now)| now.load(Ordering::Relaxed)) {
            for disk in &mut self.disks {
                disk.blocks = blocks;
                events.push(ControllerEvent::DiskChanged(disk.clone()));
            }
        }
        Ok(())
    }
    fn abort(&mut self, _: u16, _: u32) -> Result<(), BlockError> {
        Err(BlockError::Unsupported)
    }
    fn reset(&mut self, mut queues: Vec<NullQueue>) -> Result<Vec<NullQueue>, BlockError> {
        for queue in &mut queues {
            queue.pending.clear();
            queue.committed = 0;
        }
        Ok(queues)
    }
    fn shutdown(&mut self, _: Vec<NullQueue>) -> Result<(), BlockError> {
        Ok(())
    }
}

/// A queue of [`NullDisk`].
#[derive(Debug)]
pub struct NullQueue {
    depth: u16,
    pending: Vec<Completed>,
    /// How many of those were committed.
    committed: usize,
}

impl NullQueue {
    /// A queue of `depth` commands.
    pub fn new(depth: u16) -> Self {
        NullQueue { depth, pending: Vec::with_capacity(depth.into()), committed: 0 }
    }
}

impl HardwareQueue for NullQueue {
    fn depth(&self) -> u16 {
        self.depth
    }
    #[inline]
    fn submit(&mut self, tag: u16, _: &Command<'_>) -> Result<(), SubmitError> {
        self.pending.push(Completed { tag, result: Ok(()) });
        Ok(())
    }
    #[inline]
    fn commit(&mut self) {
        self.committed = self.pending.len();
    }
    #[inline]
    fn reap(&mut self, completed: &mut Vec<Completed>) -> Result<(), BlockError> {
        completed.extend(self.pending.drain(..self.committed));
        self.committed = 0;
        Ok(())
    }
    fn interrupt(&self) -> Option<&Interrupt> {
        None
    }
    fn abort_handle(&self, tag: u16) -> u32 {
        tag.into()
    }
}
