//! PHYs on the model, through every kind of link.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use common::phy::{
    Duplex, FlowControl, KNOWN, LinkStatus, Mdio, Modes, Negotiated, Phy, PhyError, Quirks, Wish,
    registers::{Ability, Eee, GigabitStatus, mmd, register},
};
use model_support::phy::{Partner, PhyConfig, PhyLink, PhyModel};
use redox_driver_sys::time::Clock;

const ADDRESS: u8 = 1;
const BOTH: FlowControl = FlowControl { receive: true, transmit: true };
const NO_PAUSE: FlowControl = FlowControl { receive: false, transmit: false };
const MARVELL: u32 = 0x0141_0cb1;

/// The model behind an interface whose every access takes a while.
struct Bench {
    model: PhyModel,
    now: Duration,
    /// The interface is broken.
    dead: bool,
    /// There is no such register, though the PHY says so.
    missing: Option<u8>,
    /// What was written to registers of clause 45, and their numbers.
    extended: Vec<u16>,
}

impl Mdio for Bench {
    type Error = &'static str;

    fn read(&mut self, address: u8, register: u8) -> Result<u16, &'static str> {
        self.now += Duration::from_micros(64);
        match () {
            () if self.dead || self.missing == Some(register) => Err("no answer"),
            () if address == ADDRESS => Ok(self.model.read(register, self.now)),
            () => Ok(u16::MAX),
        }
    }

    fn write(&mut self, address: u8, number: u8, value: u16) -> Result<(), &'static str> {
        self.now += Duration::from_micros(64);
        if address == ADDRESS {
            if number == register::MMD_DATA {
                self.extended.push(value);
            }
            self.model.write(number, value, self.now);
        }
        Ok(())
    }
}

impl Bench {
    fn new(config: PhyConfig) -> Self {
        Bench {
            model: PhyModel::new(config),
            now: Duration::ZERO,
            dead: false,
            missing: None,
            extended: Vec::new(),
        }
    }

    fn find(&mut self) -> Phy {
        Phy::find(self, 0..32, KNOWN).unwrap()
    }

    fn plug(&mut self, partner: Partner) {
        self.model.set_partner(Some(partner), self.now);
    }

    /// Sets up and lets negotiation pass.
    fn link(&mut self, phy: &Phy) -> Option<Negotiated> {
        phy.set_up(self, &Clock::monotonic()).unwrap();
        self.wait(phy)
    }

    fn wait(&mut self, phy: &Phy) -> Option<Negotiated> {
        self.now += Duration::from_secs(2);
        phy.status(self).unwrap().up
    }
}

fn negotiates(ability: Ability, gigabit: GigabitStatus) -> Partner {
    Partner::Negotiates { ability, gigabit, eee: Eee::empty() }
}

fn up(speed: u32, duplex: Duplex, flow_control: FlowControl) -> Option<Negotiated> {
    Some(Negotiated { speed, duplex, flow_control, downshifted: false })
}

#[test]
fn is_found_where_it_answers() {
    let mut bench = Bench::new(PhyConfig { id: MARVELL, ..PhyConfig::default() });
    let phy = bench.find();
    assert_eq!(phy.to_string(), "Marvell 88E1149 (01410cb1) at 1");
    assert_eq!(phy.supported(), Modes::all());
    assert_eq!(Phy::find(&mut bench, 2..32, KNOWN).unwrap_err(), PhyError::Missing);
    let mut bench = Bench::new(PhyConfig { id: 0x001c_c800, gigabit: false, ..PhyConfig::default() });
    let phy = bench.find();
    assert_eq!(phy.quirks(), &Quirks::NONE);
    assert_eq!(phy.supported(), Modes::all() - Modes::T1000_FULL - Modes::T1000_HALF);
    bench.dead = true;
    assert_eq!(phy.status(&mut bench).unwrap_err().to_string(), "MDIO: no answer");
}

#[test]
fn an_extended_status_that_cannot_be_read_is_no_reason_to_give_up() {
    let mut bench = Bench::new(PhyConfig::default());
    bench.missing = Some(15);
    assert_eq!(bench.find().supported(), Modes::all());
}

