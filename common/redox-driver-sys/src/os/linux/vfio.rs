//! VFIO.

use std::sync::Arc;

use crate::{
    error::{Error, Result},
    pci::{FunctionBackend, PciAddress},
};

pub(crate) fn open_function(address: PciAddress) -> Result<Arc<dyn FunctionBackend>> {
    Err(Error::Unsupported(format!("{address}: VFIO")))
}
