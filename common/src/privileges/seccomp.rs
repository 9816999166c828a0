//! System calls that no driver makes once it serves (seccomp(2)).
//!
//! A list of what is denied, not of what is allowed: what a daemon calls depends on the C library and the front end,
//! and a call that is missing from a list of allowed ones would kill a disk under a mounted file system.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter_all_threads,
};

/// Starting programs, tracing others, changing what is mounted, which modules run, which clock is right; keys, BPF,
/// performance counters; files by handle; new sockets.
const DENIED: &[libc::c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_quotactl,
    libc::SYS_acct,
    libc::SYS_reboot,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_personality,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_socket,
    libc::SYS_connect,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

/// Threads are allowed, namespaces are not.
const NAMESPACES: [libc::c_int; 8] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_PTRACE,
];

/// Denies the calls above in every thread of the process.
pub(super) fn restrict() -> Result<String, String> {
    let denied = filter(denied()?, SeccompAction::Errno(errno(libc::EPERM)))?;
    // clone3 hides its flags in memory, where a filter cannot look. The C library falls back to clone on ENOSYS, and on
    // nothing else.
    let clone3 =
        filter(BTreeMap::from([(libc::SYS_clone3, vec![])]), SeccompAction::Errno(errno(libc::ENOSYS)))?;
    for program in [&clone3, &denied] {
        apply_filter_all_threads(program).map_err(|error| error.to_string())?;
    }
    Ok(format!("denies {} calls", DENIED.len()))
}

fn errno(number: libc::c_int) -> u32 {
    number.unsigned_abs()
}

fn denied() -> Result<BTreeMap<i64, Vec<SeccompRule>>, String> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = DENIED.iter().map(|&call| (call, Vec::new())).collect();
    let mut clone = Vec::new();
    for flag in NAMESPACES {
        let flag = u64::from(flag.unsigned_abs());
        let condition = SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(flag), flag);
        let rule = condition.and_then(|condition| SeccompRule::new(vec![condition]));
        clone.push(rule.map_err(|error| error.to_string())?);
    }
    rules.insert(libc::SYS_clone, clone);
    #[cfg(target_arch = "x86_64")]
    deny_x32(&mut rules);
    Ok(rules)
}

/// The x32 ABI offers every call a second time under the same architecture, and some under numbers of their own.
#[cfg(target_arch = "x86_64")]
fn deny_x32(rules: &mut BTreeMap<i64, Vec<SeccompRule>>) {
    const X32_SYSCALL_BIT: i64 = 0x4000_0000;
    const X32_ONLY: std::ops::RangeInclusive<i64> = 512..=547;
    let native: Vec<i64> = rules.keys().copied().collect();
    for call in native.into_iter().chain(X32_ONLY) {
        rules.insert(call | X32_SYSCALL_BIT, Vec::new());
    }
}

fn filter(rules: BTreeMap<i64, Vec<SeccompRule>>, action: SeccompAction) -> Result<BpfProgram, String> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| error.to_string())?;
    SeccompFilter::new(rules, SeccompAction::Allow, action, arch)
        .and_then(BpfProgram::try_from)
        .map_err(|error| error.to_string())
}
