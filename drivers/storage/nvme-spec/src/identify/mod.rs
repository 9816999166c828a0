//! Data structures of the Identify command (section 5.15).

mod controller;
mod list;
mod namespace;

pub use controller::{
    IdentifyController, OptionalAdminCommands, OptionalNvmCommands, QueueEntrySize, SglSupport, WriteCache,
};
pub use list::{IdentifierType, NamespaceIdentifier, NamespaceIdentifiers, NamespaceList};
pub use namespace::{Deallocation, FormattedLba, IdentifyNamespace, LbaFormat, NamespaceFeatures};

use redox_driver_sys::{codes, display_code};

codes! {
    /// CNS: which data structure Identify returns (section 5.15.1, figure "Identify – CNS Values").
    pub struct Cns: u8 {
        NAMESPACE = 0x00, "Identify Namespace";
        CONTROLLER = 0x01, "Identify Controller";
        ACTIVE_NAMESPACES = 0x02, "Active Namespace ID list";
        NAMESPACE_IDENTIFIERS = 0x03, "Namespace Identification Descriptor list";
        ALLOCATED_NAMESPACES = 0x10, "Allocated Namespace ID list";
        ALLOCATED_NAMESPACE = 0x11, "Identify Namespace of an allocated namespace";
        ATTACHED_CONTROLLERS = 0x12, "Controller list of a namespace";
        CONTROLLERS = 0x13, "Controller list";
    }
}

display_code!(Cns);
