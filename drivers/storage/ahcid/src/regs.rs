//! The controller's registers (AHCI, chapter 3).

use std::time::Duration;

use ahci_spec::registers::{
    self as offset, Bohc, Cap, Cap2, CccCtl, Ghc, PxCmd, PxDevslp, PxFbs, PxIs, PxSctl, PxSerr, PxSsts,
    PxTfd, Vs,
};
use redox_driver_sys::{
    mmio::{Mmio, ReadOnly, ReadWrite, Register, WriteOnly},
    time::Clock,
};

use crate::error::{Error, Result};

/// How long an HBA reset may take (AHCI, section 10.4.3).
const RESET_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the BIOS may take to give the controller up, once it has said that it is busy (AHCI, section 10.6.3).
const BIOS_BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// How long it may take to say so.
const BIOS_TIMEOUT: Duration = Duration::from_millis(25);
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// The registers that ports have in common.
pub(crate) struct HbaRegisters {
    region: Mmio,
    clock: Clock,
    cap: Cap,
    cap2: Cap2,
    vs: Vs,
    ports: u32,
    ghc: Register<Ghc, ReadWrite>,
    ccc_ctl: Register<CccCtl, ReadWrite>,
    ccc_ports: Register<u32, WriteOnly>,
}

impl HbaRegisters {
    pub(crate) fn new(region: &Mmio, clock: Clock) -> Result<Self> {
        let build = || -> redox_driver_sys::Result<Self> {
            let cap: Register<Cap, ReadOnly> = region.register(offset::CAP)?;
            let cap2: Register<Cap2, ReadOnly> = region.register(offset::CAP2)?;
            let vs: Register<Vs, ReadOnly> = region.register(offset::VS)?;
            let ports: Register<u32, ReadOnly> = region.register(offset::PI)?;
            let ghc: Register<Ghc, ReadWrite> = region.register(offset::GHC)?;
            let cap = cap.read_present("CAP")?;
            let hba = HbaRegisters {
                cap,
                vs: vs.read_present("VS")?,
                cap2: cap2.read(),
                // Some firmware leaves it at 0: then it is as many as CAP.NP says, from 0 on.
                ports: ports.read(),
                ghc,
                ccc_ctl: region.register(offset::CCC_CTL)?,
                ccc_ports: region.register(offset::CCC_PORTS)?,
                clock,
                region: region.clone(),
            };
            hba.take_from_bios()?;
            Ok(hba)
        };
        build().map_err(Error::machine("map registers"))
    }

    pub(crate) fn cap(&self) -> Cap {
        self.cap
    }

    pub(crate) fn cap2(&self) -> Cap2 {
        self.cap2
    }

    pub(crate) fn version(&self) -> Vs {
        self.vs
    }

    /// The ports that are implemented, a bit each, as far as their registers lie in the BAR.
    pub(crate) fn ports(&self) -> u32 {
        let count = u64::from(self.cap.np()) + 1;
        let said = if self.ports == 0 { (1u64 << count) - 1 } else { u64::from(self.ports) };
        let in_bar = self.region.len().saturating_sub(offset::PORTS) / offset::PORT_BYTES;
        let mask = if in_bar >= 32 { u64::MAX } else { (1 << in_bar) - 1 };
        u32::try_from(said & mask & 0xffff_ffff).unwrap_or(0)
    }

