//! Daemons that start, are slow, crash, finish and are stopped.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::{
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Signal, kill_process, test_kill_process};
use support::{Machine, Run};

const NVME: &str = "0000:00:04.0";
const OTHER: &str = "0000:00:05.0";

/// Says that it is ready, and waits to be told to end.
const SERVE: &str = "
echo $$ >> $OUT/pids
trap 'echo term >> $OUT/ends; exit 0' TERM
printf '\\000' >&$INIT_NOTIFY
while :; do sleep 0.02; done";

fn machine(script: &str) -> Machine {
    let machine = Machine::new();
    machine.nvme(NVME, 7);
    machine.nvmed(script);
    machine
}

#[test]
fn a_function_is_taken_served_and_handed_back() {
    let machine = machine(SERVE);
    let spawner = machine.supervise(&[]);
    spawner.until_logged("is ready", 1);
    assert_eq!(machine.driver(NVME).as_deref(), Some("vfio-pci"));
    assert_eq!(machine.driver_override(NVME), "vfio-pci");
    assert_eq!(spawner.stop(), Some(0));
    assert_eq!(machine.out("ends"), "term\n");
    machine.until_driver(NVME, Some("nvme"));
    assert_eq!(machine.driver_override(NVME), "");
    assert_eq!(
        machine.log(),
        [
            "unbind 0000:00:04.0 from nvme",
            "probe 0000:00:04.0: vfio-pci",
            "unbind 0000:00:04.0 from vfio-pci",
            "probe 0000:00:04.0: nvme",
        ]
    );
}

#[test]
fn a_daemon_gets_its_device_and_nothing_else() {
    let machine = machine(
        "env | sort > $OUT/env
         echo \"$@\" > $OUT/args
         pwd > $OUT/pwd
         ls -l /proc/self/fd | sed -n 's/.* \\([0-9]*\\) -> /\\1 /p' > $OUT/fds.new
         mv $OUT/fds.new $OUT/fds",
    );
    // What the spawner itself inherits, open and without the flag that closes it, must not reach the daemon.
    let spawner = machine.command(&["--once"]);
    let mut shell = Command::new("sh");
    shell.arg("-c").arg("exec 9</dev/null 8>/dev/null; exec \"$@\"").arg("sh").arg(spawner.get_program());
    shell.args(spawner.get_args());
    shell.env_clear().env("LD_PRELOAD", "").env("SECRET", "x").env("DRIVER_DISK_LOG_LEVEL", "debug");
    let run = Run::from(shell.output().unwrap());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(machine.out("args"), "--loud --device 0000:00:04.0\n");
    assert_eq!(machine.out("pwd"), "/\n");
    let env: Vec<_> = machine
        .lines("env")
        .into_iter()
        .filter(|line| {
            !line.starts_with("PWD=")
                && !line.starts_with("_=")
                && !line.starts_with("OLDPWD=")
                && !line.starts_with("SHLVL=")
        })
        .collect();
    assert_eq!(
        env,
        [
            "DRIVER_DISK_LOG_LEVEL=debug",
            "INIT_NOTIFY=5",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "PCID_DEVICE=0000:00:04.0",
            "VFIO_CONTAINER_FD=3",
            "VFIO_GROUP_FD=4",
        ]
    );
    let fds = machine.lines("fds");
    let fd = |number: &str| {
        let line = fds.iter().find_map(|line| line.strip_prefix(&format!("{number} ")));
        line.unwrap_or_default().to_owned()
    };
    assert_eq!(fd("0"), "/dev/null");
    assert_eq!(fd("3"), machine.path("dev/vfio/vfio").display().to_string());
    assert_eq!(fd("4"), machine.path("dev/vfio/7").display().to_string());
    assert!(fd("5").starts_with("pipe:"), "{fds:?}");
    // `ls` itself has the directory open, under the lowest number that was free.
    let numbers: Vec<_> = fds.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(numbers, ["0", "1", "2", "3", "4", "5", "6"], "{fds:?}");
    assert!(fd("6").starts_with("/proc/"), "{fds:?}");
}

