//! Commands that check the project on the developer's machine, without a guest.

pub mod ci;
pub mod redox;
pub mod test;
