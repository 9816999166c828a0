//! What can go wrong with a unit.

use amd_vi_spec::DeviceId;

/// The result of an operation on a unit.
pub type Result<T, E = UnitError> = std::result::Result<T, E>;

/// An operation on a unit failed. The text names the step and the value; the daemon adds the unit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnitError {
    /// The machine, not the unit's tables.
    #[error("{step}")]
    Machine {
        /// What was attempted.
        step: &'static str,
        /// Why it failed.
        #[source]
        source: redox_driver_sys::Error,
    },
    /// The unit no longer carries out commands, and could not be made to. What it remembers of tables is unknown: no memory
    /// that a device could reach may be used for anything else.
    #[error("{step}: the unit has failed")]
    Failed {
        /// What was attempted.
        step: &'static str,
    },
    /// The machine is about to sleep, or has not resumed the unit yet.
    #[error("the unit is suspended")]
    Suspended,
    /// The unit stopped, since it found a command illegal or could not read it.
    #[error("the unit stopped at the command at offset {offset:#x}")]
    Stopped {
        /// Where in the command buffer.
        offset: u64,
    },
    /// No request of the device comes through the unit.
    #[error("{device} is not behind the unit")]
    NotBehind {
        /// The device.
        device: DeviceId,
    },
    /// A page table has more or fewer levels than the unit can walk.
    #[error("page table of {levels} levels, of 1 to {most}")]
    Levels {
        /// What was asked for.
        levels: u8,
        /// What there is.
        most: u8,
    },
    /// An interrupt cannot be remapped as was asked.
    #[error("interrupt {index} of {device}: {reason}")]
    Interrupt {
        /// Whose.
        device: DeviceId,
        /// Which.
        index: u16,
        /// Why not.
        reason: &'static str,
    },
    /// The unit has values that the driver cannot work with.
    #[error("{what} is {value:#x}")]
    Value {
        /// Of what.
        what: &'static str,
        /// The value.
        value: u64,
    },
}

impl UnitError {
    /// Wraps an error of the machine.
    pub(super) fn machine(step: &'static str) -> impl FnOnce(redox_driver_sys::Error) -> UnitError {
        move |source| UnitError::Machine { step, source }
    }

    /// Whether the unit itself disappeared.
    pub fn is_gone(&self) -> bool {
        matches!(self, UnitError::Machine { source, .. } if source.is_gone())
    }
}
