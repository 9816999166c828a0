//! A machine to supervise: sysfs, procfs and devtmpfs as trees of files, with a thread that does what the kernel would do
//! when drivers are bound and unbound, and daemons made of a few lines of shell.

#![allow(dead_code, reason = "not every test program uses all of it")]

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, mknodat},
    process::{Pid, Signal, kill_process},
};

/// Everything that is waited for in a test happens within this time, or the test fails.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// The drivers that the machine has.
const DRIVERS: [&str; 5] = ["vfio-pci", "nvme", "e1000e", "pcieport", "snd_hda_intel"];

pub(crate) struct Machine {
    dir: tempfile::TempDir,
    natural: Arc<Mutex<BTreeMap<String, &'static str>>>,
    log: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    kernel: Option<JoinHandle<()>>,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for path in [
            "sys/bus/pci/devices",
            "sys/class/block",
            "sys/class/net",
            "sys/class/nvme-subsystem",
            "sys/devices/pci0000:00",
            "sys/devices/virtual/block",
            "sys/fs/btrfs",
            "sys/kernel/iommu_groups",
            "proc/self",
            "dev/vfio",
            "pcid.d",
            "drivers",
            "run",
            "out",
        ] {
            fs::create_dir_all(root.join(path)).unwrap();
        }
        let mut pipes = Vec::new();
        for driver in DRIVERS {
            let dir = root.join("sys/bus/pci/drivers").join(driver);
            fs::create_dir_all(&dir).unwrap();
            pipes.push((Some(driver), fifo(&dir.join("unbind"))));
        }
        pipes.push((None, fifo(&root.join("sys/bus/pci/drivers_probe"))));
        fs::write(root.join("proc/self/mountinfo"), "21 1 254:1 / / rw - ext4 /dev/vda1 rw\n").unwrap();
        fs::write(root.join("proc/swaps"), "Filename Type Size Used Priority\n").unwrap();
        fs::write(root.join("dev/vfio/vfio"), "").unwrap();
        let natural = Arc::default();
        let log = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let kernel =
            Kernel { root: root.to_owned(), natural: Arc::clone(&natural), log: Arc::clone(&log), pipes };
        let stopped = Arc::clone(&stop);
        let kernel = Some(thread::spawn(move || kernel.run(&stopped)));
        Self { dir, natural, log, stop, kernel }
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Adds a function that the kernel gives to `driver`, alone in IOMMU group `group`, which gets a node.
    pub(crate) fn function(
        &self,
        address: &str,
        id: &str,
        class: u32,
        driver: Option<&'static str>,
        group: Option<u32>,
    ) {
        let dir = self.function_dir(address);
        fs::create_dir_all(&dir).unwrap();
        let (vendor, device) = id.split_once(':').unwrap();
        self.write(&dir.join("vendor"), &format!("0x{vendor}\n"));
        self.write(&dir.join("device"), &format!("0x{device}\n"));
        self.write(&dir.join("class"), &format!("{class:#08x}\n"));
        self.write(&dir.join("driver_override"), "(null)\n");
        symlink(&dir, self.path("sys/bus/pci/devices").join(address)).unwrap();
        if let Some(driver) = driver {
            self.natural.lock().unwrap().insert(address.to_owned(), driver);
            symlink(self.path("sys/bus/pci/drivers").join(driver), dir.join("driver")).unwrap();
        }
        if let Some(group) = group {
            let members = self.path("sys/kernel/iommu_groups").join(group.to_string());
            fs::create_dir_all(members.join("devices")).unwrap();
            symlink(&members, dir.join("iommu_group")).unwrap();
            symlink(&dir, members.join("devices").join(address)).unwrap();
            self.write(&self.path("dev/vfio").join(group.to_string()), "");
        }
    }

    /// An NVMe controller as the others are meant to be: usable.
    pub(crate) fn nvme(&self, address: &str, group: u32) {
        self.function(address, "1b36:0010", 0x01_0802, Some("nvme"), Some(group));
    }

    pub(crate) fn function_dir(&self, address: &str) -> PathBuf {
        self.path("sys/devices/pci0000:00").join(address)
    }

