//! Status of a completed command.

use std::fmt;

use redox_driver_sys::{codes, display_code};

codes! {
    /// SCT: status code type (section 4.6.1.1).
    pub struct StatusCodeType: u8 {
        GENERIC = 0, "generic";
        COMMAND_SPECIFIC = 1, "command specific";
        MEDIA = 2, "media and data integrity";
        PATH = 3, "path related";
        VENDOR = 7, "vendor specific";
    }
}

display_code!(StatusCodeType);

codes! {
    /// Status code type in the high byte, status code in the low one (section 4.6.1.2). Command specific codes below
    /// 0x80 are those of admin commands, the others those of the NVM command set.
    pub struct Status: u16 {
        SUCCESS = 0x000, "Successful Completion";
        INVALID_OPCODE = 0x001, "Invalid Command Opcode";
        INVALID_FIELD = 0x002, "Invalid Field in Command";
        COMMAND_ID_CONFLICT = 0x003, "Command ID Conflict";
        DATA_TRANSFER_ERROR = 0x004, "Data Transfer Error";
        POWER_LOSS_ABORT = 0x005, "Commands Aborted due to Power Loss Notification";
        INTERNAL_ERROR = 0x006, "Internal Error";
        ABORT_REQUESTED = 0x007, "Command Abort Requested";
        ABORTED_SQ_DELETION = 0x008, "Command Aborted due to SQ Deletion";
        ABORTED_FAILED_FUSED = 0x009, "Command Aborted due to Failed Fused Command";
        ABORTED_MISSING_FUSED = 0x00a, "Command Aborted due to Missing Fused Command";
        INVALID_NAMESPACE = 0x00b, "Invalid Namespace or Format";
        SEQUENCE_ERROR = 0x00c, "Command Sequence Error";
        INVALID_SGL_SEGMENT = 0x00d, "Invalid SGL Segment Descriptor";
        INVALID_SGL_COUNT = 0x00e, "Invalid Number of SGL Descriptors";
        DATA_SGL_LENGTH = 0x00f, "Data SGL Length Invalid";
        METADATA_SGL_LENGTH = 0x010, "Metadata SGL Length Invalid";
        INVALID_SGL_TYPE = 0x011, "SGL Descriptor Type Invalid";
        INVALID_CMB_USE = 0x012, "Invalid Use of Controller Memory Buffer";
        INVALID_PRP_OFFSET = 0x013, "PRP Offset Invalid";
        ATOMIC_WRITE_UNIT_EXCEEDED = 0x014, "Atomic Write Unit Exceeded";
        OPERATION_DENIED = 0x015, "Operation Denied";
        INVALID_SGL_OFFSET = 0x016, "SGL Offset Invalid";
        HOST_ID_FORMAT = 0x018, "Host Identifier Inconsistent Format";
        PREEMPT_ABORT = 0x01b, "Command Aborted due to Preempt and Abort";
        SANITIZE_FAILED = 0x01c, "Sanitize Failed";
        SANITIZE_IN_PROGRESS = 0x01d, "Sanitize In Progress";
        SGL_DATA_BLOCK_GRANULARITY = 0x01e, "SGL Data Block Granularity Invalid";
        NAMESPACE_WRITE_PROTECTED = 0x020, "Namespace is Write Protected";
        COMMAND_INTERRUPTED = 0x021, "Command Interrupted";
        TRANSIENT_TRANSPORT_ERROR = 0x022, "Transient Transport Error";
        LBA_OUT_OF_RANGE = 0x080, "LBA Out of Range";
        CAPACITY_EXCEEDED = 0x081, "Capacity Exceeded";
        NAMESPACE_NOT_READY = 0x082, "Namespace Not Ready";
        RESERVATION_CONFLICT = 0x083, "Reservation Conflict";
        FORMAT_IN_PROGRESS = 0x084, "Format In Progress";

        INVALID_CQ = 0x100, "Completion Queue Invalid";
        INVALID_QUEUE_ID = 0x101, "Invalid Queue Identifier";
        INVALID_QUEUE_SIZE = 0x102, "Invalid Queue Size";
        ABORT_LIMIT_EXCEEDED = 0x103, "Abort Command Limit Exceeded";
        AER_LIMIT_EXCEEDED = 0x105, "Asynchronous Event Request Limit Exceeded";
        INVALID_FIRMWARE_SLOT = 0x106, "Invalid Firmware Slot";
        INVALID_FIRMWARE_IMAGE = 0x107, "Invalid Firmware Image";
        INVALID_INTERRUPT_VECTOR = 0x108, "Invalid Interrupt Vector";
        INVALID_LOG_PAGE = 0x109, "Invalid Log Page";
        INVALID_FORMAT = 0x10a, "Invalid Format";
        FIRMWARE_NEEDS_RESET = 0x10b, "Firmware Activation Requires Conventional Reset";
        INVALID_QUEUE_DELETION = 0x10c, "Invalid Queue Deletion";
        FEATURE_NOT_SAVEABLE = 0x10d, "Feature Identifier Not Saveable";
        FEATURE_NOT_CHANGEABLE = 0x10e, "Feature Not Changeable";
        FEATURE_NOT_NAMESPACE_SPECIFIC = 0x10f, "Feature Not Namespace Specific";
        NAMESPACE_ALREADY_ATTACHED = 0x118, "Namespace Already Attached";
        NAMESPACE_IS_PRIVATE = 0x119, "Namespace Is Private";
        NAMESPACE_NOT_ATTACHED = 0x11a, "Namespace Not Attached";
        CONFLICTING_ATTRIBUTES = 0x180, "Conflicting Attributes";
        INVALID_PROTECTION_INFORMATION = 0x181, "Invalid Protection Information";
        WRITE_TO_READ_ONLY = 0x182, "Attempted Write to Read Only Range";

        WRITE_FAULT = 0x280, "Write Fault";
        UNRECOVERED_READ_ERROR = 0x281, "Unrecovered Read Error";
        GUARD_CHECK = 0x282, "End-to-end Guard Check Error";
        APPLICATION_TAG_CHECK = 0x283, "End-to-end Application Tag Check Error";
        REFERENCE_TAG_CHECK = 0x284, "End-to-end Reference Tag Check Error";
        COMPARE_FAILURE = 0x285, "Compare Failure";
        ACCESS_DENIED = 0x286, "Access Denied";
        DEALLOCATED_BLOCK = 0x287, "Deallocated or Unwritten Logical Block";

        PATH_INTERNAL_ERROR = 0x300, "Internal Path Error";
        ANA_PERSISTENT_LOSS = 0x301, "Asymmetric Access Persistent Loss";
        ANA_INACCESSIBLE = 0x302, "Asymmetric Access Inaccessible";
        ANA_TRANSITION = 0x303, "Asymmetric Access Transition";
        CONTROLLER_PATHING_ERROR = 0x360, "Controller Pathing Error";
        HOST_PATHING_ERROR = 0x370, "Host Pathing Error";
        ABORTED_BY_HOST = 0x371, "Command Aborted By Host";
    }
}

