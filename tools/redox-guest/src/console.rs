//! The host's ear: marked lines on the serial console, which xtask's rig takes out of the rest.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::process::exit;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What the rig looks for in a line.
const MARK: &str = "@rig ";
/// The kernel's console writes pieces of this length whole.
const LONGEST: usize = 480;
/// How often the watchdog looks.
const GLANCE: Duration = Duration::from_millis(500);

/// The console, and what is being checked.
#[derive(Debug)]
pub struct Console {
    upstream: bool,
    out: Mutex<Option<File>>,
    running: Mutex<Option<(String, Instant)>>,
}

impl Console {
    /// Opens Redox's console, or standard output where there is none, and says that the program has begun. With
    /// `upstream` the driver is not ours.
    #[must_use]
    pub fn open(upstream: bool) -> Self {
        let out = OpenOptions::new().write(true).open("/scheme/debug").ok();
        let console = Self { upstream, out: Mutex::new(out), running: Mutex::new(None) };
        console.say("READY");
        console
    }

    /// Ends the program when one check takes longer than `limit`: something in it never comes back. Needs a thread.
    pub fn watch(&self, limit: Duration) {
        loop {
            std::thread::sleep(GLANCE);
            let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some((name, _)) = running.filter(|(_, began)| began.elapsed() > limit) {
                self.say(&format!("CHECK {name}: FAIL not done after {} s", limit.as_secs()));
                self.end(1);
            }
        }
    }

    /// Runs a check and tells how it went; whether it held.
    pub fn check(&self, name: &str, action: impl FnOnce() -> anyhow::Result<String>) -> bool {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((name.to_owned(), Instant::now()));
        let result = action();
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = None;
        match &result {
            Ok(detail) => self.say(&format!("CHECK {name}: PASS {detail}")),
            Err(error) => self.say(&format!("CHECK {name}: FAIL {error:#}")),
        }
        result.is_ok()
    }

    /// Likewise, of something that only our driver has: left out where the driver is upstream's.
    pub fn own(&self, name: &str, action: impl FnOnce() -> anyhow::Result<String>) -> bool {
        self.upstream || self.check(name, action)
    }

    /// A remark.
    pub fn note(&self, text: &str) {
        self.say(&format!("NOTE {text}"));
    }

    /// A figure.
    pub fn metric(&self, name: &str, value: f64, unit: &str) {
        self.say(&format!("METRIC {name} {value} {unit}"));
    }

    /// Tells the host that all is done, whereupon it cuts the power.
    pub fn end(&self, status: i32) -> ! {
        self.say(&format!("EXIT {status}"));
        if cfg!(target_os = "redox") {
            std::thread::sleep(Duration::from_secs(60));
        }
        exit(status)
    }

    fn say(&self, message: &str) {
        let mut line = format!("{MARK}{}", message.replace(['\n', '\r'], " "));
        let end = (0..=LONGEST).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
        if line.len() > end {
            line.truncate(end);
        }
        line.push('\n');
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let written = match &mut *out {
            Some(console) => console.write_all(line.as_bytes()),
            None => std::io::stdout().write_all(line.as_bytes()),
        };
        // Whom to tell? The host finds a check that was not reported.
        drop(written);
    }
}
