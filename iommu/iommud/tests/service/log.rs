//! What the thread of a test has logged about units.

use std::{cell::RefCell, sync::Once};

use ::log::{LevelFilter, Log, Metadata, Record};

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Lines;

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &Record<'_>) {
        let line = record.args().to_string();
        if line.starts_with("unit ") {
            LINES.with_borrow_mut(|lines| lines.push(line));
        }
    }
    fn flush(&self) {}
}

/// Keeps what is logged from now on.
pub(crate) fn start() {
    static START: Once = Once::new();
    START.call_once(|| {
        ::log::set_logger(&Lines).unwrap();
        ::log::set_max_level(LevelFilter::Info);
    });
    take();
}

/// What was logged since, and forgets it.
pub(crate) fn take() -> Vec<String> {
    LINES.with_borrow_mut(std::mem::take)
}
