//! A guest: what it is made of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::models::{self, Model, Server};
use super::run::{Hook, Host};
use super::{Qemu, Rig, initramfs};

/// PCI slots of the rig's own devices, out of the way of the devices under test.
const SLOTS: [(&str, u8); 3] = [("root", 0x18), ("modules", 0x19), ("run", 0x1a)];

/// All that TCG offers, less the fifth level of page tables, which only makes walks longer.
const CPU: &str = "max,la57=off";

/// What runs in a guest.
#[derive(Debug, Clone)]
pub(super) enum System<'a> {
    /// The rig's Linux, and a script that speaks over a virtio port. It powers off at its end.
    Linux { rig: &'a Rig, script: String },
    /// What boots from the guest's first disk. It speaks in marked lines on its serial console
    /// ([`console::MARK`](super::console::MARK)), and its end is a power cut.
    Disk,
}

/// A guest to be started. Devices under test should name their slot (`addr=4`); those from 0x18
/// on are the rig's.
pub struct Guest<'a> {
    qemu: &'a Qemu,
    pub(super) system: System<'a>,
    pub(super) name: String,
    pub(super) memory: u32,
    pub(super) processors: u32,
    pub(super) cmdline: Vec<String>,
    pub(super) arguments: Vec<String>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) programs: Vec<PathBuf>,
    pub(super) files: Vec<(String, String)>,
    pub(super) traces: Vec<String>,
    pub(super) images: BTreeMap<String, PathBuf>,
    pub(super) hooks: BTreeMap<String, Hook<'a>>,
    pub(super) models: Vec<Model>,
    pub(super) deadline: Duration,
    pub(super) silence: Duration,
    pub(super) interactive: bool,
    pub(super) directory: PathBuf,
}

