//! Between the process that clients talk to and the process that has the device.
//!
//! The *server* makes the scheme, holds what clients have open and what they asked for, and has no access to the device.
//! The *driver* has the device, and may die at any moment. Between them there are, for each hardware queue, a [`Lane`]:
//! two rings in memory that both have, one for pieces and one for their answers; a [`Pool`] of memory for data, which
//! the device reaches; a few pipes for waking each other; and [`control`] messages for what is rare.
//!
//! The server keeps a private record of each piece that it put into a lane until it has taken the answer out. So
//! whatever a dying driver leaves half done, the record says what has to be done again, and lanes are made anew for each
//! driver: nothing that the dead one still did can be mistaken for an answer of the living one. Data stay where they
//! are in the pool.

pub(super) mod carrier;
pub(super) mod control;
pub(super) mod driver;
pub(super) mod driving;
mod entry;
mod lane;
mod pool;
#[cfg(test)]
mod tests;

use lane::{DriverEnds, LANE_DEPTH, Lane};
pub(super) use lane::{ServerEnds, ends};
use pool::Pool;
pub(super) use pool::Range;
