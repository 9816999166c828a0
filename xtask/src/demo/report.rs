//! The report of a demo: `report.html`, which needs nothing but itself, and `results.json`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::html::{STYLE, escape};
use super::{Curve, plot};
use crate::process::{output, tail};
use crate::rig::Qemu;
use crate::rig::console::{Check, Metric};
use crate::workspace;

/// How much of a log the report shows.
const LOG_LINES: usize = 60;

/// One guest's part of the report.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) driver: &'static str,
    pub(crate) title: &'static str,
    pub(crate) guest: &'static str,
    pub(crate) curves: &'static [Curve],
    pub(crate) checks: Vec<Check>,
    pub(crate) metrics: BTreeMap<String, Metric>,
    pub(crate) notes: Vec<String>,
    pub(crate) boot: Duration,
    pub(crate) elapsed: Duration,
    pub(crate) directory: Option<PathBuf>,
}

/// What it ran on.
#[derive(Debug)]
pub(crate) struct Environment {
    title: &'static str,
    rows: Vec<(&'static str, String)>,
}

impl Environment {
    /// What every report tells.
    pub(crate) fn new(title: &'static str, qemu: &Qemu, built_elsewhere: bool) -> Self {
        let git = |arguments: &[&str]| {
            let mut command = std::process::Command::new("git");
            command.args(arguments);
            workspace::root().and_then(|root| output(command.current_dir(root))).ok()
        };
        let commit = git(&["log", "-1", "--format=%h %s (%cI)"]).unwrap_or_default();
        let changes = git(&["status", "--porcelain"]).is_some_and(|text| !text.trim().is_empty());
        let commit = commit.trim().to_owned() + if changes { ", with local changes" } else { "" };
        let threads = std::thread::available_parallelism().map_or(0, usize::from);
        let rustc = output(std::process::Command::new("rustc").arg("--version")).unwrap_or_default();
        let programs = if built_elsewhere { "built elsewhere" } else { "built from this commit" };
        Self {
            title,
            rows: vec![
                ("Commit", commit),
                ("Programs", programs.to_owned()),
                ("QEMU", format!("{}, TCG", qemu.version)),
                ("Compiler", rustc.trim().to_owned()),
                ("Host processors", threads.to_string()),
            ],
        }
    }

    /// Adds what this report tells besides.
    pub(crate) fn add(&mut self, name: &'static str, value: &str) {
        self.rows.push((name, value.to_owned()));
    }
}

/// Writes the report and returns its path.
///
/// # Errors
/// When the files cannot be written.
pub(crate) fn write(dir: &Path, environment: &Environment, sections: &[Section]) -> Result<PathBuf> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let path = dir.join("report.html");
    let bench = dir.with_file_name("bench");
    std::fs::write(&path, html(environment, sections, &bench))
        .with_context(|| format!("cannot write {}", path.display()))?;
    let results = dir.join("results.json");
    std::fs::write(&results, format!("{:#}\n", results_json(environment, sections)))
        .with_context(|| format!("cannot write {}", results.display()))?;
    Ok(path)
}

fn results_json(environment: &Environment, sections: &[Section]) -> serde_json::Value {
    let environment: BTreeMap<_, _> = environment.rows.iter().cloned().collect();
    let guests: Vec<_> = sections
        .iter()
        .map(|section| {
            let checks: Vec<_> = section
                .checks
                .iter()
                .map(|check| {
                    json!({
                        "name": check.name,
                        "passed": check.passed,
                        "detail": check.detail,
                        "seconds": check.took.as_secs_f64(),
                    })
                })
                .collect();
            let metrics: BTreeMap<_, _> = section
                .metrics
                .iter()
                .map(|(name, metric)| (name, json!({"value": metric.value, "unit": metric.unit})))
                .collect();
            json!({
                "driver": section.driver,
                "guest": section.guest,
                "boot_seconds": section.boot.as_secs_f64(),
                "seconds": section.elapsed.as_secs_f64(),
                "checks": checks,
                "metrics": metrics,
            })
        })
        .collect();
    json!({ "environment": environment, "guests": guests })
}

fn html(environment: &Environment, sections: &[Section], bench: &Path) -> String {
    let all = || sections.iter().flat_map(|section| &section.checks);
    let failed = all().filter(|check| !check.passed).count();
    let passed = all().count().saturating_sub(failed);
    let class = if failed == 0 && passed > 0 { "good" } else { "bad" };
    let title = escape(environment.title);
    let mut page = format!(
        "<!doctype html><html lang='en'><meta charset='utf-8'>\
         <meta name='viewport' content='width=device-width'><title>{title}</title>\
         <style>{STYLE}</style><h1>{title}</h1>\
         <p class='sum {class}'>{passed} checks passed, {failed} failed</p><dl>"
    );
    for (name, value) in &environment.rows {
        let _ = write!(page, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value));
    }
    page.push_str("</dl>");
    for section in sections {
        write_section(&mut page, section);
    }
    let drivers: std::collections::BTreeSet<_> = sections.iter().map(|section| section.driver).collect();
    page.extend(drivers.iter().filter_map(|driver| crate::bench::report::excerpt(bench, driver)));
    page.push_str("</html>\n");
    page
}

