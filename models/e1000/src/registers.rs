//! Reads and writes of registers, with what they do.

use e1000_spec::{
    receive::DESCRIPTOR,
    registers::{
        self as reg, CTRL, Causes, Ctrl, Eecd, Mdic, RETA_ENTRIES, RSS_KEY, Rctl, RingRegisters,
        TABLE_DWORDS, Tctl, Wuc,
    },
    statistics,
};
use redox_driver_sys::model::Bus;

use crate::{core::Core, violation::Violation};

/// Registers that keep what they are given and do nothing else. Those of the 82574 alone come last.
const PLAIN: &[u64] = &[
    reg::CTRL_EXT,
    reg::FCAL,
    reg::FCAH,
    reg::FCT,
    reg::VET,
    reg::FCTTV,
    reg::TIPG,
    reg::AIT,
    reg::LEDCTL,
    reg::PBA,
    reg::FCRTL,
    reg::FCRTH,
    reg::RDTR,
    reg::TIDV,
    reg::RXCSUM,
    reg::WUFC,
];
const EXPRESS: &[u64] = &[
    reg::EIAC,
    reg::IAM,
    reg::IVAR,
    reg::RFCTL,
    reg::MRQC,
    reg::GCR,
    reg::GCR2,
    reg::EXTCNF_CTRL,
    reg::PSRCTL,
    reg::MANC,
    reg::SWSM,
    reg::TARC0,
    reg::TARC1,
];
const THROTTLES: &[u64] = &[reg::ITR, reg::RADV, reg::TADV];

/// Parts of a ring's registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Base,
    Length,
    Head,
    Tail,
    Control,
}

/// The ring's register at `offset`: its ring, whether it is one that receives, and its queue.
fn ring_part(offset: u64, queues: u16) -> Option<(RingRegisters, bool, u16, Part)> {
    for queue in 0..queues {
        for (receive, ring) in
            [(true, RingRegisters::receive(queue)), (false, RingRegisters::transmit(queue))]
        {
            let parts = [
                (ring.base_low(), Part::Base),
                (ring.base_high(), Part::Base),
                (ring.length(), Part::Length),
                (ring.head(), Part::Head),
                (ring.tail(), Part::Tail),
                (ring.control(), Part::Control),
            ];
            if let Some((_, part)) = parts.into_iter().find(|(at, _)| *at == offset) {
                return Some((ring, receive, queue, part));
            }
        }
    }
    None
}

impl Core {
    fn is_plain(&self, offset: u64) -> bool {
        let within = |base: u64, bytes: u64| (base..base + bytes).contains(&offset);
        let addresses = u64::from(self.config.chip.receive_addresses) * 8;
        let tables = within(reg::MTA, 4 * TABLE_DWORDS as u64)
            || within(reg::VFTA, 4 * TABLE_DWORDS as u64)
            || within(reg::RA, addresses);
        let express = self.config.chip.is_express()
            && (EXPRESS.contains(&offset)
                || within(reg::eitr(0), 20)
                || within(reg::RETA, RETA_ENTRIES as u64)
                || within(reg::TIME_SYNC, reg::TIME_SYNC_BYTES)
                || within(reg::RSSRK, RSS_KEY as u64));
        let throttle = self.config.chip.throttle && THROTTLES.contains(&offset);
        PLAIN.contains(&offset) || tables || express || throttle
    }

    pub(crate) fn read(&mut self, bus: &mut dyn Bus, offset: u64, len: usize) -> u32 {
        self.statistics.reads += 1;
        if self.removed {
            return u32::MAX;
        }
        if len != 4 || !offset.is_multiple_of(4) {
            self.violation(Violation::Width(offset));
        }
        let now = bus.now();
        if self.is_resetting(now) {
            if offset != CTRL {
                self.violation(Violation::DuringReset(offset));
            }
            return Ctrl::new().with_rst(true).into_bits();
        }
        let value = match offset {
            reg::STATUS => self.status(now).into_bits(),
            reg::EECD => self.management.eecd.into_bits(),
            reg::EERD => self.management.eerd,
            reg::MDIC => self.management.mdic.into_bits(),
            reg::ICR => self.read_icr(bus),
            reg::IMS => self.interrupts.ims,
            statistics::FIRST..statistics::END => self.read_counter(offset),
            CTRL | reg::RCTL | reg::TCTL | reg::WUC | reg::WUS | reg::FWSM => self.get(offset),
            _ if ring_part(offset, self.config.chip.queues).is_some() || self.is_plain(offset) => {
                self.get(offset)
            }
            _ => {
                self.violation(Violation::UnknownRegister(offset));
                0
            }
        };
        self.faults.stick(offset, value)
    }

    /// Reading clears; the upper half of a wide one clears both.
    fn read_counter(&mut self, offset: u64) -> u32 {
        let value = self.get(offset);
        let wide = |at: u64| statistics::COUNTERS.iter().any(|counter| counter.wide && counter.offset == at);
        if !wide(offset) {
            self.set(offset, 0);
        }
        if wide(offset.wrapping_sub(4)) {
            self.set(offset - 4, 0);
        }
        value
    }

    pub(crate) fn count(&mut self, offset: u64) {
        self.set(offset, self.get(offset).saturating_add(1));
    }