    /// Asks the BIOS for the controller (AHCI, section 10.6.3). One that does not answer in time has lost it.
    fn take_from_bios(&self) -> redox_driver_sys::Result<()> {
        if !self.cap2.boh() {
            return Ok(());
        }
        let bohc: Register<Bohc, ReadWrite> = self.region.register(offset::BOHC)?;
        if !bohc.read().bos() {
            bohc.modify(|value| value.with_oos(true));
            return Ok(());
        }
        bohc.modify(|value| value.with_oos(true));
        let given_up = |timeout| {
            self.clock.poll_until("BOHC.BOS = 0", timeout, POLL_INTERVAL, || {
                Ok((!bohc.read_present("BOHC")?.bos()).then_some(()))
            })
        };
        let mut outcome = given_up(BIOS_TIMEOUT);
        if outcome.is_err() && bohc.read().bb() {
            outcome = given_up(BIOS_BUSY_TIMEOUT);
        }
        match outcome {
            Err(error) if error.is_gone() => Err(error),
            Err(error) => {
                log::warn!("the BIOS does not give the controller up: {error}; taking it");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Resets the controller and all ports (AHCI, section 10.4.3). Afterwards it does no DMA and sends no interrupt.
    pub(crate) fn reset(&self) -> Result<()> {
        const STEP: &str = "reset the controller";
        let present = self.ghc.read_present("GHC").map_err(Error::machine(STEP))?;
        // HR only works in AHCI mode.
        self.ghc.write(present.with_ae(true).with_ie(false).with_hr(false));
        self.ghc.write(Ghc::new().with_ae(true).with_hr(true));
        self.clock
            .poll_until("GHC.HR = 0", RESET_TIMEOUT, POLL_INTERVAL, || {
                Ok((!self.ghc.read_present("GHC")?.hr()).then_some(()))
            })
            .map_err(Error::machine(STEP))?;
        self.ghc.write(Ghc::new().with_ae(true));
        Ok(())
    }

    /// Lets interrupts through, all by one vector, or not.
    pub(crate) fn set_interrupts(&self, on: bool) {
        self.ghc.write(Ghc::new().with_ae(true).with_ie(on).with_mrsm(self.ghc.read().mrsm()));
    }

    /// Gathers the completions of `ports` (AHCI, section 11.6). Returns the bit of IS that tells of them.
    pub(crate) fn coalesce(&self, ports: u32, completions: u8, delay_ms: u16) -> u32 {
        let control = CccCtl::new().with_cc(completions).with_tv(delay_ms.max(1));
        self.ccc_ctl.write(control);
        self.ccc_ports.write(ports);
        self.ccc_ctl.write(control.with_en(true));
        1 << self.ccc_ctl.read().int()
    }

    /// Whether the controller is still there.
    pub(crate) fn is_present(&self) -> bool {
        self.ghc.read_present("GHC").is_ok()
    }

    /// The register that tells which ports have something to say.
    pub(crate) fn interrupt_status(&self) -> Result<Register<u32, ReadWrite>> {
        self.region.register(offset::IS).map_err(Error::machine("map registers"))
    }

    pub(crate) fn port(&self, port: u8) -> Result<PortRegisters> {
        let region = self.region.subregion(offset::port(port), offset::PORT_BYTES);
        region.and_then(|region| PortRegisters::new(&region)).map_err(Error::machine("map registers"))
    }
}

/// The registers of a port.
pub(crate) struct PortRegisters {
    clb: [Register<u32, WriteOnly>; 2],
    fb: [Register<u32, WriteOnly>; 2],
    pub(crate) is: Register<PxIs, ReadWrite>,
    pub(crate) ie: Register<PxIs, WriteOnly>,
    pub(crate) cmd: Register<PxCmd, ReadWrite>,
    pub(crate) tfd: Register<PxTfd, ReadOnly>,
    pub(crate) sig: Register<u32, ReadOnly>,
    pub(crate) ssts: Register<PxSsts, ReadOnly>,
    pub(crate) sctl: Register<PxSctl, ReadWrite>,
    pub(crate) serr: Register<PxSerr, ReadWrite>,
    pub(crate) sact: Register<u32, ReadWrite>,
    pub(crate) ci: Register<u32, ReadWrite>,
    pub(crate) fbs: Register<PxFbs, ReadWrite>,
    pub(crate) devslp: Register<PxDevslp, ReadWrite>,
}

impl PortRegisters {
    fn new(region: &Mmio) -> redox_driver_sys::Result<Self> {
        let pair =
            |at: u64| Ok::<_, redox_driver_sys::Error>([region.register(at)?, region.register(at + 4)?]);
        Ok(PortRegisters {
            clb: pair(offset::PX_CLB)?,
            fb: pair(offset::PX_FB)?,
            is: region.register(offset::PX_IS)?,
            ie: region.register(offset::PX_IE)?,
            cmd: region.register(offset::PX_CMD)?,
            tfd: region.register(offset::PX_TFD)?,
            sig: region.register(offset::PX_SIG)?,
            ssts: region.register(offset::PX_SSTS)?,
            sctl: region.register(offset::PX_SCTL)?,
            serr: region.register(offset::PX_SERR)?,
            sact: region.register(offset::PX_SACT)?,
            ci: region.register(offset::PX_CI)?,
            fbs: region.register(offset::PX_FBS)?,
            devslp: region.register(offset::PX_DEVSLP)?,
        })
    }

    /// Tells the port where its command list and received FISes are; only while it uses neither.
    #[allow(clippy::cast_possible_truncation, reason = "splits the numbers")]
    pub(crate) fn set_addresses(&self, list: u64, fis: u64) {
        self.clb[0].write(list as u32);
        self.clb[1].write((list >> 32) as u32);
        self.fb[0].write(fis as u32);
        self.fb[1].write((fis >> 32) as u32);
    }

    /// Clears all errors and all that waits in IS. Returns the errors that there were.
    pub(crate) fn clear_errors(&self) -> PxSerr {
        let errors = self.serr.read();
        self.serr.write(u32::MAX.into());
        self.is.write(u32::MAX.into());
        errors
    }
}