impl std::fmt::Debug for Guest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guest").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<'a> Guest<'a> {
    /// Describes a guest that runs `script` of `xtask/guest`. Its files go to `target/runs/NAME`,
    /// which is emptied first.
    ///
    /// # Errors
    /// When that directory cannot be made.
    pub fn new(rig: &'a Rig, name: &str, script: &str) -> Result<Self> {
        let system = System::Linux { rig, script: script.to_owned() };
        Self::with(&rig.qemu, system, &rig.runs, name)
    }

    /// Describes a guest that boots by its firmware from a disk of its own. Its files go to `runs`/NAME, which is
    /// emptied first.
    ///
    /// # Errors
    /// When that directory cannot be made.
    pub fn from_disk(qemu: &'a Qemu, runs: &Path, name: &str) -> Result<Self> {
        Self::with(qemu, System::Disk, runs, name)
    }

    fn with(qemu: &'a Qemu, system: System<'a>, runs: &Path, name: &str) -> Result<Self> {
        let directory = runs.join(name);
        if directory.exists() {
            std::fs::remove_dir_all(&directory)
                .with_context(|| format!("cannot empty {}", directory.display()))?;
        }
        std::fs::create_dir_all(directory.join("share/out"))
            .with_context(|| format!("cannot create {}", directory.display()))?;
        Ok(Self {
            qemu,
            system,
            name: name.to_owned(),
            memory: 2048,
            processors: 2,
            cmdline: Vec::new(),
            arguments: Vec::new(),
            environment: BTreeMap::new(),
            programs: Vec::new(),
            files: Vec::new(),
            traces: Vec::new(),
            images: BTreeMap::new(),
            hooks: BTreeMap::new(),
            models: Vec::new(),
            deadline: Duration::from_secs(600),
            silence: Duration::from_secs(120),
            interactive: false,
            directory: directory.canonicalize()?,
        })
    }

    /// Sets the guest's memory.
    #[must_use]
    pub fn memory_mib(mut self, memory: u32) -> Self {
        self.memory = memory;
        self
    }

    /// Sets the number of processors.
    #[must_use]
    pub fn processors(mut self, processors: u32) -> Self {
        self.processors = processors;
        self
    }

    /// Adds to the kernel's command line.
    #[must_use]
    pub fn cmdline(mut self, word: &str) -> Self {
        self.cmdline.push(word.to_owned());
        self
    }

    /// Adds a device, as `-device` takes it.
    #[must_use]
    pub fn device(self, device: &str) -> Self {
        self.argument("-device", device)
    }

    /// Adds a block backend, as `-blockdev` takes it.
    #[must_use]
    pub fn blockdev(self, options: &str) -> Self {
        self.argument("-blockdev", options)
    }

    /// Adds a TCG plugin, as `-plugin` takes it.
    #[must_use]
    pub fn plugin(self, plugin: &str) -> Self {
        self.argument("-plugin", plugin)
    }

    /// Adds any option of QEMU.
    #[must_use]
    pub fn argument(mut self, option: &str, value: &str) -> Self {
        self.arguments.push(option.to_owned());
        self.arguments.push(value.to_owned());
        self
    }

    /// Records QEMU's trace events that match a pattern into `trace.log`.
    #[must_use]
    pub fn trace(mut self, pattern: &str) -> Self {
        self.traces.push(pattern.to_owned());
        self
    }

    /// Sets a variable of the guest's scripts.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Puts a program of this machine into the guest's `PATH`.
    #[must_use]
    pub fn program(mut self, path: &Path) -> Self {
        self.programs.push(path.to_owned());
        self
    }

    /// Puts a file into the guest, at `/rig/PATH`.
    #[must_use]
    pub fn file(mut self, path: &str, text: &str) -> Self {
        self.files.push((path.to_owned(), text.to_owned()));
        self
    }

    /// Lets the guest's scripts call `host VERB …`.
    #[must_use]
    pub fn hook(
        mut self,
        verb: &str,
        action: impl FnMut(&mut Host<'_>, &str) -> Result<String> + 'a,
    ) -> Self {
        self.hooks.insert(verb.to_owned(), Box::new(action));
        self
    }

    /// Adds device models, each with a name and a PCI slot, of one server; `arguments` are those of `model-server`, which must
    /// be among the programs. Scripts ask `host complaints NAME` for the kinds of things that are said against their drivers.
    #[must_use]
    pub fn models(mut self, devices: &[(&str, u8)], arguments: &[&str]) -> Self {
        let devices = devices.iter().map(|&(name, slot)| (name.to_owned(), slot)).collect();
        let arguments = arguments.iter().map(|&word| word.to_owned()).collect();
        self.models.push(Model { devices, arguments });
        self
    }

    /// Sets the longest time that the whole run may take.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets the longest time without a word from the guest.
    #[must_use]
    pub fn silence(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }

    /// Where the run's files are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Creates a sparse raw image and returns its path. Scripts ask `host blocks NAME` for the
    /// bytes that it takes on the host.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn image(&mut self, name: &str, bytes: u64) -> Result<PathBuf> {
        let path = self.directory.join(format!("{name}.img"));
        let file =
            std::fs::File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        file.set_len(bytes).with_context(|| format!("cannot size {}", path.display()))?;
        self.images.insert(name.to_owned(), path.clone());
        Ok(path)
    }

    /// Adds a sparse raw image as a block backend `name` that frees what is discarded.
    ///
    /// # Errors
    /// When the image cannot be made.
    pub fn disk(mut self, name: &str, bytes: u64) -> Result<Self> {
        let path = self.image(name, bytes)?;
        Ok(self.disk_at(name, &path))
    }

    /// Adds an image that is there already, likewise.
    #[must_use]
    pub fn disk_at(mut self, name: &str, path: &Path) -> Self {
        self.images.insert(name.to_owned(), path.to_owned());
        let path = quote(path);
        self.blockdev(&format!(
            "driver=raw,node-name={name},discard=unmap,file.driver=file,file.filename={path},\
             file.discard=unmap"
        ))
    }

    /// Adds a block backend that reads zeroes and forgets writes: the cheapest there is.
    #[must_use]
    pub fn null_disk(self, name: &str, bytes: u64) -> Self {
        self.blockdev(&format!("driver=null-co,node-name={name},size={bytes},read-zeroes=on"))
    }

    /// Lays out the directory that a Linux guest sees as `/rig`.
    fn share(&self, script: &str) -> Result<PathBuf> {
        let share = self.directory.join("share");
        let scripts = share.join("guest");
        std::fs::create_dir_all(&scripts)?;
        let source = crate::workspace::root()?.join("xtask/guest");
        for entry in
            std::fs::read_dir(&source).with_context(|| format!("cannot read {}", source.display()))?
        {
            let entry = entry?;
            std::fs::copy(entry.path(), scripts.join(entry.file_name()))?;
        }
        if !scripts.join(script).is_file() {
            bail!("there is no guest script {}", source.join(script).display());
        }
        let bin = share.join("bin");
        std::fs::create_dir_all(&bin)?;
        for program in &self.programs {
            let name = program.file_name().context("a program without a name")?;
            std::fs::copy(program, bin.join(name))
                .with_context(|| format!("cannot copy {}", program.display()))?;
        }
        for (path, text) in &self.files {
            let path = share.join(path);
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        let mut environment = format!("export RIG_SCRIPT={}\n", shell(script));
        if self.interactive {
            environment.push_str("export RIG_INTERACTIVE=1\n");
        }
        for (name, value) in &self.environment {
            environment.push_str(&format!("export {name}={}\n", shell(value)));
        }
        std::fs::write(share.join("env"), environment)?;
        Ok(share)
    }

    /// Starts the servers of the guest's models.
    pub(super) fn start_models(&self, sockets: &Path) -> Result<Vec<Server>> {
        let server =
            self.programs.iter().find(|path| path.file_name().is_some_and(|name| name == models::SERVER));
        let start = |model: &Model| {
            let server =
                server.with_context(|| format!("{} is not among the guest's programs", models::SERVER))?;
            model.start(server, sockets, &self.directory)
        };
        self.models.iter().map(start).collect()
    }

    /// The command that starts the guest's QEMU.
    pub(super) fn command(&self, sockets: &Path) -> Result<Command> {
        let mut command = self.qemu.command();
        command
            .args(["-name", &self.name, "-machine", "q35", "-accel", "tcg,thread=multi"])
            .args(["-cpu", CPU, "-m", &self.memory.to_string()])
            .args(["-smp", &self.processors.to_string()])
            .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
            .args(["-run-with", "exit-with-parent=on"]);
        let [control, monitor] = ["control", "monitor"].map(|name| quote(&sockets.join(name)));
        let log = quote(&self.serial_log());
        command
            .arg("-chardev")
            .arg(format!("socket,id=monitor,path={monitor}"))
            .args(["-qmp", "chardev:monitor"])
            .args(["-device", "virtio-rng-pci,addr=0x1c"]);
        match &self.system {
            System::Linux { rig, script } => {
                self.boot_linux(&mut command, rig, &self.share(script)?)?;
                command
                    .arg("-chardev")
                    .arg(format!("socket,id=control,path={control}"))
                    .args(["-device", "virtio-serial-pci,addr=0x1b"])
                    .args(["-device", "virtserialport,chardev=control,name=rig.control"]);
                command.arg("-chardev").arg(if self.interactive {
                    format!("stdio,id=serial,mux=on,signal=off,logfile={log}")
                } else {
                    format!("file,id=serial,path={log}")
                });
                if self.interactive {
                    command.args(["-monitor", "chardev:serial"]);
                }
            }
            System::Disk => {
                command.arg("-chardev").arg(format!("socket,id=serial,path={control},logfile={log}"));
            }
        }
        command.args(["-serial", "chardev:serial"]);
        if !self.traces.is_empty() {
            for pattern in &self.traces {
                command.arg("-trace").arg(format!("enable={pattern}"));
            }
            command.arg("-D").arg(self.trace_log());
        }
        if !self.models.is_empty() {
            // The servers map it.
            let memory = format!("memory-backend-memfd,id=memory,size={}M,share=on", self.memory);
            command.args(["-object", &memory, "-machine", "memory-backend=memory"]);
        }
        for model in &self.models {
            for device in model.devices(sockets) {
                command.args(["-device", &device]);
            }
        }
        command.args(&self.arguments);
        Ok(command)
    }

    /// Kernel, initramfs and shares of a Linux guest.
    fn boot_linux(&self, command: &mut Command, rig: &Rig, share: &Path) -> Result<()> {
        let initrd = self.directory.join("initrd");
        initramfs::write(&rig.kernel, &rig.root, &initrd)?;
        // On a busy host the boot's test of the timer interrupt fails, and with interrupt remapping that is a panic.
        let mut cmdline = "console=ttyS0 panic=-1 no_timer_check rdinit=/init".to_owned();
        for word in &self.cmdline {
            cmdline.push(' ');
            cmdline.push_str(word);
        }
        command.arg("-kernel").arg(&rig.kernel.image).arg("-initrd").arg(&initrd).args(["-append", &cmdline]);
        for (tag, slot) in SLOTS {
            let (path, readonly) = match tag {
                "root" => (rig.root.as_path(), ",readonly=on"),
                "modules" => (rig.kernel.modules.as_path(), ",readonly=on"),
                _ => (share, ""),
            };
            command.arg("-fsdev").arg(format!(
                "local,id={tag},path={},security_model=none,multidevs=remap{readonly}",
                quote(path)
            ));
            command.arg("-device").arg(format!("virtio-9p-pci,fsdev={tag},mount_tag={tag},addr={slot:#x}"));
        }
        Ok(())
    }

    pub(super) fn serial_log(&self) -> PathBuf {
        self.directory.join("serial.log")
    }

    pub(super) fn trace_log(&self) -> PathBuf {
        self.directory.join("trace.log")
    }
}

/// QEMU's option syntax doubles a comma that belongs to a value.
fn quote(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// A word of a shell script.
fn shell(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
