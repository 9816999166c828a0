//! Capabilities and the user (capabilities(7)).

use rustix::{fs::Gid, fs::Uid};
use rustix::{
    io::{Errno, Result},
    process::geteuid,
    thread::{
        CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
        clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
        set_keep_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
    },
};

/// Takes everything but `keep` out of the bounding set.
pub(super) fn bound(keep: CapabilitySet) -> std::result::Result<String, String> {
    let mut removed = 0_u32;
    // Whoever may not reduce the set has no use for it either: no program started later gains anything.
    let may = capabilities(None).map_err(|error| error.to_string())?.effective;
    if !may.contains(CapabilitySet::SETPCAP) {
        return Ok("of no use".to_owned());
    }
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        match capability_is_in_bounding_set(capability) {
            Ok(true) if !keep.contains(capability) => {}
            Ok(_) => continue,
            // The kernel's last capability has been passed.
            Err(_) => break,
        }
        remove_capability_from_bounding_set(capability).map_err(|error| error.to_string())?;
        removed = removed.saturating_add(1);
    }
    Ok(format!("less {removed}"))
}

/// Becomes `user`, holding on to the permitted `keep` on the way.
pub(super) fn become_user(
    user: Option<(u32, u32)>,
    keep: CapabilitySet,
) -> std::result::Result<String, String> {
    let (Some((uid, gid)), true) = (user, geteuid().is_root()) else {
        return Ok(geteuid().as_raw().to_string());
    };
    let switch = || -> Result<()> {
        let (uid, gid) = (Uid::from_raw_unchecked(uid), Gid::from_raw_unchecked(gid));
        set_keep_capabilities(!keep.is_empty())?;
        set_thread_groups(&[])?;
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)
    };
    switch().map(|()| format!("{uid}:{gid}")).map_err(|error| error.to_string())
}

/// Gives up all capabilities but `keep`, and those that the process did not have anyway.
pub(super) fn keep_only(keep: CapabilitySet) -> std::result::Result<String, String> {
    let reduce = || -> Result<CapabilitySet> {
        match clear_ambient_capability_set() {
            // Kernels before 4.3 have no ambient set.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(error) => return Err(error),
        }
        let kept = capabilities(None)?.permitted & keep;
        let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
        set_capabilities(None, sets)?;
        Ok(kept)
    };
    let kept = reduce().map_err(|error| error.to_string())?;
    let names: Vec<_> = kept.iter_names().map(|(name, _)| name.to_ascii_lowercase()).collect();
    Ok(if names.is_empty() { "none".to_owned() } else { names.join("+") })
}
