//! How often a network device may interrupt.
//!
//! An interrupt for each packet answers soonest and costs most. A device with a throttle (Intel: ITR, EITR; virtio and Realtek:
//! coalescing) takes the least time between two interrupts instead; an interrupt that comes after a longer pause is not held up, so
//! that a lone packet is never late. What time is right depends on what comes: [`Itr`] looks at each batch and says.

use std::{num::NonZeroU32, time::Duration};

use redox_driver_sys::time::Time;

/// What the user asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Throttling {
    /// Every packet may interrupt.
    Off,
    /// At most so many interrupts per second, whatever comes.
    Fixed(NonZeroU32),
    /// As the packets that come need it.
    #[default]
    Adaptive,
}

/// What the traffic is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Latency {
    /// Somebody waits for each packet: questions and answers, or nothing at all.
    #[default]
    Lowest,
    /// Many small packets.
    Low,
    /// Data in large packets, which only have to keep coming.
    Bulk,
}

impl Latency {
    /// Least time between two interrupts: 70,000, 20,000 and 4,000 per second, as Intel's drivers have it.
    pub const fn interval(self) -> Duration {
        match self {
            Latency::Lowest => Duration::from_nanos(1_000_000_000 / 70_000),
            Latency::Low => Duration::from_micros(50),
            Latency::Bulk => Duration::from_micros(250),
        }
    }

    const fn looser(self) -> Latency {
        match self {
            Latency::Lowest => Latency::Low,
            Latency::Low | Latency::Bulk => Latency::Bulk,
        }
    }

    const fn tighter(self) -> Latency {
        match self {
            Latency::Bulk => Latency::Low,
            Latency::Low | Latency::Lowest => Latency::Lowest,
        }
    }
}

/// So many packets of one batch do not wait for each other's answers.
const MANY_PACKETS: u32 = 4;
/// So many bytes of one batch are data, if the packets are large.
const MANY_BYTES: u64 = 4_000;
/// From this mean length in bytes on, packets are large: full ones of the usual MTU and acknowledgements mixed are.
const LARGE: u64 = 700;
/// Packets that come one by one are counted over at least this long: a clock that is read for nothing is that coarse.
const WINDOW: Duration = Duration::from_millis(8);
/// So many packets in a second are many, however they come.
const STEADY_PACKETS: u64 = 50_000;
/// So many bytes in a second are data, if the packets are large.
const STEADY_BYTES: u64 = 20_000_000;
/// So many batches in a row must be of a more urgent kind before the throttle follows: one acknowledgement between data is not
/// a change of mind.
const PATIENCE: u8 = 3;

/// The throttle of one interrupt vector. Record what each turn found, then ask when the interrupt is let through again.
#[derive(Clone, Debug)]
pub struct Itr {
    throttling: Throttling,
    latency: Latency,
    packets: u32,
    bytes: u64,
    /// Packets and bytes since `since`.
    window: (u64, u64),
    since: Time,
    /// What they were like in the window before.
    steady: Latency,
    /// Batches in a row that wanted to be served sooner.
    urgent: u8,
    /// What the device was told.
    interval: Option<Duration>,
}

impl Itr {
    /// A throttle that has seen nothing yet.
    pub const fn new(throttling: Throttling) -> Self {
        Itr {
            throttling,
            latency: Latency::Lowest,
            packets: 0,
            bytes: 0,
            window: (0, 0),
            since: Time::from_nanos(0),
            steady: Latency::Lowest,
            urgent: 0,
            interval: None,
        }
    }

