//! A guest while it runs.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use super::console::{Check, Message, Metric};
use super::control::{Control, Endpoint};
use super::guest::{Guest, System};
use super::qmp::Qmp;
use crate::process::tail;

/// How often a silent guest is looked at.
const GLANCE: Duration = Duration::from_millis(100);

/// How long a guest may take to power off after its script's end.
const POWER_OFF: Duration = Duration::from_secs(30);

/// An action of the host that a guest's script can ask for.
pub type Hook<'a> = Box<dyn FnMut(&mut Host<'_>, &str) -> Result<String> + 'a>;

/// What an action of the host can reach.
#[derive(Debug)]
pub struct Host<'a> {
    /// QEMU's monitor.
    pub qmp: &'a mut Qmp,
    /// The images of the guest by name.
    pub images: &'a BTreeMap<String, PathBuf>,
    /// QEMU's trace events so far, when any are recorded.
    pub trace: &'a Path,
}

/// What QEMU counted of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskUse {
    /// Its back end, or its device where that has no name.
    pub name: String,
    /// Flushes that its device was asked for. QEMU's NVMe controller does not count them.
    pub flushes: u64,
}

/// How a run ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The script's results, in order.
    pub checks: Vec<Check>,
    /// The script's figures.
    pub metrics: Vec<Metric>,
    /// The script's remarks.
    pub notes: Vec<String>,
    /// What the disks were asked for, when the guest had a system of its own.
    pub disks: Vec<DiskUse>,
    /// The script's exit status.
    pub status: i32,
    /// From QEMU's start to the script's first line.
    pub boot: Duration,
    /// The whole run.
    pub elapsed: Duration,
    /// The run's files: `serial.log`, `trace.log`, `share/out`.
    pub directory: PathBuf,
}

