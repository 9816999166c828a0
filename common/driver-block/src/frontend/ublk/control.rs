//! The control commands of ublk, each with its deadline and with an error that says which it was.

use std::{io, time::Duration};

use rustix::io::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{
    error::{DeviceNumber, UblkError},
    sys::{CONTROL_PATH, ControlRing},
    uapi::{self, ControlCommand, DeviceInfo, Parameters},
};

/// For commands that the kernel answers out of its own knowledge.
const PROMPT: Duration = Duration::from_secs(10);
/// Showing a disk reads its partition table through our queues, where a command may time out, be aborted and be tried
/// again.
const START: Duration = Duration::from_secs(120);
/// Taking a disk away writes back what its users had not written yet.
const STOP: Duration = Duration::from_secs(120);
/// How long a process that was killed may need until the kernel has let go of everything it held.
const RECOVERY: Duration = Duration::from_secs(60);
const RECOVERY_INTERVAL: Duration = Duration::from_millis(50);

/// The channel to the kernel's ublk driver.
pub(super) struct Control {
    ring: ControlRing,
    features: u64,
}

impl Control {
    /// Opens the channel and makes sure that the driver has what the front end stands on.
    pub(super) fn open() -> Result<Self, UblkError> {
        let ring =
            ControlRing::open().map_err(|source| UblkError::NoDriver { path: CONTROL_PATH, source })?;
        let mut control = Control { ring, features: 0 };
        let features = control.command("asking for features", uapi::GET_FEATURES, of(0), 0u64, PROMPT)?;
        control.features = features;
        for (bit, missing) in [
            (uapi::F_CMD_IOCTL_ENCODE, "ioctl-encoded commands"),
            (uapi::F_USER_RECOVERY, "user recovery"),
            (uapi::F_USER_RECOVERY_REISSUE, "user recovery with reissue"),
        ] {
            if features & bit == 0 {
                return Err(UblkError::OldDriver { missing, features });
            }
        }
        Ok(control)
    }

    fn command<T: FromBytes + IntoBytes + Immutable>(
        &mut self,
        step: &'static str,
        operation: u32,
        command: ControlCommand,
        data: T,
        timeout: Duration,
    ) -> Result<T, UblkError> {
        let number = (command.device != uapi::ANY_DEVICE).then_some(command.device);
        let device = DeviceNumber(number);
        match self.ring.execute(operation, command, data, timeout) {
            Ok((_, data)) => Ok(data),
            Err(error) if is(&error, Errno::TIME) => Err(UblkError::Timeout { device, step, after: timeout }),
            Err(source) => Err(UblkError::Step { device, step, source }),
        }
    }

    /// Whether the kernel can change the size of a disk while it is in use.
    pub(super) fn can_resize(&self) -> bool {
        self.features & uapi::F_UPDATE_SIZE != 0
    }

    /// Makes a device; `info` says how, the answer what came of it.
    pub(super) fn add(&mut self, info: DeviceInfo) -> Result<DeviceInfo, UblkError> {
        self.command("adding it", uapi::ADD_DEV, of(info.device), info, PROMPT)
    }

    /// What the kernel knows of a device; `None` if there is no such device.
    pub(super) fn info(&mut self, device: u32) -> Result<Option<DeviceInfo>, UblkError> {
        let info = DeviceInfo::default();
        match self.command("reading its state", uapi::GET_DEV_INFO, of(device), info, PROMPT) {
            Ok(info) => Ok(Some(info)),
            Err(UblkError::Step { source, .. })
                if is(&source, Errno::NODEV) || is(&source, Errno::NOENT) || is(&source, Errno::INVAL) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn set_parameters(&mut self, device: u32, set: Parameters) -> Result<(), UblkError> {
        self.command("setting its parameters", uapi::SET_PARAMS, of(device), set, PROMPT).map(drop)
    }

    pub(super) fn parameters(&mut self, device: u32) -> Result<Parameters, UblkError> {
        let length = u32::try_from(size_of::<Parameters>()).unwrap_or(u32::MAX);
        let asked = Parameters { length, ..Parameters::default() };
        self.command("reading its parameters", uapi::GET_PARAMS, of(device), asked, PROMPT)
    }

    /// Gives a disk that is shown another size, in sectors.
    pub(super) fn resize(&mut self, device: u32, sectors: u64) -> Result<(), UblkError> {
        let command = ControlCommand { data: sectors, ..of(device) };
        self.command("changing its size", uapi::UPDATE_SIZE, command, (), PROMPT)
    }

    /// Shows the disk. Every queue must be served meanwhile.
    pub(super) fn start(&mut self, device: u32) -> Result<(), UblkError> {
        self.command("starting it", uapi::START_DEV, by_us(device), (), START)
    }

    /// Takes the disk away. Every queue must be served meanwhile.
    pub(super) fn stop(&mut self, device: u32) -> Result<(), UblkError> {
        self.command("stopping it", uapi::STOP_DEV, of(device), (), STOP)
    }

    /// Removes the device as soon as nobody holds it.
    pub(super) fn delete(&mut self, device: u32) -> Result<(), UblkError> {
        self.command("removing it", uapi::DEL_DEV_ASYNC, of(device), (), PROMPT)
    }

    /// Begins to take over a device, once the process that served it is wholly gone.
    pub(super) fn start_recovery(&mut self, device: u32) -> Result<(), UblkError> {
        const STEP: &str = "waiting for the previous server's end";
        let end = std::time::Instant::now() + RECOVERY;
        loop {
            let late = std::time::Instant::now() >= end;
            match self.command(STEP, uapi::START_USER_RECOVERY, of(device), (), PROMPT) {
                Err(UblkError::Step { source, .. }) if is(&source, Errno::BUSY) => {
                    if late {
                        let device = DeviceNumber(Some(device));
                        return Err(UblkError::Timeout { device, step: STEP, after: RECOVERY });
                    }
                }
                other => return other,
            }
            std::thread::sleep(RECOVERY_INTERVAL);
        }
    }

    /// Lets the requests through that waited for a server. Every queue must have fetched.
    pub(super) fn end_recovery(&mut self, device: u32) -> Result<(), UblkError> {
        self.command("ending its recovery", uapi::END_USER_RECOVERY, by_us(device), (), START)
    }
}

/// A command about `device`.
fn of(device: u32) -> ControlCommand {
    ControlCommand { device, queue: uapi::NO_QUEUE, ..ControlCommand::default() }
}

/// A command that names this process as the server.
fn by_us(device: u32) -> ControlCommand {
    ControlCommand { data: std::process::id().into(), ..of(device) }
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}