#[test]
fn the_best_common_mode_is_taken() {
    let full = GigabitStatus::PARTNER_FULL;
    let none = GigabitStatus::empty();
    for (partner, speed, duplex) in [
        (negotiates(Ability::all(), full), 1000, Duplex::Full),
        (negotiates(Ability::all(), GigabitStatus::PARTNER_HALF), 1000, Duplex::Half),
        (negotiates(Ability::T100_FULL | Ability::T10_FULL, none), 100, Duplex::Full),
        (negotiates(Ability::T100_HALF | Ability::T10_FULL, none), 100, Duplex::Half),
        (negotiates(Ability::T10_FULL, none), 10, Duplex::Full),
        (negotiates(Ability::T10_HALF, none), 10, Duplex::Half),
        (Partner::Silent { hundred: true }, 100, Duplex::Half),
        (Partner::Silent { hundred: false }, 10, Duplex::Half),
    ] {
        for id in [MARVELL, 0x001c_c800] {
            let mut bench = Bench::new(PhyConfig { id, ..PhyConfig::default() });
            let phy = bench.find();
            bench.plug(partner);
            let up = bench.link(&phy).unwrap();
            assert_eq!((up.speed, up.duplex, up.downshifted), (speed, duplex, false), "{partner:?}");
        }
    }
}

#[test]
fn pause_frames_are_agreed_on_as_the_table_says() {
    let wish = |receive, transmit| FlowControl { receive, transmit };
    let (pause, asymmetric) = (Ability::PAUSE, Ability::ASYMMETRIC_PAUSE);
    for (own, partner, agreed) in [
        (wish(true, true), pause, BOTH),
        (wish(true, true), pause | asymmetric, BOTH),
        (wish(true, true), asymmetric, NO_PAUSE),
        (wish(false, true), pause | asymmetric, wish(false, true)),
        (wish(false, true), pause, NO_PAUSE),
        (wish(true, false), asymmetric, wish(true, false)),
        (wish(true, false), pause | asymmetric, BOTH),
        (wish(false, false), pause | asymmetric, NO_PAUSE),
        (wish(true, true), Ability::empty(), NO_PAUSE),
    ] {
        let mut bench = Bench::new(PhyConfig::default());
        let mut phy = bench.find();
        bench.plug(negotiates(Ability::T100_FULL | partner, GigabitStatus::empty()));
        let wish = Wish::Negotiate { modes: Modes::all(), flow_control: own };
        phy.wish_for::<()>(wish).unwrap();
        assert_eq!(bench.link(&phy), up(100, Duplex::Full, agreed), "{own:?} {partner:?}");
    }
    // Never with half duplex, whatever both say.
    let mut bench = Bench::new(PhyConfig::default());
    let phy = bench.find();
    bench.plug(negotiates(Ability::T100_HALF | pause, GigabitStatus::empty()));
    assert_eq!(bench.link(&phy), up(100, Duplex::Half, NO_PAUSE));
}

#[test]
fn what_is_wished_for_is_advertised_alone() {
    let mut bench = Bench::new(PhyConfig::default());
    let mut phy = bench.find();
    bench.plug(Partner::SWITCH);
    for (modes, speed) in [(Modes::T1000_FULL, 1000), (Modes::T10_FULL | Modes::T100_FULL, 100)] {
        phy.wish_for::<()>(Wish::Negotiate { modes, flow_control: BOTH }).unwrap();
        phy.renegotiate(&mut bench).unwrap();
        assert_eq!(phy.status(&mut bench).unwrap().up, None);
        assert_eq!(bench.wait(&phy), up(speed, Duplex::Full, BOTH));
    }
}

