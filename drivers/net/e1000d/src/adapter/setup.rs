//! Bringing a device up, for the first time and after a reset (8254x chapter 14, 82574 section 4.6).

use std::sync::Arc;

use common::{
    itr::Itr,
    phy::{KNOWN, Phy},
};
use driver_network::{Capabilities, Features, Filter, Link, MacAddress, PseudoHeader, Settings, Shape};
use e1000_spec::{
    Chip,
    chip::VENDOR,
    nvm as layout,
    registers::{
        self as reg, Causes, Ctrl, CtrlExt, Ivar, MRQC_RSS, PAUSE, RETA_ENTRIES, RFCTL_EXSTEN, RingRegisters,
        Tctl, Txdctl, Wuc,
    },
};
use redox_driver_sys::{
    irq::{Interrupt, InterruptKind},
    mmio::{Register, WriteOnly},
    pci::PciFunction,
};

use super::E1000;
use crate::{
    error::{Error, Result},
    filter,
    mdio::MdioBus,
    nvm,
    options::{Options, RING},
    queue::{Calls, Pair, Shared},
    registers::Registers,
    rx::RxRing,
    statistics::Totals,
    tx::{MAX_SEGMENTS, MAX_TSO, TxRing},
    wake::WAKE_ON,
};

/// The PHY's address: fixed in all the chips.
const PHY_ADDRESS: u8 = 1;
/// Header, tag and frame check sequence.
const AROUND: u16 = 22;
/// Collision distance in byte times (8254x table 13-76).
pub(super) const COLLISION: u16 = 64;
pub(super) const COLLISION_GIGABIT_HALF: u16 = 512;
/// Tries before a packet is given up, in half duplex.
const COLLISION_THRESHOLD: u8 = 15;
/// How long interrupts of packets that were sent may wait, and at most in all, in units of 1.024 us.
const TX_DELAY: (u32, u32) = (8, 32);
/// The partner is asked to pause for as long as possible; it is told when that is over.
const PAUSE_TIME: u32 = 0xffff;

/// Causes that are no queue's.
pub(super) const OTHERS: Causes =
    Causes::new().with_lsc(true).with_rxseq(true).with_rxo(true).with_other(true);
/// The causes with which the queues of an 82574 interrupt by vectors of their own.
pub(super) const QUEUES: Causes =
    Causes::new().with_rxq0(true).with_rxq1(true).with_txq0(true).with_txq1(true);

/// Whether the device can have this shape; as it will have it.
pub(super) fn check(chip: &Chip, shape: Shape) -> Result<Shape> {
    if shape.mtu < 68 || shape.mtu > chip.max_mtu() {
        return Err(Error::Shape { what: "MTU", value: shape.mtu });
    }
    for (what, value) in [("transmit ring", shape.tx_ring), ("receive ring", shape.rx_ring)] {
        if !RING.contains(&value) {
            return Err(Error::Shape { what, value });
        }
    }
    let whole = |entries: u16| entries.next_multiple_of(8);
    Ok(Shape { tx_ring: whole(shape.tx_ring), rx_ring: whole(shape.rx_ring), ..shape })
}

/// Receive buffers that hold a frame, as long as 4 KiB do.
fn buffer_len(mtu: u16) -> u32 {
    if mtu + AROUND <= 2048 { 2048 } else { 4096 }
}

fn capabilities(chip: &Chip, queues: u16) -> Capabilities {
    let mut features = Features::TX_CHECKSUM
        | Features::TSO4
        | Features::TX_VLAN
        | Features::RX_CHECKSUM
        | Features::RX_VLAN;
    features.set(Features::TSO6, chip.tso6);
    features.set(Features::RX_HASH, queues > 1);
    Capabilities {
        features,
        mtu: 68..=chip.max_mtu(),
        max_segments: MAX_SEGMENTS,
        max_tso_len: MAX_TSO,
        pseudo_header: PseudoHeader::WithoutLength,
        tx_ring: RING,
        rx_ring: RING,
        queues,
        wake_on: WAKE_ON,
    }
}

