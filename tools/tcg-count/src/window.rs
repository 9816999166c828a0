//! Windows between marks, and their line of JSON.

use crate::mark::Mark;

/// Running totals of one vCPU or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Instructions executed at a kernel address (canonical upper half).
    pub(crate) kernel: u64,
    /// Instructions executed at a user address.
    pub(crate) user: u64,
    /// Reads from device memory other than interrupt controllers.
    pub(crate) mmio_reads: u64,
    /// Writes to device memory other than interrupt controllers.
    pub(crate) mmio_writes: u64,
    /// Accesses to the I/O APIC and the local APIC, which both sides of a comparison pay per interrupt.
    pub(crate) apic: u64,
}

impl Counts {
    /// What was added since `earlier`. The totals only grow, but wrap rather than lie should one overflow.
    fn since(self, earlier: Self) -> Self {
        Self {
            kernel: self.kernel.wrapping_sub(earlier.kernel),
            user: self.user.wrapping_sub(earlier.user),
            mmio_reads: self.mmio_reads.wrapping_sub(earlier.mmio_reads),
            mmio_writes: self.mmio_writes.wrapping_sub(earlier.mmio_writes),
            apic: self.apic.wrapping_sub(earlier.apic),
        }
    }

    /// One line of JSON; the MMIO fields are null where they were not counted.
    fn line(self, label: u8, mmio: bool) -> String {
        let Self { kernel, user, mmio_reads, mmio_writes, apic } = self;
        if mmio {
            format!(
                "{{\"label\":{label},\"kernel\":{kernel},\"user\":{user},\"mmio_reads\":{mmio_reads},\
                 \"mmio_writes\":{mmio_writes},\"apic\":{apic}}}\n"
            )
        } else {
            format!(
                "{{\"label\":{label},\"kernel\":{kernel},\"user\":{user},\"mmio_reads\":null,\
                 \"mmio_writes\":null,\"apic\":null}}\n"
            )
        }
    }
}

/// Labels are seven bits wide.
const LABELS: usize = 128;

/// The windows that are open.
#[derive(Debug)]
pub(crate) struct Windows {
    /// Totals at each label's begin mark.
    open: [Option<Counts>; LABELS],
    /// Whether MMIO is counted.
    mmio: bool,
}

impl Windows {
    /// No window open.
    pub(crate) fn new(mmio: bool) -> Self {
        Self { open: [None; LABELS], mmio }
    }

    /// Takes a mark reached at `now`; an end mark gives the line to write. A second begin mark starts anew.
    pub(crate) fn reach(&mut self, mark: Mark, now: Counts) -> Option<String> {
        match mark {
            Mark::Begin(label) => {
                if let Some(slot) = self.open.get_mut(usize::from(label)) {
                    *slot = Some(now);
                }
                None
            }
            Mark::End(label) => match self.open.get_mut(usize::from(label)).and_then(Option::take) {
                Some(begin) => Some(now.since(begin).line(label, self.mmio)),
                None => Some(format!("{{\"label\":{label},\"error\":\"end mark without a begin mark\"}}\n")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLY: Counts = Counts { kernel: 10, user: 20, mmio_reads: 1, mmio_writes: 2, apic: 3 };
    const LATE: Counts = Counts { kernel: 110, user: 25, mmio_reads: 1, mmio_writes: 9, apic: 4 };

    #[test]
    fn a_window_is_the_difference() {
        let mut windows = Windows::new(true);
        assert_eq!(windows.reach(Mark::Begin(7), EARLY), None);
        assert_eq!(
            windows.reach(Mark::End(7), LATE).unwrap(),
            "{\"label\":7,\"kernel\":100,\"user\":5,\"mmio_reads\":0,\"mmio_writes\":7,\"apic\":1}\n"
        );
    }

    #[test]
    fn windows_may_overlap() {
        let mut windows = Windows::new(false);
        windows.reach(Mark::Begin(1), Counts::default());
        windows.reach(Mark::Begin(2), EARLY);
        assert!(
            windows
                .reach(Mark::End(1), LATE)
                .unwrap()
                .starts_with("{\"label\":1,\"kernel\":110,\"user\":25,")
        );
        assert!(
            windows.reach(Mark::End(2), LATE).unwrap().starts_with("{\"label\":2,\"kernel\":100,\"user\":5,")
        );
    }

    #[test]
    fn uncounted_mmio_is_null_not_zero() {
        let mut windows = Windows::new(false);
        windows.reach(Mark::Begin(1), EARLY);
        assert!(windows.reach(Mark::End(1), LATE).unwrap().contains("\"mmio_reads\":null"));
    }

    #[test]
    fn an_end_without_a_begin_is_reported() {
        let mut windows = Windows::new(false);
        windows.reach(Mark::Begin(1), EARLY);
        windows.reach(Mark::End(1), LATE);
        assert!(windows.reach(Mark::End(1), LATE).unwrap().contains("\"error\""));
    }
}
