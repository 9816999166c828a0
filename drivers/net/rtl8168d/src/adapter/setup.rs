//! Bringing a device up, for the first time and after a reset.

use std::{sync::Arc, time::Duration};

use common::{itr::Itr, phy::Phy};
use driver_network::{Capabilities, Features, Filter, Link, MacAddress, PseudoHeader, Settings, Shape};
use redox_driver_sys::{
    irq::InterruptKind,
    mmio::{ReadWrite, Register},
    pci::PciFunction,
    time::Time,
};
use rtl8168_spec::{
    Chip, Jumbo, Offloads,
    chip::{DEVICES, VENDOR},
    indirect::eri,
    registers::{self as reg, BAR, Command, Config3, Config5, Events, Mitigation, RxConfig, TxConfig},
};

use super::Rtl8168;
use crate::{
    error::{Error, Result},
    filter,
    mdio::{KNOWN, MdioBus},
    options::{Options, RING},
    queue::{Calls, EVENTS, Pair, Shared},
    registers::Registers,
    rx::RxRing,
    statistics::Totals,
    tx::{MAX_SEGMENTS, TxRing},
    wake::WAKE_ON,
};

/// Header, tag and frame check sequence.
const AROUND: u16 = 22;
/// Longest packet for which checksums are put in.
const USUAL_MTU: u16 = 1500;
/// Most bytes of a packet that is to be cut (Linux: RTL_GSO_MAX_SIZE).
const MAX_TSO: [u32; 2] = [32_000, 64_000];
/// How long the PHY takes to wake up.
const WAKE_UP: Duration = Duration::from_millis(20);
/// TCR.MXDMA and TCR.IFG: no limit, and the standard's gap.
const TCR: TxConfig = TxConfig::new().with_burst(7).with_ifg(3);

/// Whether the device can have this shape.
pub(super) fn check(capabilities: &Capabilities, shape: Shape) -> Result<()> {
    if !capabilities.mtu.contains(&shape.mtu) {
        return Err(Error::Shape { what: "MTU", value: shape.mtu });
    }
    for (what, value) in [("transmit ring", shape.tx_ring), ("receive ring", shape.rx_ring)] {
        if !RING.contains(&value) {
            return Err(Error::Shape { what, value });
        }
    }
    Ok(())
}

/// RCR with what passes.
pub(super) fn rcr(chip: &Chip, passes: RxConfig) -> RxConfig {
    RxConfig::from(chip.rcr.into_bits() | passes.into_bits())
}

/// Receive buffers that hold a frame, a multiple of 8.
fn buffer_len(mtu: u16) -> u16 {
    if mtu <= USUAL_MTU { 2048 } else { (mtu + AROUND).next_multiple_of(8) }
}

fn capabilities(chip: &Chip, large: bool) -> Capabilities {
    let mut features = Features::TX_VLAN | Features::RX_CHECKSUM | Features::RX_VLAN;
    if !large {
        features |= Features::TX_CHECKSUM | Features::TSO4;
        features.set(Features::TSO6, chip.offloads == Offloads::Second);
    }
    let [first, second] = MAX_TSO;
    Capabilities {
        features,
        mtu: 68..=if large { chip.max_mtu } else { USUAL_MTU },
        max_segments: MAX_SEGMENTS,
        max_tso_len: if chip.offloads == Offloads::First { first } else { second },
        pseudo_header: PseudoHeader::WithoutLength,
        tx_ring: RING,
        rx_ring: RING,
        queues: 1,
        wake_on: WAKE_ON,
    }
}

fn read_address(registers: &Registers) -> redox_driver_sys::Result<MacAddress> {
    if registers.chip.address_in_eri {
        let [a, b, c, d] = registers.read_extended(eri::ADDRESS)?.to_le_bytes();
        let [e, f, ..] = registers.read_extended(eri::ADDRESS + 4)?.to_le_bytes();
        let address = MacAddress([a, b, c, d, e, f]);
        if address.is_station() {
            return Ok(address);
        }
    }
    let mut bytes = [0; 6];
    for (offset, byte) in (reg::IDR0..).zip(&mut bytes) {
        *byte = registers.get(offset)?;
    }
    Ok(MacAddress(bytes))
}

