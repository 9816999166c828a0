//! The framework that the network daemons share.
//!
//! A driver implements [`NetDevice`] and [`QueuePair`]; everything between them and the clients is here.

#![forbid(unsafe_code)]

mod address;
pub mod args;
pub mod daemon;
mod device;
mod engine;
mod error;
pub mod frontend;
mod headers;
mod lane;
mod packet;
mod queue;
mod settings;
#[cfg(feature = "testing")]
pub mod testing;
pub mod vnet;

pub use address::MacAddress;
pub use device::{Capabilities, NetDevice, NetEvent, PseudoHeader, Statistics};
pub use engine::{Engine, EngineError, Event};
pub use error::NetError;
pub use headers::BadPacket;
pub use lane::{Frame, LaneStatistics, Port, Transmit};
pub use packet::{
    Checksum, Coalesced, IpVersion, MAX_FRAGMENTS, Packet, Received, RxChecksum, RxFragment, RxMetadata,
    Segmentation, TxOffload, TxPacket,
};
pub use queue::{QueuePair, SubmitError};
pub use settings::{Duplex, Features, Filter, FlowControl, Link, Settings, Shape, WakeOn};
