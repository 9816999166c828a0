//! How long to wait before a daemon that crashed is started again.

use std::time::Duration;

/// Doubles from one crash to the next, up to a bound, until the daemon has been stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    limits: Limits,
    crashes: u32,
}

/// The bounds of a [`Backoff`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The first pause.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// A daemon that was ready for this long starts anew.
    pub stable: Duration,
}

impl Backoff {
    /// No crash so far.
    pub const fn new(limits: Limits) -> Self {
        Self { limits, crashes: 0 }
    }

    /// The pause after a crash of a daemon that had been ready for `ready`.
    pub fn after_crash(&mut self, ready: Duration) -> Duration {
        if ready >= self.limits.stable {
            self.crashes = 0;
        }
        let factor = 1_u32.checked_shl(self.crashes).unwrap_or(u32::MAX);
        self.crashes = self.crashes.saturating_add(1);
        self.limits.first.saturating_mul(factor).min(self.limits.longest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits {
        first: Duration::from_millis(100),
        longest: Duration::from_secs(1),
        stable: Duration::from_secs(10),
    };

    #[test]
    fn doubles_up_to_the_bound_and_starts_anew() {
        let mut backoff = Backoff::new(LIMITS);
        let pauses: Vec<_> =
            (0..6).map(|_| backoff.after_crash(Duration::from_secs(9)).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(backoff.after_crash(Duration::from_secs(10)).as_millis(), 100);
        assert_eq!(backoff.after_crash(Duration::ZERO).as_millis(), 200);
    }

    proptest! {
        #[test]
        fn is_bounded_whatever_happens(first in 0..u64::MAX, longest in 0..u64::MAX,
            ready in proptest::collection::vec(0..20u64, 1..100)) {
            let [first, longest] = [first, longest].map(Duration::from_nanos);
            let mut backoff = Backoff::new(Limits { first, longest, ..LIMITS });
            let mut before = Duration::ZERO;
            for ready in ready.into_iter().map(Duration::from_secs) {
                let pause = backoff.after_crash(ready);
                prop_assert!(pause <= longest);
                prop_assert!(pause >= first.min(longest));
                prop_assert!(ready >= LIMITS.stable || pause >= before);
                before = pause;
            }
        }
    }
}
