//! The checks. Their names are those that xtask's plans expect.

pub(crate) mod boot;
pub(crate) mod calls;
pub(crate) mod clients;
pub(crate) mod errors;
pub(crate) mod kills;
pub(crate) mod leaks;
pub(crate) mod nodes;
pub(crate) mod power;
pub(crate) mod raw;

use std::fmt::Debug;
use std::io;

use anyhow::{Result, bail};

/// Bytes of a long transfer.
const CHUNK: usize = 1 << 20;

/// Fails unless something failed with this number.
fn refused<T>(what: &str, result: io::Result<T>, errno: i32) -> Result<()> {
    match result {
        Err(error) if error.raw_os_error() == Some(errno) => Ok(()),
        Err(error) => bail!("{what}: {error} instead of {}", io::Error::from_raw_os_error(errno)),
        Ok(_) => bail!("{what}: no error instead of {}", io::Error::from_raw_os_error(errno)),
    }
}

/// Fails unless two values are equal.
#[allow(clippy::needless_pass_by_value, reason = "mostly numbers")]
fn same<T: PartialEq + Debug>(what: &str, found: T, expected: T) -> Result<()> {
    if found != expected {
        bail!("{what}: {found:?} instead of {expected:?}");
    }
    Ok(())
}
