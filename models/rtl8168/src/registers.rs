//! Reads and writes of registers, with what they do.

use redox_driver_sys::model::Bus;
use rtl8168_spec::registers::{self as reg, Command, Events, FSW_INT, Mcu, NPQ, TxConfig, UNLOCK};

use crate::{core::Core, fault::LifecycleFault, violation::Violation};

/// Registers that keep what they are given, with their width; what some of them do besides is where it is done.
const KEPT: &[(u64, usize)] = &[
    (reg::IDR0, 4),
    (reg::IDR4, 4),
    (reg::MAR0, 4),
    (reg::MAR4, 4),
    (reg::DTCCR, 4),
    (reg::DTCCR_HIGH, 4),
    (reg::TNPDS, 4),
    (reg::TNPDS_HIGH, 4),
    (reg::THPDS, 4),
    (reg::THPDS_HIGH, 4),
    (reg::RCR, 4),
    (reg::TCTR, 4),
    (reg::CR9346, 1),
    (reg::CONFIG0, 1),
    (reg::CONFIG1, 1),
    (reg::CONFIG2, 1),
    (reg::CONFIG3, 1),
    (reg::CONFIG4, 1),
    (reg::CONFIG5, 1),
    (reg::TIMERINT, 4),
    (reg::PHYAR, 4),
    (reg::CSIDR, 4),
    (reg::CSIAR, 4),
    (reg::PMCH, 1),
    (reg::EPHYAR, 4),
    (reg::DBG, 1),
    (reg::RMS, 2),
    (reg::CPLUS, 2),
    (reg::INT_MITIGATE, 2),
    (reg::RDSAR, 4),
    (reg::RDSAR_HIGH, 4),
    (reg::MTPS, 1),
    (reg::MISC, 4),
    (reg::MISC_1, 1),
];

/// Those of chips from the E-VL on.
const MODERN: &[(u64, usize)] = &[
    (reg::EEE_LED, 1),
    (reg::ERIDR, 4),
    (reg::ERIAR, 4),
    (reg::OCPDR, 4),
    (reg::GPHY_OCP, 4),
    (reg::DLLPR, 1),
];

/// Registers that can be written while configuration is unlocked.
const PROTECTED: [u64; 7] =
    [reg::IDR0, reg::IDR4, reg::CONFIG1, reg::CONFIG2, reg::CONFIG3, reg::CONFIG4, reg::CONFIG5];

impl Core {
    fn keeps(&self, offset: u64, len: usize) -> bool {
        let modern = self.config.chip.modern && MODERN.contains(&(offset, len));
        (KEPT.contains(&(offset, len)) || modern) && self.has_indirect(offset)
    }

    pub(crate) fn read(&mut self, bus: &mut dyn Bus, offset: u64, len: usize) -> u32 {
        self.statistics.reads += 1;
        if self.removed {
            return u32::MAX;
        }
        if self.is_resetting(bus.now()) {
            if offset != reg::CR {
                self.violation(Violation::DuringReset(offset));
            }
            return Command::new().with_rst(true).into_bits().into();
        }
        let value = match (offset, len) {
            (reg::CR, 1) => Command::from(self.cr).with_buffer_empty(self.rx.is_empty()).into_bits().into(),
            (reg::TPPOLL, 1) => u32::from(self.tx.polled) * u32::from(NPQ),
            (reg::IMR, 2) => self.interrupts.imr.into(),
            (reg::ISR, 2) => self.interrupts.isr.into(),
            (reg::TCR, 4) => {
                let tcr = TxConfig::from(self.get32(reg::TCR)).with_xid(self.config.chip.xid);
                let empty = !self.tx.polled && !self.lifecycle(LifecycleFault::NeverEmpty);
                tcr.with_empty(self.config.chip.modern && empty).into_bits()
            }
            (reg::MPC, 4) => self.missed,
            (reg::PHYSTATUS, 1) => self.phy_status(bus.now()).into_bits().into(),
            (reg::MCU, 1) if self.config.chip.modern => {
                let empty = self.rx.is_empty();
                self.mcu.with_tx_empty(!self.tx.polled).with_rx_empty(empty).into_bits().into()
            }
            // The address and the table can be read by bytes.
            (reg::IDR0..reg::DTCCR, 1) => self.get8(offset).into(),
            (_, 1) if self.keeps(offset, 1) => self.get8(offset).into(),
            (_, 2) if self.keeps(offset, 2) => self.get16(offset).into(),
            (_, 4) if self.keeps(offset, 4) => self.get32(offset),
            _ => {
                self.violation(Violation::Register { offset, len });
                0
            }
        };
        self.faults.stick(offset, value)
    }