fn write_section(page: &mut String, section: &Section) {
    let _ = write!(
        page,
        "<h2>{} <small>({})</small></h2><p>Guest {}: up after {:.1} s, {:.1} s in all.</p>\
         <table><tr><th>Result<th>Check<th>Seconds<th>What was seen</tr>",
        escape(section.title),
        escape(section.driver),
        escape(section.guest),
        section.boot.as_secs_f64(),
        section.elapsed.as_secs_f64()
    );
    for check in &section.checks {
        let (class, word) = if check.passed { ("good", "PASS") } else { ("bad", "FAIL") };
        let _ = write!(
            page,
            "<tr><td class='v {class}'>{word}<td>{}<td class='n'>{:.1}<td class='d'>{}</tr>",
            escape(&check.name),
            check.took.as_secs_f64(),
            escape(&check.detail)
        );
    }
    page.push_str("</table>");
    page.push_str(&comparison(section));
    for curve in section.curves {
        page.push_str(&drawn(section, curve));
    }
    for note in &section.notes {
        let _ = write!(page, "<p>{}</p>", escape(note));
    }
    page.push_str(&logs(section));
}

/// Figures that were taken of both drivers: `ours.X` beside `linux.X`.
fn comparison(section: &Section) -> String {
    let rows: Vec<(String, f64, f64, String)> = section
        .metrics
        .iter()
        .filter_map(|(name, metric)| {
            let name = name.strip_prefix("ours.")?;
            let peer = section.metrics.get(&format!("linux.{name}"))?;
            Some((name.replace('_', " "), metric.value, peer.value, metric.unit.clone()))
        })
        .collect();
    if rows.is_empty() { String::new() } else { plot::bars("Side by side in this guest", &rows) }
}

fn drawn(section: &Section, curve: &Curve) -> String {
    let Some(directory) = &section.directory else { return String::new() };
    let Ok(log) = std::fs::read_to_string(directory.join("share/out").join(curve.file)) else {
        return String::new();
    };
    let (mark, label) = curve.mark;
    let marks: Vec<(f64, &str)> =
        section.metrics.get(mark).map(|metric| (metric.value, label)).into_iter().collect();
    plot::curve(curve.title, &plot::points(&log), &marks)
}

/// The ends of the console and of whatever logs the script left.
fn logs(section: &Section) -> String {
    let Some(directory) = &section.directory else { return String::new() };
    let mut files = vec![directory.join("serial.log")];
    if let Ok(entries) = std::fs::read_dir(directory.join("share/out")) {
        let mut found: Vec<PathBuf> = entries
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
            .collect();
        found.sort();
        files.extend(found);
    }
    let mut out = String::new();
    for file in files {
        let Ok(bytes) = std::fs::read(&file) else { continue };
        let text = String::from_utf8_lossy(&bytes).replace('\r', "");
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let _ = write!(
            out,
            "<details><summary>{} (last {LOG_LINES} lines)</summary><pre>{}</pre></details>",
            escape(&name),
            escape(&tail(&text, LOG_LINES))
        );
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn section(directory: PathBuf) -> Section {
        let metric = |name: &str, value| {
            let metric = Metric { name: name.to_owned(), value, unit: "IOPS".to_owned() };
            (name.to_owned(), metric)
        };
        Section {
            driver: "nvmed",
            title: "A <title>",
            guest: "g",
            curves: &[Curve { file: "kill.log", title: "curve", mark: ("kill.at", "SIGKILL") }],
            checks: vec![Check {
                name: "sound".to_owned(),
                passed: false,
                detail: "</td><script>".to_owned(),
                took: Duration::from_millis(1500),
            }],
            metrics: [metric("ours.read", 4.0), metric("linux.read", 2.0), metric("kill.at", 1.0)].into(),
            notes: vec!["a note".to_owned()],
            boot: Duration::from_secs(8),
            elapsed: Duration::from_secs(9),
            directory: Some(directory),
        }
    }

    #[test]
    fn the_report_is_whole_and_safe() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("share/out")).unwrap();
        std::fs::write(dir.path().join("share/out/kill.log"), "100, 5, 1, 0\n").unwrap();
        std::fs::write(dir.path().join("share/out/nvmed.txt"), "daemon's <words>\n").unwrap();
        let environment = Environment { title: "t", rows: vec![("QEMU", "11".to_owned())] };
        let path = write(&dir.path().join("demo"), &environment, &[section(dir.path().to_owned())]).unwrap();
        let page = std::fs::read_to_string(path).unwrap();
        for wanted in
            ["0 checks passed, 1 failed", "SIGKILL", "a note", "daemon&#39;s &lt;words&gt;", "Side by side"]
        {
            assert!(page.contains(wanted), "{wanted}");
        }
        assert!(!page.contains("<script>") && !page.contains("http"), "the page must stand alone");
        let json = std::fs::read_to_string(dir.path().join("demo/results.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["guests"][0]["checks"][0]["passed"], false);
    }
}
