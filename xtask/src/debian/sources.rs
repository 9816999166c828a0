//! Finds the Debian mirror in the machine's own apt configuration.
//!
//! Both of apt's formats are read (sources.list(5)): one-line entries and deb822 stanzas. Other
//! suites than the configured one are taken from the same mirror, so one good entry is enough.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The keyring that Debian's `debian-archive-keyring` package installs.
pub(super) const ARCHIVE_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Codenames by which an entry is recognised as one of the Debian archive.
const CODENAMES: [&str; 7] = ["bookworm", "trixie", "forky", "bullseye", "sid", "testing", "unstable"];

/// A place from which Debian suites can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The archive's base, as apt takes it.
    pub uri: String,
    /// The keyring that the entry names, when it names one.
    pub signed_by: Option<String>,
}

#[derive(Debug, Default, Clone)]
struct Entry {
    uris: Vec<String>,
    suites: Vec<String>,
    components: Vec<String>,
    signed_by: Option<String>,
}

/// Finds the Debian archive's mirror below `etc_apt` (usually `/etc/apt`).
///
/// # Errors
/// When no file there has an entry for the Debian archive.
pub(super) fn find(etc_apt: &Path) -> Result<Mirror> {
    let mut files = vec![etc_apt.join("sources.list")];
    if let Ok(dir) = std::fs::read_dir(etc_apt.join("sources.list.d")) {
        let mut parts: Vec<PathBuf> = dir.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
        parts.sort();
        files.extend(parts);
    }
    let mut entries = Vec::new();
    for file in files {
        let deb822 = match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => false,
            Some("sources") => true,
            _ => continue,
        };
        if !file.exists() {
            continue;
        }
        let text =
            std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        if deb822 {
            parse_deb822(&text, &mut entries);
        } else {
            text.lines().filter_map(parse_one_line).for_each(|entry| entries.push(entry));
        }
    }
    match best(&entries) {
        Some(mirror) => Ok(mirror),
        None => bail!(
            "no entry of the Debian archive below {}: pass --mirror URL, or --qemu, --kernel, \
             --modules and --root on a system that is not Debian",
            etc_apt.display()
        ),
    }
}

/// Picks the entry that is most surely the Debian archive and not a third party's repository with
/// a suite of the same name.
fn best(entries: &[Entry]) -> Option<Mirror> {
    let mut found: Option<(u32, Mirror)> = None;
    for entry in entries {
        if !entry.components.iter().any(|component| component == "main") {
            continue;
        }
        for suite in entry.suites.iter().filter(|suite| CODENAMES.contains(&suite.as_str())) {
            for uri in &entry.uris {
                let updates = format!("{suite}-updates");
                let has_updates =
                    entries.iter().any(|other| other.uris.contains(uri) && other.suites.contains(&updates));
                let mut score = 1;
                score += 4 * u32::from(uri.trim_end_matches('/').ends_with("/debian"));
                score += 2 * u32::from(has_updates);
                score += 2 * u32::from(
                    entry.signed_by.as_deref().is_some_and(|key| key.contains("debian-archive")),
                );
                if found.as_ref().is_none_or(|(best, _)| score > *best) {
                    let signed_by = entry.signed_by.clone();
                    found = Some((score, Mirror { uri: uri.clone(), signed_by }));
                }
            }
        }
    }
    found.map(|(_, mirror)| mirror)
}

fn parse_one_line(line: &str) -> Option<Entry> {
    let line = line.split('#').next().unwrap_or("").trim();
    let mut rest = line.strip_prefix("deb")?.strip_prefix(|c: char| c.is_whitespace())?.trim();
    let mut entry = Entry::default();
    if let Some(inner) = rest.strip_prefix('[') {
        let (options, after) = inner.split_once(']')?;
        entry.signed_by = options
            .split_whitespace()
            .find_map(|option| option.strip_prefix("signed-by="))
            .map(str::to_owned);
        rest = after.trim();
    }
    let mut words = rest.split_whitespace().map(str::to_owned);
    entry.uris.push(words.next()?);
    entry.suites.push(words.next()?);
    entry.components.extend(words);
    Some(entry)
}

fn parse_deb822(text: &str, entries: &mut Vec<Entry>) {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.trim_start().starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            entries.extend(stanza(&fields));
            fields.clear();
        } else if line.starts_with(char::is_whitespace) {
            if let Some((_, value)) = fields.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((key, value)) = line.split_once(':') {
            fields.push((key.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
}

fn stanza(fields: &[(String, String)]) -> Option<Entry> {
    let words = |name: &str| -> Vec<String> {
        fields
            .iter()
            .filter(|(key, _)| key == name)
            .flat_map(|(_, value)| value.split_whitespace().map(str::to_owned))
            .collect()
    };
    let disabled = words("enabled").iter().any(|word| word.eq_ignore_ascii_case("no"));
    if disabled || !words("types").iter().any(|kind| kind == "deb") {
        return None;
    }
    Some(Entry {
        uris: words("uris"),
        suites: words("suites"),
        components: words("components"),
        // A key may also stand in the file itself; then Debian's own keyring is used instead.
        signed_by: words("signed-by").into_iter().find(|word| word.starts_with('/')),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn with(files: &[(&str, &str)]) -> Result<Mirror> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sources.list.d")).unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        find(dir.path())
    }

    #[test]
    fn one_line_with_options() {
        let text = "# deb http://old.invalid/debian bookworm main\n\
                    deb-src http://src.invalid/debian bookworm main\n\
                    deb [arch=amd64 signed-by=/k.gpg] http://a.invalid/debian bookworm main contrib\n";
        let mirror = with(&[("sources.list", text)]).unwrap();
        assert_eq!(mirror.uri, "http://a.invalid/debian");
        assert_eq!(mirror.signed_by.as_deref(), Some("/k.gpg"));
    }

    #[test]
    fn deb822_among_third_parties() {
        let debian = "Types: deb deb-src\n# a remark\nURIs: http://b.invalid/debian\nSuites: bookworm\n \
                      bookworm-updates\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n";
        let other = "deb http://vendor.invalid/apt bookworm main\n";
        let mirror =
            with(&[("sources.list.d/debian.sources", debian), ("sources.list.d/a.list", other)]).unwrap();
        assert_eq!(mirror.uri, "http://b.invalid/debian");
        assert_eq!(mirror.signed_by.as_deref(), Some(ARCHIVE_KEYRING));
    }

    #[test]
    fn disabled_and_security_entries_do_not_count() {
        let text = "Types: deb\nEnabled: no\nURIs: http://c.invalid/debian\nSuites: bookworm\nComponents: main\n\n\
                    Types: deb\nURIs: http://c.invalid/debian-security\nSuites: bookworm-security\nComponents: main\n";
        let error = with(&[("sources.list.d/x.sources", text)]).unwrap_err();
        assert!(error.to_string().contains("--mirror"), "{error}");
    }
}
