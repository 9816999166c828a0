//! The framework that the network daemons share.
//!
//! A driver implements [`NetDevice`] and [`QueuePair`]; everything between them and the clients is here.

#![forbid(unsafe_code)]

mod address;
mod device;
mod error;
mod packet;
mod queue;
mod settings;

pub use address::MacAddress;
pub use device::{Capabilities, NetDevice, NetEvent, PseudoHeader, Statistics};
pub use error::NetError;
pub use packet::{
    Checksum, Coalesced, IpVersion, MAX_FRAGMENTS, Packet, Received, RxChecksum, RxFragment, RxMetadata,
    Segmentation, TxOffload, TxPacket,
};
pub use queue::{QueuePair, SubmitError};
pub use settings::{Duplex, Features, Filter, FlowControl, Link, Settings, Shape, WakeOn};
