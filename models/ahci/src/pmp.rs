//! A port multiplier (SATA, chapter 16).

use ahci_spec::{
    AtaCommand,
    pmp::{
        CONTROL_PORT, GSCR_ERROR, GSCR_ERROR_ENABLE, GSCR_FEATURES, GSCR_PORTS, GSCR_PRODUCT, GSCR_REVISION,
        PSCR_CONTROL, PSCR_ERROR, PSCR_STATUS,
    },
    registers::{PxSctl, PxSerr, PxSsts, SIG_PMP},
};

use crate::{
    command::{Command, Failure, Outcome},
    config::DeviceConfig,
    target::Target,
};

#[derive(Debug)]
pub(crate) struct Multiplier {
    ports: Vec<Port>,
    error_enable: u32,
}

#[derive(Debug)]
struct Port {
    target: Option<Target>,
    control: PxSctl,
    error: PxSerr,
}

impl Multiplier {
    pub(crate) fn new(ports: Vec<Option<DeviceConfig>>) -> Self {
        let ports = ports.into_iter().take(15).map(|device| Port {
            target: device.map(Target::new),
            control: PxSctl::new(),
            error: PxSerr::new(),
        });
        Multiplier { ports: ports.collect(), error_enable: 0 }
    }

    /// The device at a port, whatever its link does.
    pub(crate) fn at(&mut self, pm_port: u8) -> Option<&mut Target> {
        self.ports.get_mut(usize::from(pm_port))?.target.as_mut()
    }

    /// The device at a port, if its link is up.
    pub(crate) fn behind(&mut self, pm_port: u8) -> Option<&mut Target> {
        let port = self.ports.get_mut(usize::from(pm_port))?;
        if port.control.det() == 0 { port.target.as_mut() } else { None }
    }

    pub(crate) fn signature(&self, pm_port: u8) -> Option<u32> {
        if pm_port == CONTROL_PORT {
            return Some(SIG_PMP);
        }
        self.ports.get(usize::from(pm_port))?.target.as_ref()?.signature(0)
    }

    pub(crate) fn reset(&mut self) {
        for port in &mut self.ports {
            if let Some(target) = &mut port.target {
                target.reset();
            }
        }
    }

    /// Plugs a device into a port, or pulls it out. Returns whether there is such a port.
    pub(crate) fn plug(&mut self, pm_port: u8, device: Option<DeviceConfig>) -> bool {
        let Some(port) = self.ports.get_mut(usize::from(pm_port)) else { return false };
        port.target = device.map(Target::new);
        port.error = port.error.with_diag_x(true).with_diag_n(true);
        true
    }

    pub(crate) fn execute(&mut self, command: &Command) -> Result<Outcome, Failure> {
        let fis = &command.fis;
        let port = fis.device & 0xf;
        let [a, b, c] = fis.lba_low;
        let value = u32::from_le_bytes([fis.count.to_le_bytes()[0], a, b, c]);
        match command.code() {
            AtaCommand::READ_PORT_MULTIPLIER => {
                let value = self.read(port, fis.feature()).ok_or(Failure::ABORT)?;
                let [count, a, b, c] = value.to_le_bytes();
                Ok(Outcome::Registers {
                    count: count.into(),
                    lba: u64::from(u32::from_le_bytes([a, b, c, 0])),
                })
            }
            AtaCommand::WRITE_PORT_MULTIPLIER => {
                self.write(port, fis.feature(), value).ok_or(Failure::ABORT)?;
                Ok(Outcome::Done)
            }
            _ => Err(Failure::ABORT),
        }
    }

    fn read(&self, port: u8, register: u16) -> Option<u32> {
        if port == CONTROL_PORT {
            return Some(match register {
                GSCR_PRODUCT => 0x3726_1095,
                GSCR_REVISION => 0x0000_170e,
                GSCR_PORTS => u32::try_from(self.ports.len()).unwrap_or(0),
                GSCR_ERROR => (0..).zip(&self.ports).fold(0, |bits, (at, port)| {
                    bits | u32::from(u32::from(port.error) & self.error_enable != 0) << at
                }),
                GSCR_ERROR_ENABLE => self.error_enable,
                GSCR_FEATURES => 0,
                _ => return None,
            });
        }
        let port = self.ports.get(usize::from(port))?;
        Some(match register {
            PSCR_STATUS => match &port.target {
                Some(target) if port.control.det() == 0 => {
                    PxSsts::new().with_det(3).with_spd(target.speed()).with_ipm(1).into()
                }
                Some(_) => PxSsts::new().with_det(1).into(),
                None => 0,
            },
            PSCR_ERROR => port.error.into(),
            PSCR_CONTROL => port.control.into(),
            _ => return None,
        })
    }

    fn write(&mut self, port: u8, register: u16, value: u32) -> Option<()> {
        if port == CONTROL_PORT {
            if register == GSCR_ERROR_ENABLE {
                self.error_enable = value;
            }
            return Some(());
        }
        let port = self.ports.get_mut(usize::from(port))?;
        match register {
            PSCR_ERROR => port.error = PxSerr::from(u32::from(port.error) & !value),
            PSCR_CONTROL => {
                let control = PxSctl::from(value);
                if control.det() == 0
                    && port.control.det() != 0
                    && let Some(target) = &mut port.target
                {
                    target.reset();
                    port.error = port.error.with_diag_x(true);
                }
                port.control = control;
            }
            _ => return None,
        }
        Some(())
    }
}
