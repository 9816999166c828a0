//! Asynchronous events (section 5.2).

use std::collections::VecDeque;

use nvme_spec::{AsyncEvent, EventType, LogPage};

/// Distinct events are few; a bound all the same.
const MOST_QUEUED: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Events {
    /// Command identifiers of the requests that wait for an event.
    requests: VecDeque<u16>,
    queued: VecDeque<AsyncEvent>,
    /// Types that were reported and whose log was not read since, one bit each.
    masked: u8,
}

impl Events {
    /// Takes a request, if there is room for one more of `limit` (less one).
    pub(crate) fn request(&mut self, cid: u16, limit: u8) -> bool {
        let room = self.requests.len() <= usize::from(limit);
        if room {
            self.requests.push_back(cid);
        }
        room
    }

    /// Takes a request back.
    pub(crate) fn withdraw(&mut self, cid: u16) -> bool {
        let before = self.requests.len();
        self.requests.retain(|&request| request != cid);
        self.requests.len() < before
    }

    /// Something happened.
    pub(crate) fn happen(&mut self, kind: EventType, info: u8, log_page: LogPage) {
        let event = AsyncEvent::new().with_event_type(kind.0).with_info(info).with_log_page(log_page.0);
        if !self.queued.contains(&event) && self.queued.len() < MOST_QUEUED {
            self.queued.push_back(event);
        }
    }

    /// The log page of some events was read: they may be reported again, and what happened before is known.
    pub(crate) fn log_read(&mut self, page: LogPage) {
        let types = self.types_of(page);
        self.masked &= !types;
        self.queued.retain(|event| event.log_page() != page.0);
    }

    fn types_of(&self, page: LogPage) -> u8 {
        match page {
            LogPage::ERROR_INFORMATION => 1 << EventType::ERROR.0,
            LogPage::SMART => 1 << EventType::SMART.0,
            LogPage::FIRMWARE_SLOT | LogPage::CHANGED_NAMESPACE_LIST => 1 << EventType::NOTICE.0,
            _ => 0,
        }
    }

    /// A request and the event that completes it.
    pub(crate) fn deliver(&mut self) -> Option<(u16, AsyncEvent)> {
        let masked = self.masked;
        let at = self.queued.iter().position(|event| masked & 1 << event.event_type() == 0)?;
        let cid = self.requests.pop_front()?;
        let event = self.queued.remove(at)?;
        self.masked |= 1 << event.event_type();
        Some((cid, event))
    }

    /// Whether [`Self::deliver`] would do something.
    pub(crate) fn is_due(&self) -> bool {
        !self.requests.is_empty()
            && self.queued.iter().any(|event| self.masked & 1 << event.event_type() == 0)
    }
}