impl Status {
    /// The status of type `sct` (three bits) and code `sc`.
    #[allow(clippy::cast_lossless, reason = "a const function")]
    pub const fn of(sct: u8, sc: u8) -> Self {
        Status((sct as u16 & 7) << 8 | sc as u16)
    }

    /// SCT.
    #[allow(clippy::cast_possible_truncation, reason = "masked")]
    pub const fn code_type(self) -> StatusCodeType {
        StatusCodeType((self.0 >> 8 & 7) as u8)
    }

    /// SC.
    #[allow(clippy::cast_possible_truncation, reason = "masked")]
    pub const fn code(self) -> u8 {
        (self.0 & 0xff) as u8
    }

    /// Whether the command did what it should.
    pub const fn is_success(self) -> bool {
        self.0 == Status::SUCCESS.0
    }
}

/// "Invalid Field in Command (0x02)"; types other than generic are named: "command specific: Invalid Queue Size (0x02)".
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.code_type() != StatusCodeType::GENERIC {
            match self.code_type().name() {
                Some(name) => write!(f, "{name}: ")?,
                None => write!(f, "status code type {}: ", self.code_type().0)?,
            }
        }
        write!(f, "{} ({:#04x})", self.name().unwrap_or("unknown status"), self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_decoded_for_people() {
        assert_eq!(Status::INVALID_FIELD.to_string(), "Invalid Field in Command (0x02)");
        assert_eq!(Status::INVALID_QUEUE_SIZE.to_string(), "command specific: Invalid Queue Size (0x02)");
        assert_eq!(Status::of(2, 0x81), Status::UNRECOVERED_READ_ERROR);
        assert_eq!(Status::of(5, 0x77).to_string(), "status code type 5: unknown status (0x77)");
        assert_eq!(Status::of(0, 0x79).to_string(), "unknown status (0x79)");
    }

    #[test]
    fn type_and_code_are_what_was_put_together() {
        for sct in 0..8 {
            for sc in 0..=u8::MAX {
                let status = Status::of(sct, sc);
                assert_eq!((status.code_type().0, status.code()), (sct, sc));
            }
        }
    }
}