    /// Packets were found, either way.
    pub const fn record(&mut self, packets: u32, bytes: u64) {
        self.packets = self.packets.saturating_add(packets);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// The least time between two interrupts that the device is to be told, zero for none; `None` if it knows. What was recorded since
    /// the last call is one batch: what one interrupt brought.
    pub fn decide(&mut self, now: Time) -> Option<Duration> {
        let (packets, bytes) = (std::mem::take(&mut self.packets), std::mem::take(&mut self.bytes));
        let interval = match self.throttling {
            Throttling::Off => Duration::ZERO,
            Throttling::Fixed(rate) => Duration::from_secs(1) / rate.get(),
            Throttling::Adaptive => {
                self.count(packets, bytes, now);
                self.adapt(wanted(packets, bytes).max(self.steady));
                self.latency.interval()
            }
        };
        if self.interval == Some(interval) {
            return None;
        }
        self.interval = Some(interval);
        Some(interval)
    }

    /// What the traffic is taken for.
    pub const fn latency(&self) -> Latency {
        self.latency
    }

    /// The device forgot what it was told: the next decision tells it again.
    pub const fn forget(&mut self) {
        self.interval = None;
    }

    /// Takes a batch into account for what comes steadily.
    fn count(&mut self, packets: u32, bytes: u64, now: Time) {
        self.window.0 = self.window.0.saturating_add(packets.into());
        self.window.1 = self.window.1.saturating_add(bytes);
        let elapsed = now.since(self.since);
        if elapsed < WINDOW {
            return;
        }
        let (packets, bytes) = std::mem::take(&mut self.window);
        self.since = now;
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let per_second = |count: u64| count.saturating_mul(1000) / millis.max(1);
        self.steady = if per_second(bytes) >= STEADY_BYTES && bytes >= LARGE * packets {
            Latency::Bulk
        } else if per_second(packets) >= STEADY_PACKETS {
            Latency::Low
        } else {
            Latency::Lowest
        };
    }

    /// Goes one step towards `wanted`: at once where more can wait, else not for the first batch.
    fn adapt(&mut self, wanted: Latency) {
        if wanted >= self.latency {
            self.urgent = 0;
            if wanted > self.latency {
                self.latency = self.latency.looser();
            }
            return;
        }
        self.urgent += 1;
        if self.urgent >= PATIENCE {
            self.urgent = 0;
            self.latency = self.latency.tighter();
        }
    }
}

/// What a batch by itself looks like.
fn wanted(packets: u32, bytes: u64) -> Latency {
    let large = bytes >= LARGE * u64::from(packets);
    if packets > 0 && large && bytes >= MANY_BYTES {
        Latency::Bulk
    } else if packets >= MANY_PACKETS {
        Latency::Low
    } else {
        Latency::Lowest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_nanos(1);

    /// What is decided over batches that are all alike, and come at once.
    fn after(itr: &mut Itr, batches: usize, packets: u32, length: u64) -> Latency {
        for _ in 0..batches {
            itr.record(packets, u64::from(packets) * length);
            itr.decide(NOW);
        }
        itr.latency()
    }

    /// What is decided over packets that come one by one, so many in a second, for half a second.
    fn steadily(itr: &mut Itr, start: u64, rate: u64, length: u64) -> Latency {
        for packet in 0..rate / 2 {
            itr.record(1, length);
            itr.decide(Time::from_nanos(start + packet * (1_000_000_000 / rate)));
        }
        itr.latency()
    }

    #[test]
    fn a_steady_stream_is_one_though_its_packets_come_one_by_one() {
        for (rate, length, latency) in [
            (100_000, 1000, Latency::Bulk),
            (20_000, 1514, Latency::Bulk),
            (100_000, 60, Latency::Low),
            (20_000, 60, Latency::Lowest),
            (5_000, 1514, Latency::Lowest),
        ] {
            let mut itr = Itr::new(Throttling::Adaptive);
            assert_eq!(steadily(&mut itr, 0, rate, length), latency, "{rate} of {length}");
            // And when it ends, it has ended.
            assert_eq!(steadily(&mut itr, 1_000_000_000, 1000, 98), Latency::Lowest);
        }
    }

    #[test]
    fn a_batch_is_what_it_looks_like() {
        for (packets, length, latency) in [
            (0, 0, Latency::Lowest),
            (1, 64, Latency::Lowest),
            (1, 1514, Latency::Lowest),
            (3, 60, Latency::Lowest),
            (4, 60, Latency::Low),
            (500, 60, Latency::Low),
            (2, 1514, Latency::Lowest),
            (3, 1514, Latency::Bulk),
            (1, 9014, Latency::Bulk),
            (1, 65_550, Latency::Bulk),
            (8, 790, Latency::Bulk),
        ] {
            assert_eq!(wanted(packets, u64::from(packets) * length), latency, "{packets} of {length}");
        }
        assert_eq!(wanted(u32::MAX, u64::MAX), Latency::Bulk);
    }

    #[test]
    fn starts_quick_and_tells_the_device_once() {
        let mut itr = Itr::new(Throttling::Adaptive);
        assert_eq!(itr.decide(NOW), Some(Latency::Lowest.interval()));
        itr.record(1, 98);
        assert_eq!(itr.decide(NOW), None);
        itr.forget();
        assert_eq!(itr.decide(NOW), Some(Duration::from_nanos(14_285)));
    }

    #[test]
    fn data_loosen_it_step_by_step() {
        let mut itr = Itr::new(Throttling::Adaptive);
        assert_eq!(after(&mut itr, 1, 10, 1514), Latency::Low);
        assert_eq!(after(&mut itr, 1, 10, 1514), Latency::Bulk);
        assert_eq!(after(&mut itr, 100, 10, 1514), Latency::Bulk);
        itr.forget();
        assert_eq!(itr.decide(NOW), Some(Duration::from_micros(250)));
    }

    #[test]
    fn small_packets_go_no_further_than_low_latency() {
        let mut itr = Itr::new(Throttling::Adaptive);
        assert_eq!(after(&mut itr, 100, 200, 60), Latency::Low);
    }

    #[test]
    fn one_acknowledgement_between_data_changes_nothing() {
        let mut itr = Itr::new(Throttling::Adaptive);
        after(&mut itr, 2, 10, 1514);
        for _ in 0..50 {
            assert_eq!(after(&mut itr, 2, 1, 60), Latency::Bulk);
            assert_eq!(after(&mut itr, 1, 10, 1514), Latency::Bulk);
        }
    }

    #[test]
    fn whoever_waits_for_each_packet_is_served_quickly_again() {
        let mut itr = Itr::new(Throttling::Adaptive);
        after(&mut itr, 2, 10, 1514);
        assert_eq!(after(&mut itr, 3, 1, 98), Latency::Low);
        assert_eq!(after(&mut itr, 3, 1, 98), Latency::Lowest);
    }

    #[test]
    fn what_is_recorded_in_parts_is_one_batch() {
        let mut itr = Itr::new(Throttling::Adaptive);
        for _ in 0..5 {
            itr.record(1, 1514);
        }
        itr.decide(NOW);
        assert_eq!(itr.latency(), Latency::Low);
    }

    #[test]
    fn what_the_user_wants_is_not_argued_with() {
        let mut off = Itr::new(Throttling::Off);
        let mut fixed = Itr::new(Throttling::Fixed(NonZeroU32::new(8000).unwrap()));
        assert_eq!(off.decide(NOW), Some(Duration::ZERO));
        assert_eq!(fixed.decide(NOW), Some(Duration::from_micros(125)));
        for itr in [&mut off, &mut fixed] {
            assert_eq!(after(itr, 10, 100, 1514), Latency::Lowest);
            assert_eq!(itr.decide(NOW), None);
        }
    }
}
