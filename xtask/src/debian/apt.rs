//! A private apt: its own configuration, lists, status and cache below `target/`.
//!
//! Debian's own apt does what only it does right (signatures, checksums, dependency resolution,
//! proxies), without root and without reading or writing any of the system's state.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::sources::{ARCHIVE_KEYRING, Mirror};
use crate::process::{output, require, tail};
use crate::progress::Step;

/// A private apt for one Debian release and its backports.
#[derive(Debug)]
pub struct Apt {
    dir: PathBuf,
    release: String,
}

/// One package of a resolved closure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// The package's name.
    pub name: String,
    /// Its full version.
    pub version: String,
    architecture: String,
}

/// What to install into a tree.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Packages to resolve with all that they depend on.
    pub packages: &'a [&'a str],
    /// Packages that are taken as present, which cuts the closure off at them.
    pub assumed: &'a [&'a str],
    /// Source packages to take from backports rather than from the release.
    pub backported: &'a [&'a str],
}

impl Apt {
    /// Sets up a private apt for `release` in `dir` and fetches the package lists.
    ///
    /// # Errors
    /// When apt is missing or the mirror cannot be reached or verified.
    pub fn open(dir: &Path, mirror: &Mirror, release: &str) -> Result<Self> {
        let why = "the rig takes QEMU, a kernel and a userland from Debian's packages";
        require("apt-get", "apt", why)?;
        require("dpkg-deb", "dpkg", why)?;
        require("tar", "tar", why)?;
        for sub in ["empty", "state/lists/partial", "cache/archives/partial"] {
            let path = dir.join(sub);
            std::fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        }
        let apt = Self { dir: dir.to_owned(), release: release.to_owned() };
        apt.write("apt.conf", &apt.configuration()?)?;
        apt.write("sources.list", &apt.sources(mirror))?;
        apt.write("status", "")?;
        apt.write("preferences", "")?;
        let step = Step::begin(format!("package lists of {release} and {release}-backports"));
        output(apt.get().args(["-q", "update", "--error-on=any"]))?;
        step.done("verified");
        Ok(apt)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.dir.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Of the machine's configuration only what concerns downloading is kept (proxies, timeouts):
    /// its hooks must not run.
    fn configuration(&self) -> Result<String> {
        let dir = self.dir.display();
        let system = output(Command::new("apt-config").arg("dump"))?;
        let mut text: String = system
            .lines()
            .filter(|line| line.starts_with("Acquire::http") || line.starts_with("Acquire::Retries"))
            .flat_map(|line| [line, "\n"])
            .collect();
        text.push_str(&format!(
            "Dir::Etc::main \"/dev/null\";\n\
             Dir::Etc::parts \"{dir}/empty\";\n\
             Dir::Etc::sourcelist \"{dir}/sources.list\";\n\
             Dir::Etc::sourceparts \"{dir}/empty\";\n\
             Dir::Etc::preferences \"{dir}/preferences\";\n\
             Dir::Etc::preferencesparts \"{dir}/empty\";\n\
             Dir::State \"{dir}/state\";\n\
             Dir::State::status \"{dir}/status\";\n\
             Dir::Cache \"{dir}/cache\";\n\
             APT::Architecture \"amd64\";\n\
             APT::Architectures {{ \"amd64\"; }};\n\
             APT::Install-Recommends \"false\";\n\
             APT::Sandbox::User \"root\";\n\
             Acquire::Languages \"none\";\n"
        ));
        Ok(text)
    }

    fn sources(&self, mirror: &Mirror) -> String {
        let keyring = mirror
            .signed_by
            .clone()
            .or_else(|| Path::new(ARCHIVE_KEYRING).exists().then(|| ARCHIVE_KEYRING.to_owned()));
        let option = keyring.map(|key| format!("[signed-by={key}] ")).unwrap_or_default();
        let release = &self.release;
        format!(
            "deb {option}{uri} {release} main\ndeb {option}{uri} {release}-backports main\n",
            uri = mirror.uri
        )
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.dir.join("apt.conf")).env("LC_ALL", "C");
        command
    }

    fn get(&self) -> Command {
        self.command("apt-get")
    }

    /// Names of the packages that match a regular expression.
    ///
    /// # Errors
    /// When apt fails.
    pub fn names(&self, pattern: &str) -> Result<Vec<String>> {
        let found = output(self.command("apt-cache").args(["search", "--names-only", pattern]))?;
        Ok(found.lines().filter_map(|line| line.split_once(" - ")).map(|(name, _)| name.to_owned()).collect())
    }

