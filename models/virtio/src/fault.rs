//! What can go wrong.

use std::{fmt, time::Duration};

use model_support::fault;

/// What goes wrong, when.
pub type FaultPlan = fault::FaultPlan<Action, Requests, LifecycleFault>;
/// When an [`Action`] happens.
pub type Rule = fault::Rule<Action, Requests>;
/// A plan being carried out.
pub(crate) type Faults = fault::Faults<Action, Requests, LifecycleFault>;

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// The request is carried out, its chain is never used.
    Drop,
    /// The request is never carried out.
    Hang,
    /// The request takes this much longer.
    Delay(Duration),
    /// The used entry has another id, combined by exclusive or; a packed ring has 16 bits of it.
    CorruptId(u32),
    /// The used entry claims that this many bytes more were written.
    BadLength(u32),
    /// The device moves so many places ahead without writing anything there.
    IndexJump(u16),
    /// The request is not carried out and ends with this status of its type.
    Fail(u8),
    /// The request is carried out, but its status is not written.
    NoStatus,
    /// The used entry is written twice.
    Duplicate,
    /// The used entry is held back until the next one of its queue was written, at most 10 ms.
    Reorder,
    /// The data that the request returns is garbage.
    Garbage,
    /// Of what arrives by itself, the byte at this place of its first part is another one, combined by exclusive or.
    Corrupt(usize, u8),
    /// The used entry does not interrupt.
    LoseInterrupt,
    /// Before the request is carried out, an interrupt comes for nothing.
    SpuriousInterrupt,
    /// The device sets DEVICE_NEEDS_RESET and stops.
    NeedsReset,
    /// The device is pulled out: registers read as all ones and nothing is ever done again.
    Remove,
    /// The device reads this address, which may not be its own.
    WildRead(u64),
    /// The device writes to this address, which may not be its own.
    WildWrite(u64),
}

/// What goes wrong with the device itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifecycleFault {
    /// A reset is never over.
    NeverReset,
    /// The reset of a queue is never over.
    NeverResetQueue,
    /// FEATURES_OK is not kept.
    RefuseFeatures,
}

/// Requests that a rule is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    queue: Option<u16>,
    kind: Option<u32>,
}

impl Requests {
    /// Requests of a kind, as the type of the device numbers them.
    pub const fn of_kind(kind: u32) -> Self {
        Requests { queue: None, kind: Some(kind) }
    }

    /// Requests on a queue.
    pub const fn on_queue(queue: u16) -> Self {
        Requests { queue: Some(queue), kind: None }
    }

    pub(crate) fn matches(&self, queue: u16, kind: u32) -> bool {
        self.queue.is_none_or(|only| only == queue) && self.kind.is_none_or(|only| only == kind)
    }
}

impl fmt::Display for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.queue {
            Some(queue) => write!(f, "queue {queue}")?,
            None => f.write_str("any queue")?,
        }
        match self.kind {
            Some(kind) => write!(f, ", kind {kind}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart() {
        let matches =
            |only: Requests| [(0, 0), (3, 0), (0, 8)].map(|(queue, kind)| only.matches(queue, kind));
        assert_eq!(matches(Requests::default()), [true, true, true]);
        assert_eq!(matches(Requests::of_kind(0)), [true, true, false]);
        assert_eq!(matches(Requests::on_queue(3)), [false, true, false]);
        assert_eq!(Requests::of_kind(8).to_string(), "any queue, kind 8");
    }
}