impl Guest<'_> {
    /// Runs the guest to its end, telling `observe` of each message as it comes.
    ///
    /// # Errors
    /// When QEMU doesn't start or ends early, or a deadline passes; the message has the end of the
    /// serial console. Failed checks are no error here: they are in the outcome.
    pub fn run(mut self, observe: &mut dyn FnMut(&Message)) -> Result<Outcome> {
        self.watch(observe).map_err(|error| {
            let serial = std::fs::read(self.serial_log()).unwrap_or_default();
            let serial = String::from_utf8_lossy(&serial).replace('\r', "");
            anyhow!(
                "guest {}: {error:#}\n--- last lines of {} ---\n{}",
                self.name,
                self.serial_log().display(),
                tail(&serial, 25)
            )
        })
    }

    /// Runs the guest with its serial console on this terminal, until its shell ends.
    ///
    /// # Errors
    /// When QEMU doesn't start or fails.
    pub fn interact(mut self) -> Result<()> {
        self.interactive = true;
        self.deadline = Duration::MAX;
        self.silence = Duration::MAX;
        self.watch(&mut |_| {}).map(|_| ())
    }

    fn watch(&mut self, observe: &mut dyn FnMut(&Message)) -> Result<Outcome> {
        // Socket paths are bound to 107 bytes, which a path below target/ may exceed.
        let sockets = tempfile::tempdir().context("cannot create a temporary directory")?;
        let control = Endpoint::listen(&sockets.path().join("control"))?;
        let monitor = Endpoint::listen(&sockets.path().join("monitor"))?;
        let said = self.directory.join("qemu.log");
        let _models = self.start_models(sockets.path())?;
        let mut command = self.command(sockets.path())?;
        if !self.interactive {
            let log = File::create(&said)?;
            command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        }
        let started = Instant::now();
        let mut qemu = Running(command.spawn().context("cannot start QEMU")?);
        let result = (|| {
            let console = matches!(self.system, System::Disk);
            let control = Control::new(control.accept(&mut qemu.0)?, console)?;
            let qmp = Qmp::new(monitor.accept(&mut qemu.0)?)?;
            self.listen(&mut qemu, control, qmp, started, observe)
        })();
        result.map_err(|error| {
            let said = std::fs::read_to_string(&said).unwrap_or_default();
            if said.trim().is_empty() { error } else { anyhow!("{error:#}: {}", tail(&said, 4)) }
        })
    }

    fn listen(
        &mut self,
        qemu: &mut Running,
        mut control: Control,
        mut qmp: Qmp,
        started: Instant,
        observe: &mut dyn FnMut(&Message),
    ) -> Result<Outcome> {
        let mut outcome = Outcome { status: -1, directory: self.directory.clone(), ..Outcome::default() };
        let mut heard = Instant::now();
        let mut checked = started;
        let mut serial_length = 0;
        loop {
            match control.messages.recv_timeout(GLANCE) {
                Ok(mut message) => {
                    heard = Instant::now();
                    match &mut message {
                        Message::Ready => {
                            outcome.boot = started.elapsed();
                            checked = heard;
                        }
                        Message::Check(check) => {
                            check.took = heard.duration_since(checked);
                            checked = heard;
                            outcome.checks.push(check.clone());
                        }
                        Message::Metric(metric) => outcome.metrics.push(metric.clone()),
                        Message::Note(note) => outcome.notes.push(note.clone()),
                        Message::Host { verb, arguments } => {
                            let answer = self.host(&mut qmp, verb, arguments);
                            control.answer(&answer)?;
                        }
                        Message::Exit(status) => outcome.status = *status,
                        Message::Unknown(line) => {
                            bail!("the guest said {line:?}, which is no message");
                        }
                    }
                    observe(&message);
                    if matches!(message, Message::Exit(_)) {
                        match self.system {
                            System::Linux { .. } => {
                                qemu.end(POWER_OFF)?;
                            }
                            System::Disk => {
                                outcome.disks = disks(&mut qmp)?;
                                qemu.cut();
                            }
                        }
                        outcome.elapsed = started.elapsed();
                        return Ok(outcome);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let status = qemu.end(POWER_OFF)?;
                    bail!("QEMU ended before the script did ({status})");
                }
            }
            let length = std::fs::metadata(self.serial_log()).map_or(0, |data| data.len());
            if length != serial_length {
                serial_length = length;
                heard = Instant::now();
            }
            if started.elapsed() > self.deadline {
                bail!("not done after {:?}", self.deadline);
            }
            if heard.elapsed() > self.silence {
                bail!("no word for {:?}", self.silence);
            }
        }
    }

    /// Does what a script asks the host for.
    fn host(&mut self, qmp: &mut Qmp, verb: &str, arguments: &str) -> Result<String> {
        let trace = self.trace_log();
        if let Some(hook) = self.hooks.get_mut(verb) {
            let mut host = Host { qmp, images: &self.images, trace: &trace };
            return hook(&mut host, arguments);
        }
        match verb {
            "qmp" => {
                let request: Value = serde_json::from_str(arguments).context("not JSON")?;
                let command = request.get("execute").and_then(Value::as_str);
                let command = command.context("no \"execute\"")?;
                let none = Value::Object(serde_json::Map::new());
                let arguments = request.get("arguments").unwrap_or(&none);
                Ok(qmp.execute(command, arguments)?.to_string())
            }
            "hmp" => qmp.human(arguments),
            "complaints" => {
                let model = self.models.iter().find(|model| model.is(arguments));
                model.context("no such model")?.complaints(&self.directory)
            }
            "blocks" => {
                let path = self.images.get(arguments).context("no such image")?;
                let blocks = std::fs::metadata(path)?.blocks();
                Ok(blocks.saturating_mul(512).to_string())
            }
            "trace-count" => {
                let text = std::fs::read(&trace).context("no trace events are recorded")?;
                let text = String::from_utf8_lossy(&text);
                Ok(text.lines().filter(|line| line.contains(arguments)).count().to_string())
            }
            _ => bail!("the host has no action {verb}"),
        }
    }
}

/// Asks QEMU what its disks have done.
fn disks(qmp: &mut Qmp) -> Result<Vec<DiskUse>> {
    let answer = qmp.execute("query-blockstats", &Value::Object(serde_json::Map::new()))?;
    let disks = answer.as_array().context("query-blockstats returns no list")?;
    Ok(disks.iter().map(disk_use).collect())
}

fn disk_use(disk: &Value) -> DiskUse {
    let text = |key: &str| disk.get(key).and_then(Value::as_str);
    let flushes = disk.pointer("/stats/flush_operations").and_then(Value::as_u64);
    DiskUse {
        name: text("node-name").or_else(|| text("qdev")).unwrap_or("?").to_owned(),
        flushes: flushes.unwrap_or(0),
    }
}

/// A QEMU that does not outlive its owner.
struct Running(Child);

impl Running {
    fn end(&mut self, within: Duration) -> Result<std::process::ExitStatus> {
        let end = Instant::now() + within;
        while Instant::now() < end {
            if let Some(status) = self.0.try_wait().context("cannot watch QEMU")? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("QEMU did not end within {within:?}")
    }
}

impl Running {
    /// Cuts the guest's power: what its devices have not been given is lost.
    fn cut(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.cut();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flushes_are_counted_by_disk() {
        let disk = serde_json::json!({"node-name": "data", "stats": {"flush_operations": 3}});
        assert_eq!(disk_use(&disk), DiskUse { name: "data".to_owned(), flushes: 3 });
        let disk = serde_json::json!({"qdev": "/machine/x", "stats": {}});
        assert_eq!(disk_use(&disk), DiskUse { name: "/machine/x".to_owned(), flushes: 0 });
    }
}