#[test]
fn modes_can_be_forced() {
    for (mode, speed, duplex) in [
        (Modes::T10_HALF, 10, Duplex::Half),
        (Modes::T10_FULL, 10, Duplex::Full),
        (Modes::T100_HALF, 100, Duplex::Half),
        (Modes::T100_FULL, 100, Duplex::Full),
    ] {
        for id in [MARVELL, 0x001c_c800] {
            let mut bench = Bench::new(PhyConfig { id, ..PhyConfig::default() });
            let mut phy = bench.find();
            bench.plug(Partner::Silent { hundred: speed == 100 });
            phy.wish_for::<()>(Wish::Force(mode)).unwrap();
            assert_eq!(bench.link(&phy), up(speed, duplex, NO_PAUSE));
            let full_duplex = duplex == Duplex::Full;
            assert_eq!(bench.model.link(bench.now), Some(PhyLink { speed, full_duplex }));
        }
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let mut bench = Bench::new(PhyConfig { gigabit: false, ..PhyConfig::default() });
    let mut phy = bench.find();
    let gigabit = Wish::Negotiate { modes: Modes::T1000_FULL, flow_control: BOTH };
    for wish in [
        gigabit,
        Wish::Force(Modes::T1000_FULL),
        Wish::Force(Modes::empty()),
        Wish::Force(Modes::T10_HALF | Modes::T100_HALF),
    ] {
        assert!(matches!(phy.wish_for::<()>(wish), Err(PhyError::Unsupported(..))), "{wish:?}");
        assert_eq!(phy.wish(), Wish::default());
    }
}

#[test]
fn a_bad_cable_costs_speed_and_not_the_link() {
    for id in [MARVELL, PhyConfig::default().id] {
        let mut bench = Bench::new(PhyConfig { id, ..PhyConfig::default() });
        let phy = bench.find();
        bench.plug(Partner::SWITCH);
        bench.model.set_cable(100);
        let link = bench.link(&phy).unwrap();
        assert_eq!((link.speed, link.duplex, link.downshifted), (100, Duplex::Full, true));
    }
    // Without the quirk nobody tells the PHY to.
    let mut bench = Bench::new(PhyConfig::default());
    let phy = Phy::find(&mut bench, [ADDRESS], &[]).unwrap();
    bench.plug(Partner::SWITCH);
    bench.model.set_cable(100);
    assert_eq!(bench.link(&phy), None);
}

#[test]
fn a_link_that_went_and_came_back_is_noticed() {
    let mut bench = Bench::new(PhyConfig::default());
    let phy = bench.find();
    phy.set_up(&mut bench, &Clock::monotonic()).unwrap();
    assert_eq!(phy.status(&mut bench).unwrap(), LinkStatus { up: None, dropped: true });
    bench.plug(Partner::SWITCH);
    assert!(bench.wait(&phy).is_some());
    assert!(!phy.status(&mut bench).unwrap().dropped);
    bench.model.set_partner(None, bench.now);
    bench.plug(Partner::SWITCH);
    bench.now += Duration::from_secs(2);
    let status = phy.status(&mut bench).unwrap();
    assert!(status.dropped && status.up.is_some());
    bench.model.set_partner(None, bench.now);
    assert_eq!(phy.status(&mut bench).unwrap(), LinkStatus { up: None, dropped: true });
}

#[test]
fn energy_is_saved_where_both_ends_can() {
    let config = PhyConfig { id: 0x001c_c800, eee: Eee::all(), ..PhyConfig::default() };
    let mut bench = Bench::new(config);
    let mut phy = bench.find();
    bench.plug(Partner::SWITCH);
    bench.link(&phy).unwrap();
    assert_eq!(phy.eee_agreed(&mut bench), Ok(true));
    phy.set_eee(false);
    phy.renegotiate(&mut bench).unwrap();
    bench.wait(&phy).unwrap();
    assert_eq!(phy.eee_agreed(&mut bench), Ok(false));
    phy.set_eee(true);
    bench.plug(negotiates(Ability::all(), GigabitStatus::empty()));
    bench.link(&phy).unwrap();
    assert_eq!(phy.eee_agreed(&mut bench), Ok(false));
}

#[test]
fn registers_that_are_not_there_promise_nothing() {
    let mut bench = Bench::new(PhyConfig { id: 0x001c_c800, eee: Eee::empty(), ..PhyConfig::default() });
    let phy = bench.find();
    bench.plug(Partner::SWITCH);
    bench.link(&phy).unwrap();
    assert_eq!(bench.extended, [mmd::EEE_ABILITY.1], "it is asked for and not set");
    assert_eq!(phy.eee_agreed(&mut bench), Ok(false));
}

#[test]
fn a_sleeping_phy_has_no_link() {
    let mut bench = Bench::new(PhyConfig::default());
    let phy = bench.find();
    bench.plug(Partner::SWITCH);
    assert!(bench.link(&phy).is_some());
    phy.power_down(&mut bench, true).unwrap();
    assert_eq!(bench.wait(&phy), None);
    phy.power_down(&mut bench, false).unwrap();
    assert!(bench.link(&phy).is_some());
}

#[test]
fn a_reset_that_does_not_end_is_an_error() {
    let mut bench = Bench::new(PhyConfig { reset: Duration::from_secs(3600), ..PhyConfig::default() });
    let phy = bench.find();
    let error = phy.set_up(&mut bench, &Clock::monotonic()).unwrap_err();
    assert_eq!(error.to_string(), "Marvell 88E1011 does not end its reset within 500ms");
}
