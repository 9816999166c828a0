//! Waiting between two looks at a queue that is polled.

use std::hint::spin_loop;

/// Pauses that get longer while nothing is found, so that waiting for a device costs few instructions, little power and
/// little of what the core's other thread could do.
///
/// The longest is 64 of the processor's spin-loop hints: 1 to 3 µs on what is sold today, and so the most by which a
/// completion is found later than it could have been.
#[derive(Debug)]
pub struct Pause {
    rounds: u32,
}

impl Pause {
    /// Rounds of the longest pause.
    const MOST: u32 = 4;

    /// The next pause is a short one.
    pub fn new() -> Self {
        Pause { rounds: 0 }
    }

    /// Something was found: the next pause is a short one again.
    #[inline]
    pub fn reset(&mut self) {
        self.rounds = 0;
    }

    /// Nothing was found: waits, twice as long as the last time. The first time it does not wait at all.
    // Out of line: the loop that polls is to stay small.
    #[inline(never)]
    pub fn wait(&mut self) {
        for _ in 0..self.rounds {
            round();
        }
        self.rounds = (self.rounds * 2).clamp(1, Self::MOST);
    }
}

impl Default for Pause {
    fn default() -> Self {
        Self::new()
    }
}

/// Sixteen hints in a row: a loop around each would cost more instructions than the hints.
#[inline]
fn round() {
    macro_rules! four {
        ($again:expr) => {
            $again;
            $again;
            $again;
            $again;
        };
    }
    four!({
        four!(spin_loop());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_start_again() {
        let mut pause = Pause::new();
        let mut lengths = Vec::new();
        for _ in 0..5 {
            lengths.push(pause.rounds);
            pause.wait();
        }
        assert_eq!(lengths, [0, 1, 2, 4, Pause::MOST]);
        pause.reset();
        assert_eq!(pause.rounds, 0);
    }
}
