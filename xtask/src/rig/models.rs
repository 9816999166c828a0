//! Device models beside a guest: servers that QEMU's `vfio-user-pci` speaks with.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The program that serves them.
pub(super) const SERVER: &str = "model-server";

/// How long a server may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// Models that one server has, and a guest as devices.
#[derive(Debug)]
pub(super) struct Model {
    /// Each device's name and PCI slot.
    pub(super) devices: Vec<(String, u8)>,
    /// What the server is told of the devices.
    pub(super) arguments: Vec<String>,
}

impl Model {
    pub(super) fn is(&self, name: &str) -> bool {
        self.devices.iter().any(|(device, _)| device == name)
    }

    fn name(&self) -> &str {
        self.devices.first().map_or("", |(name, _)| name)
    }

    fn log(&self, directory: &Path) -> PathBuf {
        directory.join(format!("{}.model.log", self.name()))
    }

    fn sockets(&self, directory: &Path) -> Vec<PathBuf> {
        self.devices.iter().map(|(name, _)| directory.join(name)).collect()
    }

    /// What QEMU is told of them.
    pub(super) fn devices(&self, sockets: &Path) -> Vec<String> {
        let device = |(name, slot): &(String, u8)| {
            serde_json::json!({
                "driver": "vfio-user-pci",
                "socket": { "type": "unix", "path": sockets.join(name) },
                "addr": format!("{slot:#x}"),
            })
            .to_string()
        };
        self.devices.iter().map(device).collect()
    }

    /// Starts its server, and waits until it listens.
    pub(super) fn start(&self, program: &Path, sockets: &Path, directory: &Path) -> Result<Server> {
        let sockets = self.sockets(sockets);
        let path = self.log(directory);
        let log = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        let child = Command::new(program)
            .args(sockets.iter().flat_map(|socket| ["--socket".as_ref(), socket.as_os_str()]))
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut server = Server(child);
        let end = Instant::now() + PATIENCE;
        while !sockets.iter().all(|socket| socket.exists()) {
            if let Some(status) = server.0.try_wait().context("cannot watch a model's server")? {
                let said = std::fs::read_to_string(&path).unwrap_or_default();
                bail!("the model {} ended ({status}): {}", self.name(), said.trim());
            }
            if Instant::now() > end {
                bail!("the model {} does not listen after {PATIENCE:?}", self.name());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    /// What the models have said against their drivers so far: each kind once, in the order of the alphabet.
    pub(super) fn complaints(&self, directory: &Path) -> Result<String> {
        let path = self.log(directory);
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let kinds: BTreeSet<&str> = text.lines().filter_map(complaint).collect();
        Ok(kinds.into_iter().collect::<Vec<_>>().join(" "))
    }
}

/// The kind of a complaint in a line of a server's log: the name before its details.
fn complaint(line: &str) -> Option<&str> {
    let (_, said) = line.split_once("did what is forbidden: ")?;
    said.split(|letter: char| !letter.is_ascii_alphanumeric()).next()
}

/// A server that does not outlive the guest's run.
#[derive(Debug)]
pub(super) struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_have_kinds() {
        let line = "2026 [model@m ERROR] the guest's driver did what is forbidden: StartedEarly { port: 1 }";
        assert_eq!(complaint(line), Some("StartedEarly"));
        assert_eq!(complaint("did what is forbidden: Odd"), Some("Odd"));
        assert_eq!(complaint("2026 [model@m INFO] an NVMe controller"), None);
    }
}