/// Interrupts as they were granted: one for all, or those of pairs and the one of the rest.
struct Granted {
    kind: InterruptKind,
    pairs: Vec<[Option<Interrupt>; 2]>,
    other: Option<Interrupt>,
}

impl Granted {
    fn request(function: &PciFunction, chip: &Chip, options: &Options) -> Result<Granted> {
        let step = "set up interrupts";
        let mut best = options.interrupts;
        if chip.msix && best == InterruptKind::MsiX {
            let pairs = options.queues.clamp(1, chip.queues);
            let wanted = 2 * usize::from(pairs) + 1;
            let set = function.interrupts_up_to(wanted, best).map_err(Error::machine(step))?;
            let kind = set.kind();
            if kind != InterruptKind::MsiX {
                return Ok(Granted::single(kind, set.into_vectors()));
            }
            if set.len() >= 3 {
                let pairs = (set.len() - 1) / 2;
                let mut vectors = set.into_vectors().into_iter();
                let pairs = (0..pairs).map(|_| [vectors.next(), vectors.next()]).collect();
                return Ok(Granted { kind, pairs, other: vectors.next() });
            }
            // Too few to tell causes apart.
        }
        best = best.min(if chip.msi { InterruptKind::Msi } else { InterruptKind::Intx });
        let set = function.interrupts_up_to(1, best).map_err(Error::machine(step))?;
        Ok(Granted::single(set.kind(), set.into_vectors()))
    }

    fn single(kind: InterruptKind, vectors: Vec<Interrupt>) -> Granted {
        Granted { kind, pairs: vec![[vectors.into_iter().next(), None]], other: None }
    }
}

/// The causes of a pair's vectors.
fn own_causes(pair: u16) -> Causes {
    let causes = Causes::new();
    if pair == 0 { causes.with_rxq0(true).with_txq0(true) } else { causes.with_rxq1(true).with_txq1(true) }
}

/// What INTx and MSI are for.
fn shared_causes() -> Causes {
    OTHERS.with_other(false).with_txdw(true).with_rxt0(true).with_rxdmt0(true)
}

fn read_address(registers: &Registers, options: &Options) -> Result<MacAddress> {
    let words = nvm::read(registers).map_err(Error::machine("read the EEPROM"))?;
    let sum = layout::sum(&words);
    if let Some(address) = options.address {
        if sum != layout::SUM {
            log::warn!(
                "the EEPROM's words add up to {sum:#06x}: only its address is of interest, which is given"
            );
        }
        return Ok(address);
    }
    if sum != layout::SUM {
        return Err(Error::NvmChecksum { sum });
    }
    let address = MacAddress(nvm::address(&words));
    if address.is_station() { Ok(address) } else { Err(Error::Address(address)) }
}

