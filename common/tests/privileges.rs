//! What a process can still do after it gave up its privileges. Each case runs in a process of its own: this program
//! again.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    env, fs, io,
    net::{TcpListener, UdpSocket},
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
};

use common::privileges::{CapabilitySet, Policy, Restricted};
use rustix::{process::geteuid, thread::capabilities};

const CASE: &str = "RB_PRIVILEGES_CASE";
const EPERM: i32 = rustix::io::Errno::PERM.raw_os_error();
const DIR: &str = "RB_PRIVILEGES_DIR";

fn landlocked(restricted: &Restricted) -> bool {
    restricted.steps.iter().any(|step| step.what == "landlock" && step.result.is_ok())
}

/// The processes of the tests below.
#[test]
fn in_a_child() {
    let Ok(case) = env::var(CASE) else { return };
    let dir = PathBuf::from(env::var(DIR).unwrap());
    let policy = Policy::new().readable(dir.join("readable")).writable(dir.join("writable"));
    match case.as_str() {
        "files" => files(&dir, &policy),
        "calls" => calls(&policy),
        "threads" => threads(&policy),
        "sockets" => sockets(&dir, &policy),
        "capabilities" => keeps(&policy),
        other => panic!("no such case: {other}"),
    }
}

fn files(dir: &Path, policy: &Policy) {
    // Root again, so that only landlock stands in the way, not the permissions of the files.
    let restricted = policy.clone().user(None).readable(dir.join("absent")).restrict();
    println!("{restricted}");
    assert!(restricted.to_string().contains("absent") || !landlocked(&restricted));
    fs::read(dir.join("readable/file")).unwrap();
    fs::write(dir.join("writable/new"), "new").unwrap();
    if landlocked(&restricted) {
        let denied =
            |result: io::Result<()>| assert_eq!(result.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        denied(fs::read(dir.join("other")).map(drop));
        denied(fs::read("/etc/passwd").map(drop));
        denied(fs::write(dir.join("readable/file"), "changed"));
        denied(fs::remove_file(dir.join("other")));
    } else {
        println!("this kernel has no landlock");
    }
}

fn calls(policy: &Policy) {
    let restricted = policy.restrict();
    println!("{restricted}");
    let seccomp = restricted.steps.iter().find(|step| step.what == "seccomp").unwrap();
    assert!(seccomp.result.is_ok(), "{restricted}");
    assert!(rustix::thread::no_new_privs().unwrap());
    let denied = |error: io::Error| assert_eq!(error.raw_os_error(), Some(EPERM), "{error}");
    denied(Command::new("/bin/true").spawn().map(drop).unwrap_err());
    denied(UdpSocket::bind("127.0.0.1:0").map(drop).unwrap_err());
    denied(rustix::mount::unmount("/nowhere", rustix::mount::UnmountFlags::empty()).unwrap_err().into());
    denied(rustix::system::sethostname(b"other").unwrap_err().into());
    if geteuid().as_raw() == 65534 {
        assert_eq!(capabilities(None).unwrap().permitted, CapabilitySet::empty());
        assert_eq!(rustix::process::getegid().as_raw(), 65534);
    }
}

fn threads(policy: &Policy) {
    let (tell, told) = std::sync::mpsc::channel::<()>();
    let early = thread::spawn(move || {
        told.recv().unwrap();
        UdpSocket::bind("127.0.0.1:0").map(drop).map_err(|error| error.raw_os_error())
    });
    policy.restrict();
    tell.send(()).unwrap();
    // The filter reaches threads that were there before, and later threads can still be started.
    assert_eq!(early.join().unwrap(), Err(Some(EPERM)));
    let late = thread::spawn(|| capabilities(None).unwrap().effective);
    assert_eq!(late.join().unwrap(), CapabilitySet::empty());
}

fn sockets(dir: &Path, policy: &Policy) {
    // What is listened on before is served after.
    let listener = UnixListener::bind(dir.join("socket")).unwrap();
    policy.restrict();
    println!("listening");
    let mut client = listener.accept().unwrap().0;
    io::Write::write_all(&mut client, b"served").unwrap();
    assert!(UnixStream::connect(dir.join("socket")).is_err() && TcpListener::bind("127.0.0.1:0").is_err());
}

fn keeps(policy: &Policy) {
    let before = capabilities(None).unwrap().permitted;
    let keep = CapabilitySet::IPC_LOCK;
    let restricted = policy.clone().keep(keep).restrict();
    println!("{restricted}");
    let after = capabilities(None).unwrap();
    assert_eq!(after.permitted, before & keep);
    assert_eq!(after.effective, before & keep);
    if before.contains(CapabilitySet::SETPCAP | CapabilitySet::SETUID | CapabilitySet::IPC_LOCK) {
        assert_eq!(geteuid().as_raw(), 65534);
        assert!(restricted.to_string().contains("capabilities ipc_lock"), "{restricted}");
        assert!(!rustix::thread::capability_is_in_bounding_set(CapabilitySet::SYS_ADMIN).unwrap());
        assert!(rustix::thread::capability_is_in_bounding_set(keep).unwrap());
    }
}

fn prepare() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["readable", "writable"] {
        fs::create_dir(dir.path().join(name)).unwrap();
        fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(0o777)).unwrap();
    }
    fs::write(dir.path().join("readable/file"), "text").unwrap();
    fs::write(dir.path().join("other"), "text").unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    dir
}

fn command(case: &str, dir: &Path) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "in_a_child", "--nocapture"]).env(CASE, case).env(DIR, dir);
    command
}

fn passes(case: &str) -> String {
    let dir = prepare();
    let Output { status, stdout, stderr } = command(case, dir.path()).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{text}");
    text
}

#[test]
fn only_the_named_paths_are_left() {
    passes("files");
}

#[test]
fn programs_mounts_and_sockets_are_denied() {
    let text = passes("calls");
    assert!(text.contains("no new privileges on") && text.contains("seccomp denies "), "{text}");
}

#[test]
fn threads_are_bound_and_can_be_started() {
    passes("threads");
}

#[test]
fn capabilities_that_are_kept_stay() {
    passes("capabilities");
}

#[test]
fn a_listening_socket_is_served_on() {
    use std::{io::Read, process::Stdio, time::Duration};
    let dir = prepare();
    let mut child = command("sockets", dir.path()).stdout(Stdio::null()).spawn().unwrap();
    let connect = || UnixStream::connect(dir.path().join("socket"));
    let mut stream = (0..500)
        .find_map(|_| connect().map_err(|_| thread::sleep(Duration::from_millis(10))).ok())
        .expect("listens within 5 s");
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text, "served");
    assert!(child.wait().unwrap().success());
}