    pub(crate) fn count_octets(&mut self, offset: u64, octets: usize) {
        let value = u64::from(self.get(offset + 4)) << 32 | u64::from(self.get(offset));
        let [a, b, c, d, e, f, g, h] = value.saturating_add(octets as u64).to_le_bytes();
        self.set(offset, u32::from_le_bytes([a, b, c, d]));
        self.set(offset + 4, u32::from_le_bytes([e, f, g, h]));
    }

    pub(crate) fn write(&mut self, bus: &mut dyn Bus, offset: u64, len: usize, value: u32) {
        if self.removed {
            return;
        }
        if len != 4 || !offset.is_multiple_of(4) {
            self.violation(Violation::Width(offset));
            return;
        }
        if self.is_resetting(bus.now()) {
            self.violation(Violation::DuringReset(offset));
            return;
        }
        match offset {
            CTRL => self.write_ctrl(bus, Ctrl::from(value)),
            reg::EECD => self.write_eecd(Eecd::from(value)),
            reg::EERD => self.write_eerd(bus, value),
            reg::MDIC => self.write_mdic(bus, Mdic::from(value)),
            reg::ICR if self.config.chip.is_express() => {
                self.interrupts.icr &= !value;
                self.update_interrupts(bus);
            }
            reg::ICS => self.raise(bus, Causes::from(value)),
            reg::IMS => {
                self.interrupts.ims |= value;
                self.update_interrupts(bus);
            }
            reg::IMC => {
                self.interrupts.ims &= !value;
                self.update_interrupts(bus);
            }
            reg::RCTL => self.write_rctl(bus, Rctl::from(value)),
            reg::TCTL => {
                if Tctl::from(value).en() && !Tctl::from(self.get(reg::TCTL)).en() {
                    self.check_fixes();
                }
                self.set(offset, value);
                self.poked = true;
            }
            reg::WUC => {
                let cleared = Wuc::from(value).pme_status();
                let kept = Wuc::from(self.get(offset)).pme_status() && !cleared;
                self.set(offset, Wuc::from(value).with_pme_status(kept).into_bits());
            }
            reg::WUS => self.set(offset, self.get(offset) & !value),
            reg::STATUS | reg::FWSM | statistics::FIRST..statistics::END => {
                self.violation(Violation::ReadOnly(offset));
            }
            _ => self.write_other(bus, offset, value),
        }
    }

    fn write_other(&mut self, bus: &mut dyn Bus, offset: u64, value: u32) {
        if let Some((ring, receive, queue, part)) = ring_part(offset, self.config.chip.queues) {
            return self.write_ring(bus, (ring, receive, queue, part), offset, value);
        }
        if !self.is_plain(offset) {
            self.violation(Violation::UnknownRegister(offset));
        }
        self.set(offset, value);
        self.update_interrupts(bus);
    }

    fn write_ctrl(&mut self, bus: &mut dyn Bus, value: Ctrl) {
        if value.rst() {
            self.begin_reset(bus);
            return;
        }
        self.set(CTRL, value.into_bits());
        self.poked = true;
    }

    fn write_rctl(&mut self, bus: &mut dyn Bus, value: Rctl) {
        if value.en() && value.buffer_len().is_none() {
            self.violation(Violation::BufferLength);
        }
        if value.en() && value.dtyp() != 0 {
            self.violation(Violation::DescriptorType(value.dtyp()));
        }
        self.set(reg::RCTL, value.into_bits());
        if !value.en() {
            self.fifo.clear();
            self.begun = 0;
        }
        self.poked = true;
        self.update_interrupts(bus);
    }

    fn check_fixes(&mut self) {
        for fix in self.config.chip.fixes {
            let value = self.get(fix.register);
            if value & fix.set != fix.set || value & fix.clear != 0 {
                self.violation(Violation::Fix(fix.register));
            }
        }
    }

    fn write_ring(
        &mut self,
        bus: &mut dyn Bus,
        (ring, receive, queue, part): (RingRegisters, bool, u16, Part),
        offset: u64,
        value: u32,
    ) {
        let enabled =
            if receive { Rctl::from(self.get(reg::RCTL)).en() } else { Tctl::from(self.get(reg::TCTL)).en() };
        match part {
            Part::Base | Part::Length | Part::Head if enabled => {
                self.violation(Violation::RingWhileEnabled(offset));
            }
            Part::Base if offset == ring.base_low() && !value.is_multiple_of(16) => {
                self.violation(Violation::RingShape(offset));
            }
            Part::Length if !value.is_multiple_of(128) || value == 0 => {
                self.violation(Violation::RingShape(offset));
            }
            Part::Tail
                if u64::from(value) * DESCRIPTOR as u64 >= u64::from(self.get(ring.length()).max(1)) =>
            {
                self.violation(Violation::Tail(value));
                return;
            }
            Part::Base | Part::Length | Part::Head | Part::Tail | Part::Control => {}
        }
        self.set(offset, value);
        if part == Part::Tail {
            if receive {
                self.statistics.rx_doorbells += 1;
                self.poked = true;
            } else {
                self.statistics.tx_doorbells += 1;
                let due = bus.now().plus(self.config.latency);
                if let Some(queue) = self.tx.get_mut(usize::from(queue)) {
                    queue.wake(due);
                }
            }
        }
    }
}