#[test]
fn a_crashed_daemon_is_started_again() {
    let machine = machine(SERVE);
    let spawner = machine.supervise(&["--restart-delay", "10ms", "--restart-delay-max", "40ms"]);
    for round in 1..=20 {
        spawner.until_logged("is ready", round);
        kill_process(spawner.daemon("pids"), Signal::KILL).unwrap();
        spawner.until_logged("crashed: killed by SIGKILL", round);
    }
    spawner.until_logged("is ready", 21);
    assert_eq!(machine.lines("pids").len(), 21);
    let status = machine.run(&["status"]);
    assert_eq!(status.code, Some(0), "{}", status.stderr);
    let line = status.stdout.lines().last().unwrap();
    assert!(line.starts_with("0000:00:04.0  nvmed ") && line.contains(" running "), "{line}");
    assert!(line.ends_with(" 21  killed by SIGKILL"), "{line}");
    // The function stayed with vfio-pci all the time.
    assert_eq!(machine.log().len(), 2);
    assert_eq!(spawner.stop(), Some(0));
}

#[test]
fn a_crash_loop_slows_down() {
    let machine = machine("date +%s%N >> $OUT/times; exit 3");
    let spawner = machine.supervise(&["--restart-delay", "20ms", "--restart-delay-max", "160ms"]);
    spawner.until("six starts", || machine.lines("times").len() >= 6);
    assert_eq!(spawner.stop(), Some(0));
    let times: Vec<u64> = machine.lines("times").iter().map(|line| line.parse().unwrap()).collect();
    let pauses: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (pause, least) in pauses.iter().zip([20, 40, 80, 160, 160]) {
        assert!(*pause >= least * 1_000_000, "{pauses:?}");
    }
    let log = fs::read_to_string(machine.path("spawner.log")).unwrap();
    assert!(log.contains("crashed: exit code 3"), "{log}");
    assert!(log.contains("started again in 160ms") && !log.contains("started again in 320ms"), "{log}");
}

#[test]
fn a_stable_daemon_is_forgiven() {
    let machine = machine(SERVE);
    let spawner =
        machine.supervise(&["--restart-delay", "10ms", "--restart-delay-max", "1s", "--stable-after", "2s"]);
    for round in 1..=3 {
        spawner.until_logged("is ready", round);
        kill_process(spawner.daemon("pids"), Signal::SEGV).unwrap();
        spawner.until_logged("crashed: killed by SIGSEGV", round);
    }
    spawner.until_logged("started again in 40ms", 1);
    spawner.until_logged("is ready", 4);
    thread::sleep(Duration::from_millis(2200));
    kill_process(spawner.daemon("pids"), Signal::KILL).unwrap();
    spawner.until_logged("started again in 10ms", 2);
    assert_eq!(spawner.stop(), Some(0));
}

#[test]
fn exit_code_0_is_the_end() {
    let machine = machine("printf '\\000' >&$INIT_NOTIFY; echo x >> $OUT/starts; exit 0");
    assert_eq!(machine.supervise(&["--restart-delay", "1ms"]).wait(), Some(0));
    assert_eq!(machine.out("starts"), "x\n");
    machine.until_driver(NVME, Some("nvme"));
}

#[test]
fn a_slow_daemon_delays_nobody() {
    let machine = machine(
        "case \"$PCID_DEVICE\" in
           *04.0) sleep 60;;
           *) printf '\\000' >&$INIT_NOTIFY; sleep 60;;
         esac",
    );
    machine.nvme(OTHER, 8);
    let begin = Instant::now();
    let spawner = machine.supervise(&["--stop-timeout", "1s"]);
    spawner.until_logged("0000:00:05.0 nvmed is ready", 1);
    assert!(begin.elapsed() < Duration::from_secs(10));
    let status = machine.run(&["status"]).stdout;
    assert!(status.contains(" starting ") && status.contains(" running "), "{status}");
    assert_eq!(spawner.stop(), Some(0));
}

#[test]
fn a_daemon_that_is_never_ready_counts_as_crashed() {
    let machine = machine(
        "trap '' TERM
         echo $$ >> $OUT/pids
         while :; do sleep 0.02; done",
    );
    let spawner = machine.supervise(&[
        "--ready-timeout",
        "100ms",
        "--stop-timeout",
        "100ms",
        "--restart-delay",
        "10ms",
    ]);
    spawner.until("two starts", || machine.lines("pids").len() >= 2);
    let log = spawner.log();
    assert!(log.contains("is not ready after 100ms") && log.contains("killed"), "{log}");
    assert!(machine.run(&["status"]).stdout.contains("not ready after 100ms"));
    let first = machine.lines("pids")[0].parse().unwrap();
    assert!(test_kill_process(rustix::process::Pid::from_raw(first).unwrap()).is_err());
    assert_eq!(spawner.stop(), Some(0));
}

