//! The results for machines and for people.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// One measured figure beside its peer's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// What was measured.
    pub name: String,
    /// The figures' unit.
    pub unit: String,
    /// Our median; nothing when only the peer ran.
    pub ours: Option<f64>,
    /// The peer's median.
    pub peer: f64,
    /// Who the peer is.
    pub peer_name: String,
    /// Median of the pairs' ours / peer.
    pub ratio: Option<f64>,
    /// Number of pairs.
    pub runs: usize,
    /// What was run, ours and the peer's.
    pub command: String,
}

/// Writes `NAME.json` and `NAME.html`.
///
/// # Errors
/// When a file cannot be written.
pub fn write(directory: &Path, name: &str, title: &str, entries: &[Entry]) -> Result<()> {
    std::fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let json = directory.join(format!("{name}.json"));
    let text = serde_json::to_string_pretty(entries)? + "\n";
    std::fs::write(&json, text).with_context(|| format!("cannot write {}", json.display()))?;
    let html = directory.join(format!("{name}.html"));
    std::fs::write(&html, page(title, entries)).with_context(|| format!("cannot write {}", html.display()))
}

/// The last results as a part of another page: the figures of small requests in a deep queue, which targets speak of.
/// Nothing when nothing was measured.
#[must_use]
pub fn excerpt(directory: &Path, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(directory.join(format!("{name}.json"))).ok()?;
    let mut entries: Vec<Entry> = serde_json::from_str(&text).ok()?;
    entries.retain(|entry| entry.name.starts_with("4 KiB randread QD32") || entry.unit == "op/s");
    if entries.is_empty() {
        return None;
    }
    Some(format!(
        "<h2>Speed <small>({})</small></h2><p>Medians of the last <code>cargo xtask bench</code>; all figures are in \
         <code>bench/{}.html</code>.</p>{}",
        escape(name),
        escape(name),
        plot(&entries)
    ))
}

/// The entries as lines for a terminal.
#[must_use]
pub fn table(entries: &[Entry]) -> String {
    let width = entries.iter().map(|entry| entry.name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for Entry { name, unit, ours, peer, peer_name, ratio, runs, .. } in entries {
        let ours = ours.map_or_else(|| "-".to_owned(), figure);
        let ratio = ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
        let _ = writeln!(
            text,
            "{name:width$}  ours {ours:>9}  {peer_name} {:>9} {unit}  ratio {ratio} ({runs} pairs)",
            figure(*peer)
        );
    }
    text
}

/// A page with the plot and the table.
#[must_use]
pub fn page(title: &str, entries: &[Entry]) -> String {
    let title = escape(title);
    let mut rows = String::new();
    for Entry { name, unit, ours, peer, peer_name, ratio, runs, command } in entries {
        let ours = ours.map_or_else(|| "–".to_owned(), figure);
        let ratio = ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.3}"));
        let _ = writeln!(
            rows,
            "<tr title=\"{}\"><td>{}</td><td>{ours}</td><td>{}</td><td>{}</td><td>{}</td><td>{ratio}</td>\
             <td>{runs}</td></tr>",
            escape(command),
            escape(name),
            figure(*peer),
            escape(unit),
            escape(peer_name)
        );
    }
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\n<style>{STYLE}</style>\
         </head><body>\n<h1>{title}</h1>\n{}\n<table><thead><tr><th>measured</th><th>ours</th><th>peer</th>\
         <th>unit</th><th>peer is</th><th>ours / peer</th><th>pairs</th></tr></thead><tbody>\n{rows}</tbody></table>\n\
         </body></html>\n",
        plot(entries)
    )
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse;margin-top:1.5rem}td,th{padding:.25rem .75rem;border-bottom:1px solid #ddd;\
text-align:right}td:first-child,th:first-child{text-align:left}";

/// Height of one entry, width of the names and of the longest bar.
const ROW: usize = 44;
const NAMES: f64 = 330.0;
const BARS: f64 = 460.0;

