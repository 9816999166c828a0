//! The threads' handshake under every interleaving: `RUSTFLAGS="--cfg loom" cargo test -p driver-block --lib
//! interleavings`. The real supervisor and workers run; only descriptors, devices and time are replaced. A lost wake-up
//! shows as a deadlock, a doubled or missing answer as a failed assertion.