#[test]
fn what_a_crashed_daemon_left_behind_ends_with_it() {
    let machine = machine(
        "sleep 1000 & echo $! > $OUT/helper
         printf '\\000' >&$INIT_NOTIFY
         echo $$ >> $OUT/pids
         wait",
    );
    let spawner = machine.supervise(&["--restart-delay", "10s"]);
    spawner.until_logged("is ready", 1);
    let helper = spawner.daemon("helper");
    kill_process(spawner.daemon("pids"), Signal::KILL).unwrap();
    // Gone, or a zombie until whoever inherited it looks.
    let stat = format!("/proc/{}/stat", helper.as_raw_nonzero());
    spawner
        .until("the helper's end", || fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z ")));
    assert_eq!(spawner.stop(), Some(0));
}

#[test]
fn daemons_are_stopped_in_order_the_last_first() {
    let machine = machine(
        "trap 'echo \"$PCID_DEVICE begins\" >> $OUT/ends; sleep 0.2; echo \"$PCID_DEVICE ends\" >> $OUT/ends; exit 0' TERM
         printf '\\000' >&$INIT_NOTIFY
         while :; do sleep 0.02; done",
    );
    machine.nvme(OTHER, 8);
    let spawner = machine.supervise(&[]);
    spawner.until_logged("is ready", 2);
    assert_eq!(spawner.stop(), Some(0));
    assert_eq!(
        machine.lines("ends"),
        ["0000:00:05.0 begins", "0000:00:05.0 ends", "0000:00:04.0 begins", "0000:00:04.0 ends"]
    );
    let given_back: Vec<_> =
        machine.log().into_iter().filter(|line| line.contains("from vfio-pci")).collect();
    assert_eq!(given_back, ["unbind 0000:00:05.0 from vfio-pci", "unbind 0000:00:04.0 from vfio-pci"]);
}

#[test]
fn who_does_not_stop_is_killed() {
    let machine = machine(&SERVE.replace("exit 0", ":"));
    let spawner = machine.supervise(&["--stop-timeout", "100ms"]);
    spawner.until_logged("is ready", 1);
    let daemon = spawner.daemon("pids");
    assert_eq!(spawner.stop(), Some(0));
    assert!(test_kill_process(daemon).is_err());
    assert!(fs::read_to_string(machine.path("spawner.log")).unwrap().contains("100ms after SIGTERM: killed"));
    machine.until_driver(NVME, Some("nvme"));
}

#[test]
fn asking_twice_hurries() {
    let machine = machine(&SERVE.replace("exit 0", ":"));
    let spawner = machine.supervise(&["--stop-timeout", "1h"]);
    spawner.until_logged("is ready", 1);
    spawner.signal(Signal::TERM);
    spawner.until("SIGTERM", || machine.out("ends").contains("term"));
    spawner.signal(Signal::INT);
    assert_eq!(spawner.wait(), Some(0));
}

#[test]
fn keep_leaves_functions_with_vfio() {
    let machine = machine(SERVE);
    let spawner = machine.supervise(&["--keep"]);
    spawner.until_logged("is ready", 1);
    assert_eq!(spawner.stop(), Some(0));
    assert_eq!(machine.driver(NVME).as_deref(), Some("vfio-pci"));
    // The next one finds it as it was left, and hands it back, for it was not the user's doing.
    let spawner = machine.supervise(&[]);
    spawner.until_logged("is ready", 2);
    assert_eq!(spawner.stop(), Some(0));
    machine.until_driver(NVME, Some("nvme"));
}

#[test]
fn what_the_user_bound_stays_bound() {
    let machine = Machine::new();
    machine.function(NVME, "1b36:0010", 0x01_0802, Some("vfio-pci"), Some(7));
    machine.nvmed(SERVE);
    let spawner = machine.supervise(&[]);
    spawner.until_logged("is ready", 1);
    assert_eq!(spawner.stop(), Some(0));
    assert_eq!(machine.driver(NVME).as_deref(), Some("vfio-pci"));
    assert!(machine.log().is_empty(), "{:?}", machine.log());
}

#[test]
fn once_leaves_ready_daemons_running() {
    let machine = machine(SERVE);
    let run = machine.run_to_file(&["--once"]);
    assert_eq!(run, Some(0));
    let pid = machine.lines("pids")[0].parse().unwrap();
    let daemon = rustix::process::Pid::from_raw(pid).unwrap();
    assert!(test_kill_process(daemon).is_ok());
    assert_eq!(machine.driver(NVME).as_deref(), Some("vfio-pci"));
    kill_process(daemon, Signal::KILL).unwrap();
}

#[test]
fn once_tells_of_a_daemon_that_failed() {
    let machine = machine("exit 4");
    assert_eq!(machine.run_to_file(&["--once"]), Some(1));
    let log = fs::read_to_string(machine.path("spawner.log")).unwrap();
    assert_eq!(log.lines().last(), Some("pcid-spawner: 0000:00:04.0 nvmed: exit code 4"));
}

#[test]
fn a_function_that_vfio_refuses_is_given_back() {
    let machine = machine(SERVE);
    machine.write(&machine.function_dir(NVME).join("refuses_drivers"), "");
    assert_eq!(machine.run_to_file(&[]), Some(1));
    let log = fs::read_to_string(machine.path("spawner.log")).unwrap();
    assert!(log.contains("is bound to no driver instead of vfio-pci"), "{log}");
    assert_eq!(machine.driver_override(NVME), "");
    machine.until_log("probe 0000:00:04.0: nvme");
    assert!(machine.out("pids").is_empty());
}

#[test]
fn a_second_spawner_is_refused() {
    let machine = machine(SERVE);
    let none = machine.run(&["status"]);
    assert_eq!(none.code, Some(1));
    assert!(none.stderr.starts_with("pcid-spawner: no pcid-spawner runs on "), "{}", none.stderr);
    let spawner = machine.supervise(&[]);
    spawner.until_logged("is ready", 1);
    let second = machine.run(&[]);
    assert_eq!(second.code, Some(1));
    assert!(second.stderr.contains("another pcid-spawner runs already, process "), "{}", second.stderr);
    assert_eq!(spawner.stop(), Some(0));
    assert_eq!(machine.run(&["status"]).code, Some(1));
}

#[test]
fn a_status_file_that_makes_no_sense_is_replaced() {
    let machine = machine(SERVE);
    machine.write(&machine.path("run/status.json"), "{ \"pid\": ");
    let spawner = machine.supervise(&[]);
    spawner.until_logged("is ready", 1);
    assert!(machine.run(&["status"]).stdout.contains(" running "));
    assert_eq!(spawner.stop(), Some(0));
    machine.until_driver(NVME, Some("nvme"));
}

#[test]
fn a_function_that_was_removed_is_given_up() {
    let machine = machine(SERVE);
    let spawner = machine.supervise(&["--restart-delay", "10ms"]);
    spawner.until_logged("is ready", 1);
    let daemon = spawner.daemon("pids");
    fs::rename(machine.function_dir(NVME), machine.path("removed")).unwrap();
    kill_process(daemon, Signal::KILL).unwrap();
    assert_eq!(spawner.wait(), Some(1));
    let log = fs::read_to_string(machine.path("spawner.log")).unwrap();
    assert!(log.lines().last().unwrap().ends_with("0000:00:04.0 nvmed: the function is gone"), "{log}");
    assert_eq!(machine.lines("pids").len(), 1);
}

#[test]
fn a_hangup_reads_the_files_again() {
    let machine = machine(SERVE);
    machine.function(OTHER, "1234:5678", 0xff_0000, None, Some(8));
    let spawner = machine.supervise(&[]);
    spawner.until_logged("is ready", 1);
    machine.program("otherd", &SERVE.replace("pids", "others"));
    machine.write(&machine.path("pcid.d/other.toml"), "[[drivers]]\nvendor = 0x1234\ncommand = ['otherd']\n");
    machine.write(&machine.path("pcid.d/bad.toml"), "bad");
    spawner.signal(Signal::HUP);
    spawner.until_logged("0000:00:05.0 otherd is ready", 1);
    assert!(spawner.log().contains("bad.toml:1: "), "{}", spawner.log());
    // The first one has not noticed.
    assert_eq!(machine.lines("pids").len(), 1);
    assert_eq!(spawner.stop(), Some(0));
    assert_eq!(machine.driver(OTHER), None);
}
