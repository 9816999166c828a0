//! Operating systems without a front end: Redox, until it has one for its disk scheme.

use common::daemon::Readiness;

use super::{DaemonError, Service};
use crate::device::Controller;

impl Service {
    /// Shuts the controller down again: nobody could use it. `readiness` is dropped, which tells the supervisor.
    ///
    /// # Errors
    /// Always [`DaemonError::NoFrontend`].
    pub fn run<C: Controller>(&self, mut controller: C, readiness: Readiness) -> Result<(), DaemonError> {
        drop(readiness);
        let queues = controller.take_queues();
        if let Err(error) = controller.shutdown(queues) {
            log::warn!("{}: {error}", self.address);
        }
        Err(DaemonError::NoFrontend)
    }
}
