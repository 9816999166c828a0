//! Progress on the terminal: one line per step, rewritten in place while the step runs.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// One step of work that the user is waiting for.
#[derive(Debug)]
pub struct Step {
    name: String,
    started: Instant,
    live: bool,
    last: Instant,
    open: bool,
}

impl Step {
    /// Announces a step.
    pub fn begin(name: impl Into<String>) -> Self {
        let name = name.into();
        let live = std::io::stderr().is_terminal();
        if live {
            eprint!("\r\x1b[K  … {name}");
            let _ = std::io::stderr().flush();
        } else {
            eprintln!("  … {name}");
        }
        let now = Instant::now();
        Self { name, started: now, live, last: now, open: true }
    }

    /// Shows how far the step has come; only on a terminal, and only some times a second.
    pub fn tick(&mut self, detail: &str) {
        if self.live && self.last.elapsed() > Duration::from_millis(80) {
            self.last = Instant::now();
            let detail: String = detail.chars().take(60).collect();
            eprint!("\r\x1b[K  … {}: {detail}", self.name);
            let _ = std::io::stderr().flush();
        }
    }

    /// Ends the step well, with a word about its result.
    pub fn done(mut self, result: &str) {
        self.open = false;
        let clear = if self.live { "\r\x1b[K" } else { "" };
        let seconds = self.started.elapsed().as_secs_f64();
        eprintln!("{clear}  ✓ {}: {result} ({seconds:.1} s)", self.name);
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if self.open && self.live {
            eprintln!("\r\x1b[K  ✗ {}", self.name);
        }
    }
}