/// A plot: two bars per entry, scaled to the longer of the two, since units differ from entry to entry.
#[must_use]
pub fn plot(entries: &[Entry]) -> String {
    let height = entries.len().saturating_mul(ROW).saturating_add(30);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 960 {height}\" font-family=\"system-ui,sans-serif\" \
         font-size=\"13\" role=\"img\">\n<rect x=\"{NAMES}\" y=\"4\" width=\"12\" height=\"12\" fill=\"#c0392b\"/>\
         <text x=\"{:.0}\" y=\"15\">ours</text><rect x=\"{:.0}\" y=\"4\" width=\"12\" height=\"12\" fill=\"#8a97a6\"/>\
         <text x=\"{:.0}\" y=\"15\">peer</text>\n",
        NAMES + 18.0,
        NAMES + 70.0,
        NAMES + 88.0
    );
    for (index, entry) in entries.iter().enumerate() {
        let top = index.saturating_mul(ROW).saturating_add(30);
        let longest = entry.ours.unwrap_or(0.0).max(entry.peer);
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            NAMES - 10.0,
            top.saturating_add(22),
            escape(&entry.name)
        );
        bar(&mut svg, top, entry.ours, longest, "#c0392b", &entry.unit);
        bar(&mut svg, top.saturating_add(16), Some(entry.peer), longest, "#8a97a6", &entry.unit);
    }
    svg.push_str("</svg>");
    svg
}

fn bar(svg: &mut String, top: usize, value: Option<f64>, longest: f64, colour: &str, unit: &str) {
    let Some(value) = value else { return };
    let width = if longest > 0.0 { value / longest * BARS } else { 0.0 };
    let _ = writeln!(
        svg,
        "<rect x=\"{NAMES}\" y=\"{}\" width=\"{width:.1}\" height=\"14\" fill=\"{colour}\"/>\
         <text x=\"{:.1}\" y=\"{}\" font-size=\"11\">{} {}</text>",
        top.saturating_add(4),
        NAMES + width + 5.0,
        top.saturating_add(15),
        figure(value),
        escape(unit)
    );
}

/// A figure with as many digits as mean something.
fn figure(value: impl std::borrow::Borrow<f64>) -> String {
    let value = *value.borrow();
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(ours: Option<f64>) -> Entry {
        Entry {
            name: "4 KiB randread QD32 <x>".to_owned(),
            unit: "instructions/op".to_owned(),
            ours,
            peer: 8000.0,
            peer_name: "Linux nvme".to_owned(),
            ratio: ours.map(|ours| ours / 8000.0),
            runs: 8,
            command: "a \"b\"".to_owned(),
        }
    }

    #[test]
    fn json_has_the_agreed_keys() {
        let value = serde_json::to_value([entry(Some(2000.0))]).unwrap();
        let object = value[0].as_object().unwrap();
        for key in ["name", "unit", "ours", "peer", "peer_name", "ratio", "runs", "command"] {
            assert!(object.contains_key(key), "{key}");
        }
        assert_eq!(object["ratio"], 0.25);
        assert!(serde_json::to_value(entry(None)).unwrap()["ours"].is_null());
    }

    #[test]
    fn bars_are_in_proportion() {
        let svg = plot(&[entry(Some(2000.0))]);
        assert!(svg.contains("width=\"115.0\""), "{svg}");
        assert!(svg.contains("width=\"460.0\""), "{svg}");
        assert_eq!(plot(&[entry(None)]).matches("height=\"14\"").count(), 1);
    }

    #[test]
    fn text_is_escaped() {
        let page = page("a & b", &[entry(Some(1.0))]);
        assert!(page.contains("a &amp; b"));
        assert!(page.contains("QD32 &lt;x&gt;"));
        assert!(page.contains("a &quot;b&quot;"));
    }

    #[test]
    fn an_excerpt_has_what_was_written() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(excerpt(directory.path(), "nvmed"), None);
        let other = Entry { name: "128 KiB seqread QD1".to_owned(), ..entry(None) };
        write(directory.path(), "nvmed", "t", &[entry(Some(1.0)), other]).unwrap();
        let part = excerpt(directory.path(), "nvmed").unwrap();
        assert!(part.contains("4 KiB randread QD32") && !part.contains("seqread"), "{part}");
    }

    #[test]
    fn both_files_are_written() {
        let directory = tempfile::tempdir().unwrap();
        write(&directory.path().join("bench"), "nvmed", "t", &[entry(Some(1.0))]).unwrap();
        let json = std::fs::read_to_string(directory.path().join("bench/nvmed.json")).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap().as_array().unwrap().len(), 1);
        assert!(directory.path().join("bench/nvmed.html").is_file());
    }
}