    /// The versions of a package that the mirror has, newest first.
    ///
    /// # Errors
    /// When apt fails.
    pub fn versions(&self, package: &str) -> Result<Vec<String>> {
        let found = output(self.command("apt-cache").args(["madison", package]))?;
        Ok(found
            .lines()
            .filter_map(|line| line.split('|').nth(1))
            .map(|version| version.trim().to_owned())
            .collect())
    }

    /// Resolves the closure of what is wanted.
    ///
    /// # Errors
    /// When the dependencies cannot be met.
    pub fn resolve(&self, wanted: Wanted<'_>) -> Result<Vec<Package>> {
        let status: String = wanted
            .assumed
            .iter()
            .map(|name| {
                format!(
                    "Package: {name}\nStatus: install ok installed\nArchitecture: amd64\n\
                     Multi-Arch: foreign\nMaintainer: xtask\nVersion: 9999\nDescription: assumed\n\n"
                )
            })
            .collect();
        self.write("status", &status)?;
        let preferences = if wanted.backported.is_empty() {
            String::new()
        } else {
            let sources: String = wanted.backported.iter().map(|source| format!(" src:{source}")).collect();
            format!("Package:{sources}\nPin: release n={}-backports\nPin-Priority: 990\n", self.release)
        };
        self.write("preferences", &preferences)?;
        let plan =
            output(self.get().args(["install", "-s", "--no-install-recommends"]).args(wanted.packages))?;
        Ok(plan.lines().filter_map(parse_inst).collect())
    }

    /// Downloads what [`Apt::resolve`] resolved last; apt verifies every checksum.
    ///
    /// # Errors
    /// When a package cannot be had.
    pub fn download(&self, wanted: Wanted<'_>, step: &mut Step) -> Result<()> {
        let mut child = self
            .get()
            .args(["install", "-y", "-q", "--download-only", "--no-install-recommends"])
            .args(wanted.packages)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start apt-get")?;
        if let Some(stdout) = child.stdout.take() {
            for line in BufReader::new(stdout).lines() {
                let line = line.context("cannot read what apt-get says")?;
                if line.starts_with("Get:") {
                    // "Get:7 MIRROR SUITE/main amd64 NAME ARCH VERSION [SIZE]"
                    step.tick(line.split_whitespace().nth(4).unwrap_or(""));
                }
            }
        }
        let result = child.wait_with_output().context("cannot wait for apt-get")?;
        if !result.status.success() {
            bail!("the download failed: {}", tail(&String::from_utf8_lossy(&result.stderr), 6));
        }
        Ok(())
    }

    /// Downloads one package alone, in the version given.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn download_only(&self, package: &str, version: &str) -> Result<PathBuf> {
        let dir = self.dir.join("cache/single");
        std::fs::create_dir_all(&dir)?;
        output(self.get().current_dir(&dir).args(["-q", "download"]).arg(format!("{package}={version}")))?;
        let prefix = format!("{package}_{}_", escape(version));
        std::fs::read_dir(&dir)?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix)))
            .with_context(|| format!("apt-get left no file for {package} {version}"))
    }

    /// Where a downloaded package lies.
    #[must_use]
    pub fn archive(&self, package: &Package) -> PathBuf {
        self.dir.join("cache/archives").join(package.file_name())
    }
}

impl Package {
    fn file_name(&self) -> String {
        format!("{}_{}_{}.deb", self.name, escape(&self.version), self.architecture)
    }
}

/// apt writes the colon of an epoch as `%3a` in file names.
fn escape(version: &str) -> String {
    version.replace(':', "%3a")
}

/// Parses `Inst NAME [OLD] (VERSION ORIGIN [ARCH])` of a simulated installation.
fn parse_inst(line: &str) -> Option<Package> {
    let rest = line.strip_prefix("Inst ")?;
    let name = rest.split_whitespace().next()?.to_owned();
    let (_, inner) = rest.split_once('(')?;
    let (inner, _) = inner.split_once(')')?;
    let version = inner.split_whitespace().next()?.to_owned();
    let architecture = inner.rsplit_once('[')?.1.strip_suffix(']')?.to_owned();
    Some(Package { name, version, architecture })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn inst_lines() {
        let package =
            parse_inst("Inst libcap2 (1:2.66-4+deb12u3 Debian:12.15/oldstable [amd64]) []").unwrap();
        assert_eq!(package.name, "libcap2");
        assert_eq!(package.file_name(), "libcap2_1%3a2.66-4+deb12u3_amd64.deb");
        let replaced = parse_inst("Inst a [1] (2~b Debian:1/x, Debian:2/y [all])").unwrap();
        assert_eq!(replaced.file_name(), "a_2~b_all.deb");
        assert_eq!(parse_inst("Conf libcap2 (1 Debian [amd64])"), None);
    }
}
