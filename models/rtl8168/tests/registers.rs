//! Registers: what they say, what they protect, and those behind others.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::time::Duration;

use redox_driver_sys::irq::InterruptKind;
use support::*;
use zerocopy::FromBytes;

#[test]
fn each_chip_tells_which_it_is() {
    for chip in rtl8168_spec::CHIPS {
        let bench = Bench::cold(Config::of(chip));
        let tcr = reg::TxConfig::from(bench.read32(reg::TCR));
        assert_eq!(tcr.xid(), chip.xid);
        // It cannot be changed.
        bench.write32(reg::TCR, u32::MAX);
        assert_eq!(reg::TxConfig::from(bench.read32(reg::TCR)).xid(), chip.xid);
        let address: Vec<u8> = (0..6).map(|at| bench.read8(reg::IDR0 + at)).collect();
        assert_eq!(address, OWN);
        bench.assert_clean();
    }
}

#[test]
fn configuration_is_protected() {
    let bench = Bench::cold(Config::named("RTL8168C"));
    for (offset, wide) in [(reg::CONFIG3, false), (reg::IDR0, true)] {
        let write = || if wide { bench.write32(offset, 0x55u32) } else { bench.write8(offset, 0x55u8) };
        let before = bench.read8(offset);
        write();
        assert_eq!(bench.read8(offset), before);
        assert_eq!(bench.model.take_violations(), [Violation::Locked(offset)]);
        bench.write8(reg::CR9346, reg::UNLOCK);
        write();
        assert_eq!(bench.read8(offset), 0x55);
        bench.write8(reg::CR9346, reg::LOCK);
    }
    bench.assert_clean();
}

#[test]
fn registers_have_their_widths() {
    let bench = Bench::cold(Config::named("RTL8168C"));
    bench.read32(reg::CR9346);
    bench.write16(reg::RCR, 1u16);
    bench.read32(reg::ERIAR);
    bench.write8(reg::PHYSTATUS, 1u8);
    let register = |offset, len| Violation::Register { offset, len };
    let expected = [
        register(reg::CR9346, 4),
        register(reg::RCR, 2),
        register(reg::ERIAR, 4),
        Violation::ReadOnly(reg::PHYSTATUS),
    ];
    assert_eq!(bench.model.take_violations(), expected);
}

#[test]
fn the_phy_is_behind_one_register_or_another() {
    let bench = Bench::cold(Config::named("RTL8168C"));
    let access = |access: Access| {
        bench.write32(reg::PHYAR, access);
        assert_eq!(Access::from(bench.read32(reg::PHYAR)).flag(), access.flag());
        bench.host.advance(Duration::from_micros(25));
        let done = Access::from(bench.read32(reg::PHYAR));
        assert_ne!(done.flag(), access.flag());
        done.data()
    };
    let read = |register| access(Access::new().with_register(register));
    let write =
        |register, data| access(Access::new().with_register(register).with_data(data).with_flag(true));
    assert_eq!((read(2), read(3)), (0x001c, 0xc912));
    write(31, 1);
    write(0x10, 0xf41b);
    assert_eq!((read(0x10), bench.model.phy_page(1, 0x10)), (0xf41b, 0xf41b));
    write(31, 0);
    assert_eq!(read(2), 0x001c);
    // One after the other.
    bench.write32(reg::PHYAR, Access::new());
    bench.write32(reg::PHYAR, Access::new());
    assert_eq!(bench.model.take_violations(), [Violation::Busy(reg::PHYAR)]);

    let bench = Bench::cold(Config::named("RTL8168H"));
    let read = |address| {
        bench.write32(reg::GPHY_OCP, Ocp::at(address));
        bench.host.advance(Duration::from_micros(25));
        let done = Ocp::from(bench.read32(reg::GPHY_OCP));
        assert!(done.flag());
        done.data()
    };
    assert_eq!((read(0xa404), read(0xa406)), (0x001c, 0xc800));
    bench.write32(reg::GPHY_OCP, Ocp::at(Ocp::phy(0xa44, 0x11).unwrap()).with_data(0x0c).with_flag(true));
    bench.host.advance(Duration::from_micros(25));
    assert_eq!((read(0xa442), bench.model.phy_page(0xa44, 0x11)), (0x0c, 0x0c));
    assert_eq!(read(0xa434), 0);
    bench.model.set_partner(Some(Partner::SWITCH), Duration::ZERO);
    bench.host.advance(Duration::from_secs(2));
    assert_eq!(read(0xa434), 2 << 4 | 1 << 3 | 1 << 2);
    assert_eq!(bench.read8(reg::PHYSTATUS), 0b1_0011);
    bench.assert_clean();
}

#[test]
fn extended_registers_are_written_by_bytes() {
    let bench = Bench::cold(Config::named("RTL8168H"));
    let read = |address| {
        bench.write32(reg::ERIAR, Eriar::new().with_address(address).with_bytes(15));
        bench.host.advance(Duration::from_micros(25));
        assert!(Eriar::from(bench.read32(reg::ERIAR)).flag());
        bench.read32(reg::ERIDR)
    };
    assert_eq!(read(eri::ADDRESS), 0x1200_5452);
    bench.write32(reg::ERIDR, u32::MAX);
    bench.write32(reg::ERIAR, Eriar::new().with_address(eri::ADDRESS).with_bytes(0b0010).with_flag(true));
    bench.host.advance(Duration::from_micros(25));
    assert!(!Eriar::from(bench.read32(reg::ERIAR)).flag());
    assert_eq!(read(eri::ADDRESS), 0x1200_ff52);
    bench.write32(reg::OCPDR, Ocp::at(0xe056).with_data(0x70).with_flag(true));
    bench.write32(reg::OCPDR, Ocp::at(0xe056));
    assert_eq!(Ocp::from(bench.read32(reg::OCPDR)).data(), 0x70);
    bench.assert_clean();
}