impl E1000 {
    /// Takes the function over and brings the device up. It has no link yet, and receives nothing before it is started.
    ///
    /// # Errors
    /// What is wrong with the function, or what the device did not do.
    pub fn attach(function: PciFunction, options: Options) -> Result<Self> {
        let name = E1000::name_at(function.address());
        let ids = function.ids().map_err(Error::machine("read ids"))?;
        let chip = Chip::find(ids.device).filter(|_| ids.vendor == VENDOR);
        let chip = chip.ok_or(Error::Unknown { vendor: ids.vendor, device: ids.device })?;
        let shape = Shape { mtu: options.mtu, tx_ring: options.tx_ring, rx_ring: options.rx_ring };
        let shape = check(chip, shape)?;
        function.set_bus_master(false).map_err(Error::machine("turn bus mastering off"))?;
        function.enable_memory().map_err(Error::machine("turn memory on"))?;
        let region = function.map_bar(0).map_err(Error::machine("map BAR 0"))?;
        let registers = Registers { region, clock: function.clock(), chip };
        registers.reset().map_err(Error::machine("reset"))?;
        let address = read_address(&registers, &options)?;
        let phy = {
            let mut bus = MdioBus::new(&registers).map_err(Error::machine("reach the PHY"))?;
            let mut phy = Phy::find(&mut bus, [PHY_ADDRESS], KNOWN)?;
            phy.wish_for(options.link)?;
            phy
        };
        let dma = function.dma().map_err(Error::machine("reach memory"))?;
        let granted = Granted::request(&function, chip, &options)?;
        let count = u16::try_from(granted.pairs.len()).unwrap_or(1);
        let capabilities = capabilities(chip, count);
        let settings = Settings { address, filter: Filter::default(), features: capabilities.features };
        let mut rss_key = [0; reg::RSS_KEY];
        fastrand::fill(&mut rss_key);
        let mut e1000 = E1000 {
            function,
            registers,
            name,
            capabilities,
            settings,
            shape,
            phy,
            link: Link::Down,
            dma,
            interrupt_kind: granted.kind,
            interrupt: granted.other,
            vector: 2 * u8::try_from(count).unwrap_or(1),
            queues: Vec::new(),
            shared: (0..count).map(|_| Arc::new(Shared::default())).collect(),
            rctl: reg::Rctl::new(),
            rss_key,
            passed: vec![None; count.into()],
            totals: Totals::default(),
            resets: 0,
            options,
        };
        let step = Error::machine("make rings");
        let pairs = (0..count).zip(granted.pairs);
        let pairs = pairs.map(|(index, interrupts)| e1000.make_pair(index, interrupts));
        let mut pairs = pairs.collect::<redox_driver_sys::Result<Vec<Pair>>>().map_err(step)?;
        e1000.set_up(&mut pairs)?;
        e1000.queues = pairs;
        Ok(e1000)
    }

    fn register<T>(&self, offset: u64) -> redox_driver_sys::Result<Register<u32, T>> {
        self.registers.region.register(offset)
    }

    fn make_tx(&self, index: u16) -> redox_driver_sys::Result<TxRing> {
        let tail: Register<u32, WriteOnly> = self.register(RingRegisters::transmit(index).tail())?;
        TxRing::new(self.chip(), &self.dma, self.shape.tx_ring, tail)
    }

    fn make_rx(&self, index: u16) -> redox_driver_sys::Result<RxRing> {
        let tail: Register<u32, WriteOnly> = self.register(RingRegisters::receive(index).tail())?;
        RxRing::new(self.chip(), &self.dma, self.shape.rx_ring, buffer_len(self.shape.mtu), tail)
    }

    fn make_pair(&self, index: u16, interrupts: [Option<Interrupt>; 2]) -> redox_driver_sys::Result<Pair> {
        let vectors = self.interrupt_kind == InterruptKind::MsiX;
        let throttle = |offset| self.chip().throttle.then(|| self.register(offset)).transpose();
        let throttles = if vectors {
            [throttle(reg::eitr(2 * index))?, throttle(reg::eitr(2 * index + 1))?]
        } else {
            [throttle(reg::ITR)?, None]
        };
        let reason = if vectors {
            None
        } else {
            Some((self.registers.region.register(reg::ICR)?, self.register(reg::IMC)?))
        };
        let calls = Calls {
            reason,
            unmask: self.register(reg::IMS)?,
            mask: if vectors { own_causes(index) } else { shared_causes() },
            throttles,
            interrupts,
        };
        Ok(Pair {
            tx: self.make_tx(index)?,
            rx: self.make_rx(index)?,
            calls,
            itr: Itr::new(self.options.throttling),
            shared: self.shared.get(usize::from(index)).cloned().unwrap_or_default(),
            attention: false,
            gone: false,
        })
    }

    /// Sets a device up that was reset. Neither direction is on.
    fn set_up(&mut self, pairs: &mut [Pair]) -> Result<()> {
        self.set_up_device().map_err(Error::machine("set the device up"))?;
        for (index, pair) in (0..).zip(pairs.iter_mut()) {
            self.set_up_rings(index, pair).map_err(Error::machine("set rings up"))?;
        }
        let mut bus = MdioBus::new(&self.registers).map_err(Error::machine("reach the PHY"))?;
        self.phy.set_up(&mut bus, &self.registers.clock)?;
        self.link = Link::Down;
        Ok(())
    }

