//! What restarts leak.

use anyhow::{Result, bail};
use redox_guest::console::Console;
use redox_guest::system::Account;

use super::kills::under_load;
use crate::Subject;

/// Restarts before the first account: what is allocated once is there then.
const WARM_UP: usize = 5;
const RESTARTS: usize = 50;

pub(crate) fn run(console: &Console, subject: &Subject) -> bool {
    console.own("no vector, memory or descriptor leaks over 50 restarts", || restarts(console, subject))
}

fn restarts(console: &Console, subject: &Subject) -> Result<String> {
    under_load(console, subject, WARM_UP)?;
    let before = Account::take(&subject.driver)?;
    under_load(console, subject, RESTARTS)?;
    let after = Account::take(&subject.driver)?;
    // A page for each restart would be the least of leaks.
    let pages = after.used_pages.saturating_sub(before.used_pages);
    if after.free_vectors < before.free_vectors
        || after.descriptors > before.descriptors
        || after.threads > before.threads
        || pages >= RESTARTS as u64
    {
        bail!("{before:?} became {after:?}");
    }
    Ok(format!("{after:?}, {pages} pages more than before"))
}
