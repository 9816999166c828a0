//! Descriptors of the daemon: each memory object of a client takes one for as long as its pages are pinned.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::server::MOST_CLIENTS;

/// Of so many descriptors, one is not for memory objects: tables, connections, and what comes with a request.
const OTHERS: u64 = 4;

/// Raises the limit of descriptors, as far as the system lets it, so that each client may have `most` memory objects; how
/// many each may have then.
pub fn raise_limit(most: u32) -> u32 {
    let objects = u64::from(MOST_CLIENTS) * u64::from(most);
    let wanted = (objects * OTHERS).div_ceil(OTHERS - 1);
    let before = getrlimit(Resource::Nofile);
    if before.current.is_some_and(|current| current < wanted) {
        let maximum = before.maximum.map(|maximum| maximum.max(wanted));
        let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
        // More than the process had from the start is the administrator's to have.
        let raised = raised.or_else(|_| {
            setrlimit(Resource::Nofile, Rlimit { current: before.maximum, maximum: before.maximum })
        });
        if let Err(error) = raised {
            log::warn!("the limit of descriptors stays {before:?}: {error}");
        }
    }
    share(getrlimit(Resource::Nofile).current, most)
}

/// Memory objects of each client, of which `limit` descriptors are enough for all.
fn share(limit: Option<u64>, most: u32) -> u32 {
    let objects = limit.map_or(u64::MAX, |limit| (limit - limit.div_ceil(OTHERS)) / u64::from(MOST_CLIENTS));
    u32::try_from(objects).unwrap_or(u32::MAX).clamp(1, most.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_clients_together_have_descriptors() {
        for (limit, objects) in [
            (None, 4096),
            (Some(u64::MAX), 4096),
            (Some(1 << 20), 4096),
            (Some(349_526), 4096),
            (Some(349_525), 4095),
            (Some(1024), 12),
            (Some(0), 1),
        ] {
            assert_eq!(share(limit, 4096), objects, "{limit:?}");
        }
    }

    #[test]
    fn the_limit_is_raised() {
        let objects = raise_limit(10);
        let limit = getrlimit(Resource::Nofile).current;
        assert!(limit.is_none_or(|limit| limit >= 854) == (objects == 10), "{objects} of {limit:?}");
    }
}