    fn set_up_device(&mut self) -> redox_driver_sys::Result<()> {
        let Registers { chip, .. } = self.registers;
        let registers = &self.registers;
        for fix in chip.fixes {
            registers.modify(fix.register, |value: u32| value & !fix.clear | fix.set)?;
        }
        let forced = |ctrl: Ctrl| ctrl.with_frcspd(false).with_frcdplx(false).with_asde(false);
        registers.modify(reg::CTRL, |ctrl: Ctrl| {
            forced(ctrl).with_slu(true).with_fd(true).with_lrst(false).with_phy_rst(false).with_ilos(false)
        })?;
        if chip.is_express() {
            registers.modify(reg::CTRL_EXT, |value: CtrlExt| value.with_drv_load(true))?;
        }
        registers.set(reg::WUC, Wuc::new())?;
        self.share_packet_buffer()?;
        let rctl = filter::apply(registers, &self.settings)?;
        let jumbo = self.shape.mtu > 1500;
        self.rctl = rctl.with_secrc(true).with_lpe(jumbo).with_buffer_len(buffer_len(self.shape.mtu));
        if chip.extended_rx {
            registers.set(reg::RFCTL, RFCTL_EXSTEN)?;
        }
        registers.set(reg::VET, 0x8100u32)?;
        registers.set(reg::TIPG, reg::TIPG_COPPER)?;
        registers.set(reg::RDTR, 0u32)?;
        registers.set(reg::TIDV, TX_DELAY.0)?;
        if chip.throttle {
            registers.set(reg::RADV, 0u32)?;
            registers.set(reg::TADV, TX_DELAY.1)?;
        }
        // What was counted before is nobody's.
        Totals::default().update(registers)
    }

    /// Room for two frames that are sent, the rest for those that come; and when to ask the partner to pause (8254x section 3.8.2).
    fn share_packet_buffer(&self) -> redox_driver_sys::Result<()> {
        let registers = &self.registers;
        let frame = u32::from(self.shape.mtu + AROUND);
        let whole = u32::from(registers.chip.packet_buffer);
        let sending = (2 * frame).div_ceil(1024).max(whole / 4);
        let receiving = whole - sending;
        registers.set(reg::PBA, receiving)?;
        let high = (receiving * 1024).saturating_sub(2 * frame).max(receiving * 512) & !7;
        let (address_high, address_low, kind) = PAUSE;
        registers.set(reg::FCAH, address_high)?;
        registers.set(reg::FCAL, address_low)?;
        registers.set(reg::FCT, kind)?;
        registers.set(reg::FCTTV, PAUSE_TIME)?;
        registers.set(reg::FCRTH, high)?;
        // XON is sent, too (bit 31).
        registers.set(reg::FCRTL, (high.saturating_sub(1504) & !7) | 1 << 31)
    }

    /// Both queues take turns in the redirection table (82574 section 7.1.10). Without it all frames come by the first one.
    fn set_up_rss(&self) -> redox_driver_sys::Result<()> {
        let registers = &self.registers;
        for (offset, bytes) in (reg::RSSRK..).step_by(4).zip(self.rss_key.as_chunks::<4>().0) {
            registers.set(offset, u32::from_le_bytes(*bytes))?;
        }
        for dword in 0..RETA_ENTRIES as u64 / 4 {
            registers.set(reg::RETA + 4 * dword, u32::from_le_bytes([0, 0x80, 0, 0x80]))?;
        }
        registers.set(reg::MRQC, MRQC_RSS)
    }