    /// Adds a block device at `place` below `sys/devices`.
    pub(crate) fn block(&self, place: &str, number: &str) -> PathBuf {
        let dir = self.path("sys/devices").join(place);
        fs::create_dir_all(dir.join("holders")).unwrap();
        fs::create_dir_all(dir.join("slaves")).unwrap();
        self.write(&dir.join("dev"), &format!("{number}\n"));
        let name = dir.file_name().unwrap().to_owned();
        symlink(&dir, self.path("sys/class/block").join(&name)).unwrap();
        self.write(&self.path("dev").join(name), "");
        dir
    }

    pub(crate) fn write(&self, path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn mount(&self, line: &str) {
        let path = self.path("proc/self/mountinfo");
        let mounts = fs::read_to_string(&path).unwrap();
        fs::write(path, format!("{mounts}{line}\n")).unwrap();
    }

    /// A pcid.d file with the entry for NVMe controllers, whose daemon is the shell script `script`.
    pub(crate) fn nvmed(&self, script: &str) {
        self.write(
            &self.path("pcid.d/nvmed.toml"),
            "[[drivers]]\nname = \"NVMe\"\nclass = 1\nsubclass = 8\ninterface = 2\ncommand = [\"nvmed\", \"--loud\"]\n",
        );
        self.program("nvmed", script);
    }

    /// A program among the drivers: `$OUT` is a directory that it can write to.
    pub(crate) fn program(&self, name: &str, script: &str) {
        let path = self.path("drivers").join(name);
        let out = self.path("out");
        // Written elsewhere and renamed, so that no test ever starts a file that is open for writing.
        let temporary = self.path("drivers").join(format!("{name}.new"));
        fs::write(&temporary, format!("#!/bin/sh\nOUT='{}'\n{script}\n", out.display())).unwrap();
        fs::set_permissions(&temporary, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(temporary, path).unwrap();
    }

    pub(crate) fn driver(&self, address: &str) -> Option<String> {
        let link = fs::read_link(self.function_dir(address).join("driver")).ok()?;
        Some(link.file_name().unwrap().to_str().unwrap().to_owned())
    }

    /// Waits until the function has `driver`: this kernel, unlike a real one, takes its time after a write.
    pub(crate) fn until_driver(&self, address: &str, driver: Option<&str>) {
        let end = Instant::now() + LIMIT;
        while self.driver(address).as_deref() != driver {
            assert!(Instant::now() < end, "{address} has {:?}, not {driver:?}", self.driver(address));
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until this was the last that the kernel was asked to do.
    pub(crate) fn until_log(&self, last: &str) {
        let end = Instant::now() + LIMIT;
        while self.log().last().is_none_or(|line| line != last) {
            assert!(Instant::now() < end, "{:?}", self.log());
            thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn driver_override(&self, address: &str) -> String {
        fs::read_to_string(self.function_dir(address).join("driver_override")).unwrap().trim().to_owned()
    }

    /// What the kernel was asked to do.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Whether nothing was asked of the kernel, and no override was set.
    pub(crate) fn is_untouched(&self) -> bool {
        let overrides = fs::read_dir(self.path("sys/devices/pci0000:00")).unwrap().map(|entry| {
            let text = fs::read_to_string(entry.unwrap().path().join("driver_override")).unwrap();
            !text.contains("vfio-pci")
        });
        self.log().is_empty() && overrides.into_iter().all(|untouched| untouched)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pcid-spawner"));
        for (option, path) in [
            ("--sysfs", "sys"),
            ("--proc", "proc"),
            ("--dev", "dev"),
            ("--config", "pcid.d"),
            ("--drivers", "drivers"),
            ("--run-dir", "run"),
        ] {
            command.arg(option).arg(self.path(path));
        }
        command.args(args).env_remove("RUST_LOG").env_remove("DRIVER_LOG_LEVEL");
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Run {
        Run::from(self.command(args).output().unwrap())
    }

    /// Starts the spawner; what it logs is kept.
    pub(crate) fn supervise(&self, args: &[&str]) -> Spawner<'_> {
        let log = self.path("spawner.log");
        let file = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let mut command = self.command(args);
        let child = command.stdin(Stdio::null()).stderr(file).stdout(Stdio::null()).spawn().unwrap();
        Spawner { machine: self, child, log }
    }

    /// Runs the spawner to its end: daemons that stay behind may keep what it logs to.
    pub(crate) fn run_to_file(&self, args: &[&str]) -> Option<i32> {
        self.supervise(args).wait()
    }

    /// A file that a daemon writes.
    pub(crate) fn out(&self, name: &str) -> String {
        fs::read_to_string(self.path("out").join(name)).unwrap_or_default()
    }

    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        self.out(name).lines().map(str::to_owned).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(kernel) = self.kernel.take() {
            kernel.join().unwrap();
        }
    }
}

/// What a command said.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// A spawner that runs. Killed, and its daemons with it, when a test fails.
pub(crate) struct Spawner<'a> {
    machine: &'a Machine,
    child: Child,
    log: PathBuf,
}

impl Spawner<'_> {
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until `condition` holds.
    pub(crate) fn until(&self, what: &str, condition: impl Fn() -> bool) {
        let end = Instant::now() + LIMIT;
        while !condition() {
            assert!(Instant::now() < end, "{what} did not happen within {LIMIT:?}:\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the log has `text` `times` times.
    pub(crate) fn until_logged(&self, text: &str, times: usize) {
        self.until(text, || self.log().matches(text).count() >= times);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end and gives the exit code.
    pub(crate) fn wait(mut self) -> Option<i32> {
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < end, "did not end within {LIMIT:?}:\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn stop(self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// The process of the last daemon that wrote its number to `pid`.
    pub(crate) fn daemon(&self, file: &str) -> Pid {
        self.until("a pid", || self.machine.out(file).ends_with('\n'));
        let lines = self.machine.lines(file);
        Pid::from_raw(lines.last().unwrap().parse().unwrap()).unwrap()
    }
}

impl Drop for Spawner<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Does what a write to sysfs would make the kernel do.
struct Kernel {
    root: PathBuf,
    natural: Arc<Mutex<BTreeMap<String, &'static str>>>,
    log: Arc<Mutex<Vec<String>>>,
    pipes: Vec<(Option<&'static str>, fs::File)>,
}

impl Kernel {
    fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Acquire) {
            let mut lines = Vec::new();
            for (driver, pipe) in &mut self.pipes {
                let mut bytes = [0; 256];
                let read = pipe.read(&mut bytes).unwrap_or(0);
                let text = String::from_utf8(bytes[..read].to_vec()).unwrap();
                lines.extend(text.lines().map(|line| (*driver, line.to_owned())));
            }
            for (driver, address) in lines {
                match driver {
                    Some(driver) => self.unbind(driver, &address),
                    None => self.probe(&address),
                }
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn function(&self, address: &str) -> PathBuf {
        self.root.join("sys/devices/pci0000:00").join(address)
    }

    fn unbind(&self, driver: &str, address: &str) {
        self.log.lock().unwrap().push(format!("unbind {address} from {driver}"));
        let link = self.function(address).join("driver");
        assert!(fs::read_link(&link).unwrap().ends_with(driver), "{address} is not bound to {driver}");
        fs::remove_file(link).unwrap();
    }

    fn probe(&self, address: &str) {
        let function = self.function(address);
        let wanted = fs::read_to_string(function.join("driver_override")).unwrap().trim().to_owned();
        let natural = self.natural.lock().unwrap().get(address).copied().unwrap_or_default();
        let driver = if wanted.is_empty() || wanted == "(null)" { natural.to_owned() } else { wanted };
        self.log.lock().unwrap().push(format!("probe {address}: {driver}"));
        let dir = self.root.join("sys/bus/pci/drivers").join(&driver);
        if !driver.is_empty() && dir.exists() && !function.join("refuses_drivers").exists() {
            symlink(dir, function.join("driver")).unwrap();
        }
    }
}

fn fifo(path: &Path) -> fs::File {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    fs::File::from(rustix::fs::open(path, flags, Mode::empty()).unwrap())
}
