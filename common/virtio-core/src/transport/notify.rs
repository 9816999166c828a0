//! Notifications to the device (sections 4.1.4.4 and 4.1.5.2).

use redox_driver_sys::{
    Result,
    mmio::{Mmio, Register, WriteOnly},
};
use virtio_spec::pci::NotificationData;

/// Where a queue's notifications go, and what they say.
#[derive(Debug)]
pub(crate) struct Notifier {
    queue: u16,
    register: Kind,
}

#[derive(Debug)]
enum Kind {
    /// The queue's number.
    Plain(Register<u16, WriteOnly>),
    /// With NOTIFICATION_DATA: how far the driver has come, too.
    Data(Register<NotificationData, WriteOnly>),
}

impl Notifier {
    pub(super) fn new(region: &Mmio, offset: u64, queue: u16, data: bool) -> Result<Self> {
        let register =
            if data { Kind::Data(region.register(offset)?) } else { Kind::Plain(region.register(offset)?) };
        Ok(Notifier { queue, register })
    }

    /// Tells the device that there is something; `next` is what NOTIFICATION_DATA says beside the queue.
    #[inline]
    pub(crate) fn notify(&self, next: u16) {
        match &self.register {
            Kind::Plain(register) => register.write(self.queue),
            Kind::Data(register) => {
                register.write(NotificationData::new().with_queue(self.queue).with_next(next));
            }
        }
    }
}