    fn set_up_rings(&self, index: u16, pair: &mut Pair) -> redox_driver_sys::Result<()> {
        pair.tx.restart();
        pair.rx.restart(buffer_len(self.shape.mtu));
        pair.itr.forget();
        pair.attention = false;
        pair.shared.consumed.store(0, std::sync::atomic::Ordering::Relaxed);
        let rings = [
            (RingRegisters::transmit(index), pair.tx.address(), pair.tx.count()),
            (RingRegisters::receive(index), pair.rx.address(), pair.rx.count()),
        ];
        for (ring, address, count) in rings {
            let [a, b, c, d, e, f, g, h] = address.get().to_le_bytes();
            self.registers.set(ring.base_low(), u32::from_le_bytes([a, b, c, d]))?;
            self.registers.set(ring.base_high(), u32::from_le_bytes([e, f, g, h]))?;
            self.registers.set(ring.length(), u32::from(count) * 16)?;
            self.registers.set(ring.head(), 0u32)?;
            self.registers.set(ring.tail(), 0u32)?;
        }
        let control = Txdctl::new().with_gran(true).with_wthresh(1).with_pthresh(31).with_hthresh(1);
        let control = control.with_count_desc(self.chip().is_express());
        self.registers.set(RingRegisters::transmit(index).control(), control)
    }

    /// Says which vector is for what. What may interrupt, all together.
    fn set_up_interrupts(&self) -> redox_driver_sys::Result<Causes> {
        let registers = &self.registers;
        if self.interrupt_kind != InterruptKind::MsiX {
            return Ok(shared_causes());
        }
        // The queues' causes clear and mask themselves when their message goes out: none of their registers is read then.
        let two = self.shared.len() > 1;
        let first = own_causes(0);
        let own = if two { Causes::from(first.into_bits() | own_causes(1).into_bits()) } else { first };
        registers.set(reg::EIAC, own)?;
        registers.set(reg::IAM, own)?;
        registers.modify(reg::CTRL_EXT, |value: CtrlExt| {
            value.with_eiame(true).with_iame(false).with_pba_clr(true).with_drv_load(true)
        })?;
        // Two vectors for each pair, in their order, and the last one for the rest.
        let mut ivar = Ivar::new().with_rxq0(Ivar::VALID).with_txq0(Ivar::VALID | 1);
        if two {
            ivar = ivar.with_rxq1(Ivar::VALID | 2).with_txq1(Ivar::VALID | 3);
        }
        registers.set(reg::IVAR, ivar.with_other(Ivar::VALID | self.vector))?;
        Ok(Causes::from(own.into_bits() | OTHERS.into_bits()))
    }

    /// Lets frames go both ways.
    pub(super) fn enable(&mut self) -> Result<()> {
        self.function.set_bus_master(true).map_err(Error::machine("turn bus mastering on"))?;
        let enable = || -> redox_driver_sys::Result<()> {
            let registers = &self.registers;
            registers.status()?;
            let mask = self.set_up_interrupts()?;
            if self.shared.len() > 1 {
                self.set_up_rss()?;
            }
            let express = registers.chip.is_express();
            let tctl = Tctl::new().with_psp(true).with_ct(COLLISION_THRESHOLD).with_cold(COLLISION);
            registers.set(reg::TCTL, tctl.with_rtlc(true).with_mulr(express).with_en(true))?;
            registers.set(reg::RCTL, self.rctl.with_en(true))?;
            // Has the device look at the buffers that were posted before.
            for (queue, _) in (0..).zip(&self.shared) {
                let tail = RingRegisters::receive(queue).tail();
                registers.modify(tail, |value: u32| value)?;
            }
            registers.set(reg::IMS, mask)
        };
        enable().map_err(Error::machine("start"))
    }

    /// Resets the device and sets it up again.
    pub(super) fn restart(&mut self, queues: &mut [Pair], shape: Shape) -> Result<()> {
        self.totals.update(&self.registers).map_err(Error::machine("read counters"))?;
        self.registers.reset().map_err(Error::machine("reset"))?;
        self.function.set_bus_master(false).map_err(Error::machine("turn bus mastering off"))?;
        self.shape = shape;
        for passed in &mut self.passed {
            *passed = None;
        }
        let step = || Error::machine("make rings");
        for (index, pair) in (0..).zip(queues.iter_mut()) {
            if pair.tx.count() != shape.tx_ring {
                pair.tx = self.make_tx(index).map_err(step())?;
            }
            if pair.rx.count() != shape.rx_ring {
                pair.rx = self.make_rx(index).map_err(step())?;
            }
        }
        self.set_up(queues)
    }
}