impl Rtl8168 {
    /// Takes the function over and brings the device up. It has no link yet, and receives nothing before it is started.
    ///
    /// # Errors
    /// What is wrong with the function, or what the device did not do; [`Error::UnknownChip`] for a chip that there is no data about.
    pub fn attach(function: PciFunction, options: Options) -> Result<Self> {
        let name = Rtl8168::name_at(function.address());
        let ids = function.ids().map_err(Error::machine("read ids"))?;
        if ids.vendor != VENDOR || !DEVICES.contains(&ids.device) {
            return Err(Error::Unknown { vendor: ids.vendor, device: ids.device });
        }
        function.set_bus_master(false).map_err(Error::machine("turn bus mastering off"))?;
        function.enable_memory().map_err(Error::machine("turn memory on"))?;
        let region = function.map_bar(BAR).map_err(Error::machine("map BAR 2"))?;
        let tcr: Register<TxConfig, ReadWrite> =
            region.register(reg::TCR).map_err(Error::machine("find TCR"))?;
        let tcr = tcr.read_present("TCR").map_err(Error::machine("read TCR"))?;
        let chip = Chip::find(tcr).ok_or(Error::UnknownChip { xid: tcr.xid() })?;
        let registers = Registers::new(region, function.clock(), chip);
        let capabilities = capabilities(chip, options.mtu > USUAL_MTU);
        let shape = Shape { mtu: options.mtu, tx_ring: options.tx_ring, rx_ring: options.rx_ring };
        check(&capabilities, shape)?;
        registers.reset().map_err(Error::machine("reset"))?;
        registers.take_over().map_err(Error::machine("take over"))?;
        let permanent = read_address(&registers).map_err(Error::machine("read the address"))?;
        let address = options.address.unwrap_or(permanent);
        if !address.is_station() {
            return Err(Error::Address(address));
        }
        power_up(&registers).map_err(Error::machine("wake the PHY up"))?;
        let mut phy = Phy::find(&mut MdioBus(&registers), [0], KNOWN)?;
        phy.wish_for(options.link)?;
        let dma = function.dma().map_err(Error::machine("reach memory"))?;
        let best = if chip.messages { options.interrupts } else { InterruptKind::Intx };
        let interrupts = function.interrupts_up_to(1, best).map_err(Error::machine("set up interrupts"))?;
        let interrupt_kind = interrupts.kind();
        let settings = Settings { address, filter: Filter::default(), features: capabilities.features };
        let shared = Arc::new(Shared::default());
        let make = || -> redox_driver_sys::Result<(Pair, Totals)> {
            let calls = Calls {
                status: registers.region.register(reg::ISR)?,
                mask: registers.region.register(reg::IMR)?,
                mitigation: registers.region.register(reg::INT_MITIGATE)?,
                interrupt: interrupts.into_vectors().into_iter().next(),
            };
            let pair = Pair {
                tx: TxRing::new(chip, &dma, shape.tx_ring, registers.region.register(reg::TPPOLL)?)?,
                rx: RxRing::new(chip, &dma, shape.rx_ring)?,
                calls,
                itr: Itr::new(options.throttling),
                shared: shared.clone(),
                scanned: Time::default(),
                attention: false,
                broken: None,
            };
            Ok((pair, Totals::new(&dma)?))
        };
        let (mut pair, totals) = make().map_err(Error::machine("make rings"))?;
        let mut device = Rtl8168 {
            function,
            registers,
            name,
            capabilities,
            settings,
            shape,
            permanent,
            phy,
            link: Link::Down,
            dma,
            interrupt_kind,
            queue: None,
            shared,
            passes: RxConfig::new(),
            totals,
            resets: 0,
            options,
        };
        device.set_up(&mut pair)?;
        device.queue = Some(pair);
        Ok(device)
    }

    /// Sets a device up that was reset. Neither direction is on.
    fn set_up(&mut self, pair: &mut Pair) -> Result<()> {
        let max_frame = u32::from(self.shape.mtu + AROUND);
        pair.restart(max_frame, buffer_len(self.shape.mtu));
        self.set_up_device(pair).map_err(Error::machine("set the device up"))?;
        let mut bus = MdioBus(&self.registers);
        for step in self.registers.chip.phy_steps {
            bus.take_step(step).map_err(common::phy::PhyError::Mdio)?;
        }
        self.phy.set_up(&mut bus, &self.registers.clock)?;
        self.link = Link::Down;
        Ok(())
    }

