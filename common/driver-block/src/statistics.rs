//! What a queue counts.

use std::{fmt, ops::AddAssign};

use crate::device::Operation;

/// Counters of one operation. They only ever grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperationStatistics {
    /// Requests that were taken.
    pub requests: u64,
    /// Requests that were answered with success.
    pub succeeded: u64,
    /// Requests that were answered with an error.
    pub failed: u64,
    /// Bytes of blocks that were read, written, discarded or zeroed, as told in the answers.
    pub bytes: u64,
    /// Commands that the hardware queue took, retries included.
    pub commands: u64,
    /// Requests that travelled in a command of another one.
    pub merges: u64,
    /// Commands beyond the first that requests were split into.
    pub splits: u64,
    /// Commands that were submitted again after a failure or a reset.
    pub retries: u64,
    /// Commands that passed their deadline.
    pub timeouts: u64,
}

impl AddAssign<&OperationStatistics> for OperationStatistics {
    fn add_assign(&mut self, other: &OperationStatistics) {
        self.requests += other.requests;
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.bytes += other.bytes;
        self.commands += other.commands;
        self.merges += other.merges;
        self.splits += other.splits;
        self.retries += other.retries;
        self.timeouts += other.timeouts;
    }
}

/// Counters of one queue, or the sum of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    operations: [OperationStatistics; 5],
    /// Batches that were shown to the device: doorbells.
    pub commits: u64,
    /// Requests that were sent back because the queue was full.
    pub busy: u64,
    /// Completions for a tag that was not in flight; they are ignored.
    pub stray: u64,
    /// Resets that the queue went through.
    pub resets: u64,
}

/// Every operation, in the order of the counters.
pub const OPERATIONS: [Operation; 5] =
    [Operation::Read, Operation::Write, Operation::Flush, Operation::Discard, Operation::WriteZeroes];

impl Statistics {
    /// The counters of one operation.
    pub fn of(&self, operation: Operation) -> &OperationStatistics {
        &self.operations[operation as usize]
    }

    pub(crate) fn of_mut(&mut self, operation: Operation) -> &mut OperationStatistics {
        &mut self.operations[operation as usize]
    }

    /// The counters of all operations together.
    pub fn total(&self) -> OperationStatistics {
        let mut total = OperationStatistics::default();
        for operation in &self.operations {
            total += operation;
        }
        total
    }
}

/// A table for people: one line for each operation that was ever asked for.
impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<12} {:>12} {:>10} {:>16} {:>12} {:>10} {:>8} {:>8} {:>8}",
            "operation", "requests", "failed", "bytes", "commands", "merges", "splits", "retries", "timeouts"
        )?;
        for operation in OPERATIONS {
            let of = self.of(operation);
            if of.requests > 0 {
                writeln!(
                    f,
                    "{:<12} {:>12} {:>10} {:>16} {:>12} {:>10} {:>8} {:>8} {:>8}",
                    format!("{operation:?}"),
                    of.requests,
                    of.failed,
                    of.bytes,
                    of.commands,
                    of.merges,
                    of.splits,
                    of.retries,
                    of.timeouts
                )?;
            }
        }
        let Statistics { commits, busy, stray, resets, .. } = self;
        writeln!(f, "doorbells {commits}, queue full {busy}, stray completions {stray}, resets {resets}")
    }
}

impl AddAssign<&Statistics> for Statistics {
    fn add_assign(&mut self, other: &Statistics) {
        for (mine, others) in self.operations.iter_mut().zip(&other.operations) {
            *mine += others;
        }
        self.commits += other.commits;
        self.busy += other.busy;
        self.stray += other.stray;
        self.resets += other.resets;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_its_own_counters() {
        let mut statistics = Statistics::default();
        for (at, operation) in OPERATIONS.into_iter().enumerate() {
            statistics.of_mut(operation).requests += 1 << at;
        }
        for (at, operation) in OPERATIONS.into_iter().enumerate() {
            assert_eq!(statistics.of(operation).requests, 1 << at);
        }
        let copy = statistics;
        statistics += &copy;
        assert_eq!(statistics.total().requests, 62);
        let text = statistics.to_string();
        assert!(text.lines().count() == 7 && text.contains("WriteZeroes            32"), "{text}");
    }
}
