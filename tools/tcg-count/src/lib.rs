//! A QEMU plugin that counts what a guest does between two marks.
//!
//! A mark is an eight-byte NOP whose displacement carries an identifier (module `mark`). Between a begin mark
//! and the end mark of the same label the plugin counts executed guest instructions, kernel and user apart,
//! and on request memory-mapped I/O accesses; each window becomes one line of JSON.

mod args;
mod mark;
mod window;

// The test harness is an ordinary program: QEMU's symbols exist only inside QEMU.
#[cfg(not(test))]
mod api;
#[cfg(not(test))]
mod plugin;
