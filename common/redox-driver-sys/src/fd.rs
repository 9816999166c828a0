//! File descriptors that the process was started with.
//!
//! A supervisor leaves them open in the new process and says their numbers in environment variables. Taking one over
//! by its number cannot be checked by the compiler, so it is done here and nowhere else.

use std::{
    collections::BTreeSet,
    env,
    os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd},
    sync::{Mutex, PoisonError},
};

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

use crate::error::{Error, Result};

/// What has been taken over: a descriptor can have one owner only.
static TAKEN: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());

/// Takes over the descriptor whose number the environment variable `name` holds; `None` where it is not set.
///
/// The descriptor is closed on `exec` from here on, so that no program started later inherits it.
///
/// # Errors
/// [`Error::Invalid`] when the value is not the number of a descriptor above standard error, or when that descriptor
/// was opened by this process or has been taken over already; [`Error::Os`] when no such descriptor is open.
pub fn from_env(name: &str) -> Result<Option<OwnedFd>> {
    let Some(value) = env::var_os(name) else { return Ok(None) };
    let invalid = |what| Error::Invalid { what, value: format!("{name}={}", value.display()) };
    let number = value.to_str().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let raw: RawFd = number
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| invalid("the variable holds no descriptor number"))?;
    if raw <= 2 {
        return Err(invalid("the variable names one of the standard streams"));
    }
    // A poisoned set is as good as any: an insertion is all that ever happens to it.
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    if taken.contains(&raw) {
        return Err(invalid("the descriptor has been taken over already"));
    }
    {
        // SAFETY: `raw` is not -1. It may be closed, in which case both calls answer EBADF and do nothing else.
        let borrowed = unsafe { BorrowedFd::borrow_raw(raw) };
        let flags = fcntl_getfd(borrowed).map_err(|source| Error::os(format!("{name}={raw}"), source))?;
        // What was opened here is closed on `exec`; what was inherited cannot be.
        if flags.contains(FdFlags::CLOEXEC) {
            return Err(invalid("the variable names a descriptor that was not inherited"));
        }
        fcntl_setfd(borrowed, flags | FdFlags::CLOEXEC)
            .map_err(|source| Error::os(format!("{name}={raw}"), source))?;
    }
    taken.insert(raw);
    // SAFETY: it is open and was inherited (checked above), and whoever started the process said in the environment
    // that it is meant for this; nothing else in the process owns it, and `TAKEN` lets this function own it only once.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(raw) }))
}

/// Has every descriptor above standard error closed on `exec`, whoever opened it, and says how many were not yet.
///
/// What this process itself opens is closed on `exec` anyway; this is for what it inherited without knowing.
///
/// # Errors
/// [`Error::Os`] when the list of open descriptors cannot be read.
#[cfg(target_os = "linux")]
pub fn close_all_on_exec() -> Result<usize> {
    const LIST: &str = "/proc/self/fd";
    let list = |source| Error::os(LIST, source);
    let mut changed = 0;
    for entry in std::fs::read_dir(LIST).map_err(list)? {
        let name = entry.map_err(list)?.file_name();
        let Some(raw) = name.to_str().and_then(|text| text.parse::<RawFd>().ok()).filter(|raw| *raw > 2)
        else {
            continue;
        };
        // SAFETY: `raw` is not -1. If another thread has closed it meanwhile, the calls answer EBADF; if it stands for
        // another file by now, closing that on `exec` is what was asked for.
        let borrowed = unsafe { BorrowedFd::borrow_raw(raw) };
        let Ok(flags) = fcntl_getfd(borrowed) else { continue };
        if !flags.contains(FdFlags::CLOEXEC) && fcntl_setfd(borrowed, flags | FdFlags::CLOEXEC).is_ok() {
            changed += 1;
        }
    }
    Ok(changed)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    //! The environment can be set for a new process only, so each case runs in a child: this very test again.
    #![allow(clippy::unwrap_used, reason = "helpers of tests")]

    use std::{
        fs::File,
        io::{Read, Write},
        os::fd::{AsRawFd, OwnedFd},
        process::{Command, Output},
    };

    use super::*;

    const CASE: &str = "RB_FD_TEST_CASE";

    fn child(case: &str, env: &[(&str, String)]) -> Output {
        Command::new(env::current_exe().unwrap())
            .args(["--exact", "fd::tests::in_a_child", "--nocapture"])
            .env(CASE, case)
            .envs(env.iter().map(|(name, value)| (*name, value)))
            .output()
            .unwrap()
    }

    fn inheritable(fd: &OwnedFd) -> String {
        fcntl_setfd(fd, FdFlags::empty()).unwrap();
        fd.as_raw_fd().to_string()
    }

    #[test]
    fn in_a_child() {
        match env::var(CASE).as_deref() {
            Ok("write") => {
                let fd = from_env("A_FD").unwrap().unwrap();
                assert!(fcntl_getfd(&fd).unwrap().contains(FdFlags::CLOEXEC));
                File::from(fd).write_all(b"taken over").unwrap();
                let again = from_env("A_FD").unwrap_err().to_string();
                assert!(again.contains("already: A_FD="), "{again}");
            }
            Ok("fails") => {
                let own = File::open("/dev/null").unwrap();
                println!("own {}", own.as_raw_fd());
                println!("error {}", from_env("A_FD").unwrap_err());
            }
            Ok("close") => {
                assert!(close_all_on_exec().unwrap() >= 1);
                assert_eq!(close_all_on_exec().unwrap(), 0);
                let listed = Command::new("ls").arg("/proc/self/fd").output().unwrap();
                println!("open {}", String::from_utf8(listed.stdout).unwrap().split_whitespace().count());
            }
            _ => assert!(from_env("A_FD").unwrap().is_none()),
        }
    }

    #[test]
    fn the_named_descriptor_is_taken_over_once() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let writer = OwnedFd::from(writer);
        let output = child("write", &[("A_FD", inheritable(&writer))]);
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(text, "taken over");
    }

    #[test]
    fn what_is_no_inherited_descriptor_is_refused() {
        for (value, reason) in [
            ("", "no descriptor number: A_FD="),
            ("-1", "no descriptor number: A_FD=-1"),
            ("+7", "no descriptor number: A_FD=+7"),
            ("99999999999", "no descriptor number: A_FD=99999999999"),
            ("2", "standard streams: A_FD=2"),
            ("999", "A_FD=999"),
        ] {
            let output = child("fails", &[("A_FD", value.to_owned())]);
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(text.contains("error ") && text.contains(reason), "{value}: {text}");
        }
        // The child is told once more, with the number that it used for a file of its own.
        let text = String::from_utf8(child("fails", &[("A_FD", "999".to_owned())]).stdout).unwrap();
        let own = text.lines().find_map(|line| line.split_once("own ")).unwrap().1.to_owned();
        let text = String::from_utf8(child("fails", &[("A_FD", own)]).stdout).unwrap();
        assert!(text.contains("not inherited"), "{text}");
    }

    #[test]
    fn nothing_inherited_is_passed_on() {
        let (_reader, writer) = std::io::pipe().unwrap();
        let writer = OwnedFd::from(writer);
        let output = child("close", &[("A_FD", inheritable(&writer))]);
        let text = String::from_utf8(output.stdout).unwrap();
        // Standard input, output, error, and the directory that `ls` reads.
        assert!(text.contains("open 4"), "{text} {}", String::from_utf8_lossy(&output.stderr));
    }
}
