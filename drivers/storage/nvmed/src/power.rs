//! Autonomous power state transitions (sections 5.21.1.12 and 8.4.2).

use std::time::Duration;

use nvme_spec::{ApstEntry, ApstTable, IdentifyController};

/// A controller idles this many times as long as entering and leaving a state takes before it enters it, so that at
/// most a fiftieth of the time goes into transitions.
const IDLE_FACTOR: u64 = 50;
/// ITPT has 24 bits.
const MAX_IDLE_MS: u64 = (1 << 24) - 1;

/// The transition table for a controller: from every state to the deepest non-operational state that can be left and
/// entered within `latency`, after idling in proportion. `None` if there is no such state.
pub(crate) fn table(controller: &IdentifyController, latency: Duration) -> Option<ApstTable> {
    let mut table = ApstTable::default();
    let mut target: Option<ApstEntry> = None;
    let last = usize::from(controller.npss).min(controller.psd.len() - 1);
    for state in (0..=last).rev() {
        if let Some(entry) = target {
            table.entries[state] = entry;
        }
        let descriptor = &controller.psd[state];
        let transition = u64::from(descriptor.enlat) + u64::from(descriptor.exlat);
        let bearable = Duration::from_micros(transition) <= latency;
        // A latency of zero means that the controller does not tell.
        if descriptor.flags.nops() && transition > 0 && bearable {
            let idle = (transition * IDLE_FACTOR).div_ceil(1000).min(MAX_IDLE_MS);
            let (Ok(state), Ok(idle)) = (u8::try_from(state), u32::try_from(idle)) else { continue };
            // A shallower state is reached first, and left for the deeper one by its own entry.
            target = Some(ApstEntry::new().with_power_state(state).with_idle_ms(idle));
        }
    }
    target.map(|_| table)
}

#[cfg(test)]
mod tests {
    use nvme_spec::{PowerFlags, PowerStateDescriptor};
    use zerocopy::FromZeros;

    use super::*;

    fn controller(states: &[(bool, u32, u32)]) -> IdentifyController {
        let mut controller = IdentifyController::new_zeroed();
        controller.npss = u8::try_from(states.len() - 1).unwrap();
        for (descriptor, &(idle, enlat, exlat)) in controller.psd.iter_mut().zip(states) {
            let flags = PowerFlags::new().with_nops(idle);
            *descriptor = PowerStateDescriptor { flags, enlat, exlat, ..PowerStateDescriptor::default() };
        }
        controller
    }

    #[test]
    fn each_state_leads_to_the_next_deeper_idle_one() {
        let controller = controller(&[(false, 0, 0), (false, 5, 5), (true, 400, 600), (true, 5_000, 10_000)]);
        let table = table(&controller, Duration::from_millis(100)).unwrap();
        let entries: Vec<_> = table.entries.iter().map(|e| (e.power_state(), e.idle_ms())).take(5).collect();
        assert_eq!(entries, [(2, 50), (2, 50), (3, 750), (0, 0), (0, 0)]);
    }

    #[test]
    fn too_slow_states_are_left_out() {
        let controller = controller(&[(false, 0, 0), (true, 400, 600), (true, 5_000, 10_000)]);
        let table = table(&controller, Duration::from_millis(10)).unwrap();
        assert_eq!((table.entries[0].power_state(), table.entries[1].power_state()), (1, 0));
    }

    #[test]
    fn nothing_to_enter() {
        assert!(table(&controller(&[(false, 0, 0), (true, 0, 0)]), Duration::from_secs(1)).is_none());
        let mut lying = controller(&[(false, 0, 0)]);
        lying.npss = 255;
        assert!(table(&lying, Duration::from_secs(1)).is_none());
    }
}