    fn set_up_device(&mut self, pair: &Pair) -> redox_driver_sys::Result<()> {
        let registers = &self.registers;
        let chip = registers.chip;
        registers.configure(|| {
            let most = if chip.modern { reg::MTPS_EARLY } else { reg::MTPS_MAX };
            registers.set(reg::MTPS, most)?;
            // The PCI Express PHY must not sleep while it is set up (Linux).
            registers.modify(reg::CONFIG5, |config: Config5| config.with_aspm(false))?;
            chip.steps.iter().try_for_each(|step| registers.take_step(*step))?;
            registers.set(reg::INT_MITIGATE, Mitigation::new())?;
            self.set_up_jumbo()?;
            registers.set(reg::RMS, buffer_len(self.shape.mtu))?;
            for (low, address) in
                [(reg::TNPDS, pair.tx.address().get()), (reg::RDSAR, pair.rx.address().get())]
            {
                let [a, b, c, d, e, f, g, h] = address.to_le_bytes();
                registers.set(low + 4, u32::from_le_bytes([e, f, g, h]))?;
                registers.set(low, u32::from_le_bytes([a, b, c, d]))?;
            }
            Ok(())
        })?;
        self.passes = filter::apply(registers, &self.settings)?;
        Ok(())
    }

    fn set_up_jumbo(&self) -> redox_driver_sys::Result<()> {
        let registers = &self.registers;
        let on = self.shape.mtu > USUAL_MTU;
        let config3 = || registers.modify(reg::CONFIG3, |config: Config3| config.with_jumbo(on));
        let config4 = |bit: u8| {
            registers.modify(reg::CONFIG4, |config: u8| if on { config | bit } else { config & !bit })
        };
        match registers.chip.jumbo {
            Jumbo::Always => Ok(()),
            Jumbo::Config4 => config4(reg::JUMBO_EN_0),
            Jumbo::Config3And4 => config3().and_then(|()| config4(reg::JUMBO_EN_1)),
            Jumbo::Config3And4AndMtps => {
                config3().and_then(|()| config4(reg::JUMBO_EN_0))?;
                registers.set(reg::MTPS, if on { reg::MTPS_MAX } else { reg::MTPS_E })
            }
        }
    }

    /// Lets frames go both ways.
    pub(super) fn enable(&mut self) -> Result<()> {
        self.function.set_bus_master(true).map_err(Error::machine("turn bus mastering on"))?;
        let registers = &self.registers;
        let enable = || -> redox_driver_sys::Result<()> {
            registers.present()?;
            // Directions first: only then do the others keep what they are told (Linux).
            registers.set(reg::CR, Command::new().with_te(true).with_re(true))?;
            registers.set(reg::RCR, rcr(registers.chip, self.passes))?;
            registers.set(reg::TCR, TCR.with_auto_fifo(registers.chip.modern))?;
            registers.set(reg::ISR, Events::from(u16::MAX))?;
            registers.set(reg::IMR, EVENTS)
        };
        enable().map_err(Error::machine("start"))?;
        match self.totals.begin(&self.registers) {
            Err(error) if error.is_gone() => Err(Error::machine("read counters")(error)),
            Err(error) => {
                log::warn!("{}: {error}: counters begin later", self.name);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Resets the device and sets it up again.
    pub(super) fn restart(&mut self, queues: &mut [Pair], shape: Shape) -> Result<()> {
        self.registers.reset().map_err(Error::machine("reset"))?;
        self.function.set_bus_master(false).map_err(Error::machine("turn bus mastering off"))?;
        self.registers.take_over().map_err(Error::machine("take over"))?;
        self.shape = shape;
        let Some(pair) = queues.first_mut() else { return Ok(()) };
        let step = || Error::machine("make rings");
        let chip = self.registers.chip;
        if pair.tx.count() != shape.tx_ring {
            let poll = self.registers.region.register(reg::TPPOLL).map_err(step())?;
            pair.tx = TxRing::new(chip, &self.dma, shape.tx_ring, poll).map_err(step())?;
        }
        if pair.rx.count() != shape.rx_ring {
            pair.rx = RxRing::new(chip, &self.dma, shape.rx_ring).map_err(step())?;
        }
        self.set_up(pair)
    }
}

/// Has the PLL on, without which there is no PHY.
fn power_up(registers: &Registers) -> redox_driver_sys::Result<()> {
    let bits = registers.chip.power_up;
    if bits != 0 {
        registers.modify(reg::PMCH, |pmch: u8| pmch | bits)?;
        registers.clock.sleep(WAKE_UP);
    }
    Ok(())
}
