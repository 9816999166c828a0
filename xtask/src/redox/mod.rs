//! `cargo xtask redox`: our daemons on a Redox that the user built.

pub mod initfs;