#[test]
fn remote_management_has_it_first() {
    let bench = Bench::cold(Config::named("RTL8168H"));
    assert!(reg::Mcu::from(bench.read8(reg::MCU)).out_of_band());
    bench.write8(reg::CR, Command::new().with_re(true));
    assert_eq!(bench.model.take_violations(), [Violation::OutOfBand]);
}

#[test]
fn counters_are_written_while_it_receives() {
    let mut bench = Bench::new("RTL8168C");
    bench.send(&frame(PEER, 60), 0, TxSecond::new());
    bench.receive(&frame(OWN, 60));
    let low = u32::try_from(bench.address(TALLY) & 0xffff_ffff).unwrap();
    let ask = |bench: &Bench, command| {
        bench.write32(reg::DTCCR_HIGH, u32::try_from(bench.address(TALLY) >> 32).unwrap());
        bench.write32(reg::DTCCR, low);
        bench.write32(reg::DTCCR, low | command);
        bench.host.advance(Duration::from_millis(1));
        bench.read32(reg::DTCCR) & (tally::DUMP | tally::RESET)
    };
    let dumped = |bench: &Bench| {
        let mut bytes = [0; tally::ALIGN];
        bench.memory.copy_to(TALLY, &mut bytes).unwrap();
        Tally::read_from_bytes(&bytes).unwrap()
    };
    assert_eq!(ask(&bench, tally::DUMP), 0);
    assert_eq!((dumped(&bench).tx_packets, dumped(&bench).rx_unicast), (1, 1));
    assert_eq!(ask(&bench, tally::RESET), 0);
    assert_eq!(ask(&bench, tally::DUMP), 0);
    assert_eq!(dumped(&bench), Tally::default());
    bench.write8(reg::CR, Command::new().with_te(true));
    assert_eq!(ask(&bench, tally::DUMP), tally::DUMP);
    bench.assert_clean();
    // Older ones cannot forget.
    let bench = Bench::new("RTL8168B");
    ask(&bench, tally::RESET);
    assert_eq!(bench.model.take_violations(), [Violation::Tally]);
}

#[test]
fn rings_start_where_they_may_and_are_not_moved_under_way() {
    let bench = Bench::cold(Config::named("RTL8168C"));
    bench.write32(reg::TNPDS, 0x1080u32);
    assert_eq!(bench.model.take_violations(), [Violation::Alignment(reg::TNPDS)]);
    bench.write8(reg::CR, Command::new().with_re(true));
    bench.write32(reg::RDSAR, 0x1000u32);
    assert_eq!(bench.model.take_violations(), [Violation::RingWhileEnabled(reg::RDSAR)]);
}

#[test]
fn it_interrupts_once_for_what_was_not_told() {
    for (chip, kind) in [("RTL8168C", InterruptKind::Intx), ("RTL8168H", InterruptKind::MsiX)] {
        let mut bench = Bench::new(chip);
        bench.write16(reg::ISR, u16::MAX);
        let count = |bench: &Bench| bench.model.statistics().interrupts;
        bench.receive(&frame(OWN, 60));
        assert_eq!(count(&bench), 0, "masked");
        bench.write16(reg::IMR, Events::new().with_rok(true).with_link(true));
        assert_eq!(count(&bench), 1, "{kind}");
        // The pin stays as it is; a message goes for what happens again.
        bench.receive(&frame(OWN, 60));
        assert_eq!(count(&bench), if kind == InterruptKind::Intx { 1 } else { 2 });
        bench.write16(reg::ISR, Events::new().with_rok(true));
        let before = count(&bench);
        bench.receive(&frame(OWN, 60));
        bench.model.set_partner(None, Duration::from_secs(3));
        bench.host.advance(Duration::from_millis(1));
        assert_eq!(count(&bench), before + if kind == InterruptKind::Intx { 1 } else { 2 });
        assert!(Events::from(bench.read16(reg::ISR)).link());
        bench.assert_clean();
    }
}

#[test]
fn packets_wait_for_company() {
    let mut bench = Bench::new("RTL8168H");
    bench.write16(reg::IMR, Events::new().with_rok(true));
    // 2 units of 40 us, or 4 frames.
    bench.write16(reg::CPLUS, CPlus::new().with_time_unit(1));
    bench.write16(reg::INT_MITIGATE, Mitigation::new().with_rx_time(2).with_rx_frames(1));
    bench.write16(reg::ISR, u16::MAX);
    let came = |bench: &Bench, micros| {
        bench.host.advance(Duration::from_micros(micros));
        Events::from(bench.read16(reg::ISR)).rok()
    };
    bench.model.send(&frame(OWN, 60));
    assert!(!came(&bench, 70));
    assert!(came(&bench, 20));
    bench.write16(reg::ISR, u16::MAX);
    (0..4).for_each(|index| bench.post(index));
    for n in 0..4 {
        assert!(!came(&bench, 5), "{n}");
        bench.model.send(&frame(OWN, 60));
    }
    assert!(came(&bench, 1));
    bench.take();
    bench.assert_clean();
}
