//! What restarts leak.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use redox_guest::console::Console;
use redox_guest::system::Account;

use super::kills::under_load;
use crate::Subject;

/// Restarts before the first account: what is allocated once is there then.
const WARM_UP: usize = 5;
const RESTARTS: usize = 50;
/// Threads of a driver with two queues.
const THREADS: usize = 4;

pub(crate) fn run(console: &Console, subject: &Subject) -> bool {
    console.own("no vector, memory or descriptor leaks over 50 restarts", || restarts(console, subject))
}

fn restarts(console: &Console, subject: &Subject) -> Result<String> {
    let system = pages_of_processes(subject)?;
    under_load(console, subject, WARM_UP)?;
    let first = Account::take(&subject.driver)?;
    // The load's own threads and buffers leave pages as well: as many as in a load with one restart.
    under_load(console, subject, 1)?;
    let before = Account::take(&subject.driver)?;
    under_load(console, subject, 1 + RESTARTS)?;
    let after = Account::take(&subject.driver)?;
    let load = before.used_pages.saturating_sub(first.used_pages);
    let pages = after.used_pages.saturating_sub(before.used_pages).saturating_sub(load);
    let told = format!(
        "{pages} pages more beside {load} of the load's own, where the system keeps {system} of as many killed processes \
         that do nothing"
    );
    // Half a page for each restart, beside those: less than any leak of a driver's own would be.
    if after.free_vectors < before.free_vectors
        || after.descriptors > before.descriptors
        || after.threads > before.threads
        || pages >= system + RESTARTS as u64 / 2
    {
        bail!("{before:?} became {after:?}: {told}");
    }
    Ok(format!("{after:?}, {told}"))
}

/// How many pages the system itself loses over as many processes that are killed, with as many threads as a driver.
fn pages_of_processes(subject: &Subject) -> Result<u64> {
    let program = std::env::current_exe().context("the name of this program")?;
    let run = |count| {
        for _ in 0..count {
            let mut victim = Command::new(&program)
                .arg("victim")
                .stdout(Stdio::piped())
                .spawn()
                .context("start a process")?;
            let mut ready = [0];
            victim
                .stdout
                .take()
                .context("its output")?
                .read_exact(&mut ready)
                .context("wait for a process")?;
            victim.kill().context("kill a process")?;
            victim.wait().context("wait for a killed process")?;
        }
        Account::take(&subject.driver)
    };
    let before = run(WARM_UP)?;
    let after = run(RESTARTS)?;
    Ok(after.used_pages.saturating_sub(before.used_pages))
}

/// Says that all threads run, and waits for the end.
pub(crate) fn be_a_victim() {
    let started = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for _ in 1..THREADS {
            scope.spawn(|| {
                started.wait();
                std::thread::sleep(Duration::from_secs(60));
            });
        }
        started.wait();
        print!("!");
        let _ = std::io::stdout().flush();
        std::thread::sleep(Duration::from_secs(60));
    });
}
