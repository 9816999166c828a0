//! The controller's registers (NVM Express Base Specification 1.4, section 3.1).

use std::time::Duration;

use nvme_spec::registers::{self as offset, Aqa, Cap, Cc, Csts, Vs};
use redox_driver_sys::{
    mmio::{Mmio, ReadOnly, ReadWrite, Register, WriteOnly},
    time::Clock,
};

use crate::error::{Error, Result};

/// CAP.TO counts these.
const READY_UNIT: Duration = Duration::from_millis(500);
/// Sizes of the entries of queues, as powers of two: [`SubmissionEntry`](nvme_spec::SubmissionEntry) and
/// [`CompletionEntry`](nvme_spec::CompletionEntry), also those of admin queues.
pub(crate) const SQES: u8 = 6;
pub(crate) const CQES: u8 = 4;
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// The registers at the start of BAR 0, and the way to the doorbells behind them.
pub(crate) struct Registers {
    region: Mmio,
    clock: Clock,
    cap: Cap,
    vs: Vs,
    cc: Register<u32, ReadWrite>,
    csts: Register<u32, ReadOnly>,
    aqa: Register<u32, ReadWrite>,
    asq: [Register<u32, ReadWrite>; 2],
    acq: [Register<u32, ReadWrite>; 2],
}

impl Registers {
    pub(crate) fn new(region: &Mmio, clock: Clock) -> Result<Self> {
        let map = Error::machine("map registers");
        let build = || -> redox_driver_sys::Result<Self> {
            let pair =
                |at: u64| Ok::<_, redox_driver_sys::Error>([region.register(at)?, region.register(at + 4)?]);
            let [low, high]: [Register<u32, ReadOnly>; 2] =
                [region.register(offset::CAP)?, region.register(offset::CAP + 4)?];
            // Two halves: not every machine carries a 64-bit access, and the register never changes.
            let cap = u64::from(low.read_present("CAP")?) | u64::from(high.read()) << 32;
            let vs: Register<u32, ReadOnly> = region.register(offset::VS)?;
            Ok(Registers {
                cap: cap.into(),
                vs: vs.read_present("VS")?.into(),
                cc: region.register(offset::CC)?,
                csts: region.register(offset::CSTS)?,
                aqa: region.register(offset::AQA)?,
                asq: pair(offset::ASQ)?,
                acq: pair(offset::ACQ)?,
                clock,
                region: region.clone(),
            })
        };
        build().map_err(map)
    }

    pub(crate) fn cap(&self) -> Cap {
        self.cap
    }

    pub(crate) fn version(&self) -> Vs {
        self.vs
    }

    /// How long the controller may take to follow CC.EN: CAP.TO, which old controllers leave at 0.
    pub(crate) fn ready_timeout(&self) -> Duration {
        READY_UNIT * u32::from(self.cap.to().max(1))
    }

    /// The status; an error when the controller is gone.
    pub(crate) fn status(&self) -> redox_driver_sys::Result<Csts> {
        self.csts.read_present("CSTS").map(Csts::from)
    }

    /// The doorbells of queue pair `queue`: submission tail, completion head.
    pub(crate) fn doorbells(&self, queue: u16) -> Result<[Register<u32, WriteOnly>; 2]> {
        let stride = self.cap.dstrd();
        let tail = self.region.register(offset::sq_tail_doorbell(queue, stride));
        let head = self.region.register(offset::cq_head_doorbell(queue, stride));
        match (tail, head) {
            (Ok(tail), Ok(head)) => Ok([tail, head]),
            (Err(error), _) | (_, Err(error)) => {
                Err(Error::Machine { step: "find a doorbell", source: error })
            }
        }
    }

    /// How many queue pairs have their doorbells inside the BAR, the admin queue's included.
    pub(crate) fn queue_pairs_in_bar(&self) -> u64 {
        self.region.len().saturating_sub(offset::DOORBELLS) / (8 << self.cap.dstrd())
    }

    /// Clears CC.EN and waits until the controller has stopped (section 3.1.5). Afterwards it does no DMA.
    pub(crate) fn disable(&self) -> Result<()> {
        self.status().map_err(Error::machine("disable the controller"))?;
        let cc = Cc::from(self.cc.read());
        if cc.en() {
            self.cc.write(cc.with_en(false).with_shn(Cc::SHN_NONE).into());
        }
        self.wait("disable the controller", "CSTS.RDY = 0", |status| !status.rdy(), true)
    }

    /// Tells the controller where the admin queues are, sets CC.EN and waits until it is ready.
    pub(crate) fn enable(&self, admin: &crate::queue::QueuePair, page_shift: u32) -> Result<()> {
        const STEP: &str = "enable the controller";
        let entries = admin.entries().saturating_sub(1);
        self.aqa.write(Aqa::new().with_asqs(entries).with_acqs(entries).into());
        let (sq, cq) = admin.addresses();
        write_halves(&self.asq, sq.get());
        write_halves(&self.acq, cq.get());
        let mps = u8::try_from(page_shift.saturating_sub(12)).unwrap_or(0);
        self.cc.write(Cc::new().with_en(true).with_mps(mps).with_iosqes(SQES).with_iocqes(CQES).into());
        self.wait(STEP, "CSTS.RDY = 1", |status| status.rdy(), false)
    }

    /// Asks for a normal shutdown and waits for it, at most `timeout` (section 7.6.2).
    pub(crate) fn shut_down(&self, timeout: Duration) -> Result<()> {
        const STEP: &str = "shut down";
        self.status().map_err(Error::machine(STEP))?;
        self.cc.write(Cc::from(self.cc.read()).with_shn(Cc::SHN_NORMAL).into());
        self.clock
            .poll_until("CSTS.SHST = 10b", timeout, POLL_INTERVAL, || {
                let done = self.status()?.shst() == Csts::SHST_COMPLETE;
                Ok(done.then_some(()))
            })
            .map_err(Error::machine(STEP))
    }

    /// A controller on its way down may report a fatal status; one on its way up must not.
    fn wait(
        &self,
        step: &'static str,
        what: &'static str,
        done: impl Fn(Csts) -> bool,
        fatal_allowed: bool,
    ) -> Result<()> {
        let status = self
            .clock
            .poll_until(what, self.ready_timeout(), POLL_INTERVAL, || {
                let status = self.status()?;
                Ok((done(status) || (status.cfs() && !fatal_allowed)).then_some(status))
            })
            .map_err(Error::machine(step))?;
        if status.cfs() && !fatal_allowed { Err(Error::Fatal { step }) } else { Ok(()) }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "splits the number")]
fn write_halves(register: &[Register<u32, ReadWrite>; 2], value: u64) {
    register[0].write(value as u32);
    register[1].write((value >> 32) as u32);
}
