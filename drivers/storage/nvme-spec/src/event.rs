//! Asynchronous events.

use bitfield_struct::bitfield;

use redox_driver_sys::{codes, display_code};

/// Completion dword 0 of an Asynchronous Event Request (section 5.2.1).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct AsyncEvent {
    /// Event type, an [`EventType`].
    #[bits(3)]
    pub event_type: u8,
    #[bits(5)]
    __: u8,
    /// Event information; its meaning depends on the type.
    pub info: u8,
    /// Log page whose reading clears the event.
    pub log_page: u8,
    __: u8,
}

impl AsyncEvent {
    /// The type as a code with a name.
    pub const fn kind(self) -> EventType {
        EventType(self.event_type())
    }
}

codes! {
    /// Type of an asynchronous event (section 5.2.1).
    pub struct EventType: u8 {
        ERROR = 0, "error status";
        SMART = 1, "SMART / health status";
        NOTICE = 2, "notice";
        IO_COMMAND_SET = 6, "I/O command set specific status";
        VENDOR = 7, "vendor specific";
    }
}

codes! {
    /// Information of an event of type error status (section 5.2.1).
    pub struct ErrorEvent: u8 {
        INVALID_DOORBELL_REGISTER = 0, "write to an invalid doorbell register";
        INVALID_DOORBELL_VALUE = 1, "invalid doorbell write value";
        DIAGNOSTIC_FAILURE = 2, "diagnostic failure";
        PERSISTENT_INTERNAL_ERROR = 3, "persistent internal error";
        TRANSIENT_INTERNAL_ERROR = 4, "transient internal error";
        FIRMWARE_LOAD_ERROR = 5, "firmware image load error";
    }
}

codes! {
    /// Information of an event of type SMART / health status (section 5.2.1).
    pub struct SmartEvent: u8 {
        RELIABILITY = 0, "NVM subsystem reliability";
        TEMPERATURE = 1, "temperature threshold";
        SPARE = 2, "spare below threshold";
    }
}

codes! {
    /// Information of an event of type notice (section 5.2.1).
    pub struct NoticeEvent: u8 {
        NAMESPACE_CHANGED = 0, "namespace attribute changed";
        FIRMWARE_ACTIVATION = 1, "firmware activation starting";
        TELEMETRY_CHANGED = 2, "telemetry log changed";
        ANA_CHANGE = 3, "asymmetric namespace access change";
    }
}

display_code!(EventType, ErrorEvent, SmartEvent, NoticeEvent);