    pub(crate) fn write(&mut self, bus: &mut dyn Bus, offset: u64, len: usize, value: u32) {
        if self.removed {
            return;
        }
        if self.is_resetting(bus.now()) {
            return self.violation(Violation::DuringReset(offset));
        }
        let [byte, second, ..] = value.to_le_bytes();
        let word = u16::from_le_bytes([byte, second]);
        match (offset, len) {
            (reg::CR, 1) => self.write_cr(bus, Command::from(byte)),
            (reg::TPPOLL, 1) => {
                if byte & NPQ != 0 {
                    self.statistics.polls += 1;
                    self.tx.poll(bus.now().plus(self.config.latency));
                }
                if byte & FSW_INT != 0 {
                    self.raise(bus, Events::new().with_swint(true));
                }
            }
            (reg::IMR, 2) => self.write_imr(bus, word),
            (reg::ISR, 2) => self.write_isr(bus, word),
            (reg::TCR, 4) => self.set32(offset, value),
            (reg::MPC, 4) => self.missed = 0,
            (reg::MCU, 1) if self.config.chip.modern => {
                self.mcu = Mcu::from(byte).with_list_ready(true);
            }
            (reg::PHYSTATUS | reg::CONFIG0, 1) => self.violation(Violation::ReadOnly(offset)),
            (reg::DTCCR, 4) => self.write_dtccr(bus, value),
            (reg::TNPDS | reg::TNPDS_HIGH, 4) => self.write_ring(true, offset, value),
            (reg::RDSAR | reg::RDSAR_HIGH, 4) => self.write_ring(false, offset, value),
            (reg::PHYAR | reg::GPHY_OCP | reg::OCPDR | reg::ERIAR | reg::EPHYAR | reg::CSIAR, 4)
                if self.keeps(offset, 4) =>
            {
                self.write_indirect(bus, offset, value);
            }
            _ if !self.keeps(offset, len) => self.violation(Violation::Register { offset, len }),
            _ if PROTECTED.contains(&offset) && self.get8(reg::CR9346) & UNLOCK != UNLOCK => {
                self.violation(Violation::Locked(offset));
            }
            (_, 1) => self.set8(offset, byte),
            (_, 2) => self.set16(offset, word),
            _ => self.set32(offset, value),
        }
    }

    fn write_cr(&mut self, bus: &mut dyn Bus, value: Command) {
        if value.rst() {
            return self.begin_reset(bus);
        }
        if value.re() && self.mcu.out_of_band() {
            self.violation(Violation::OutOfBand);
        }
        self.cr = value.into_bits();
        self.poked = true;
    }

    fn write_ring(&mut self, sends: bool, offset: u64, value: u32) {
        if self.is_on(sends) {
            self.violation(Violation::RingWhileEnabled(offset));
        }
        if matches!(offset, reg::TNPDS | reg::RDSAR) && !value.is_multiple_of(256) {
            self.violation(Violation::Alignment(offset));
        }
        self.set32(offset, value);
        let low = if sends { reg::TNPDS } else { reg::RDSAR };
        let base = u64::from(self.get32(low + 4)) << 32 | u64::from(self.get32(low));
        let ring = if sends { &mut self.tx.ring } else { &mut self.rx.ring };
        (ring.base, ring.next) = (base, 0);
    }
}
