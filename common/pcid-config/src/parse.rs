//! The text of one file.

use serde::Deserialize;
use toml::Spanned;

use crate::DriverConfig;

/// Keys of an entry that pcid knows, and `use_channel`, which its older versions knew.
const KNOWN_KEYS: [&str; 10] = [
    "name",
    "class",
    "subclass",
    "interface",
    "ids",
    "vendor",
    "device",
    "device_id_range",
    "command",
    "use_channel",
];

/// A file that is wrong as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct ParseError {
    /// Line, counted from 1.
    pub line: usize,
    /// What is wrong, on one line.
    pub what: String,
}

/// What one file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// The entries with the line that each begins on.
    pub drivers: Vec<(usize, DriverConfig)>,
    /// Keys that mean nothing to pcid, and are ignored as pcid does: probably misspelt.
    pub unknown_keys: Vec<String>,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    drivers: Vec<Spanned<DriverConfig>>,
}

/// Reads the text of one file.
///
/// # Errors
/// The first thing that is wrong, with its line: no TOML, a value of the wrong type or out of range, an entry
/// without a command, an entry that claims every function.
pub fn parse(text: &str) -> Result<Parsed, ParseError> {
    let document: Document = toml::from_str(text).map_err(|error| ParseError {
        line: error.span().map_or(1, |span| line_of(text, span.start)),
        what: error.message().replace('\n', ", "),
    })?;
    let mut drivers = Vec::with_capacity(document.drivers.len());
    for entry in document.drivers {
        let line = line_of(text, entry.span().start);
        let driver = entry.into_inner();
        if driver.program().is_empty() {
            return Err(ParseError {
                line,
                what: format!("`command` of {} names no program", name(&driver)),
            });
        }
        if driver.command.iter().any(|word| word.contains('\0')) {
            return Err(ParseError { line, what: format!("`command` of {} contains a NUL", name(&driver)) });
        }
        if !driver.has_criteria() {
            let what = format!("{} would claim every PCI function: give a class or an ID", name(&driver));
            return Err(ParseError { line, what });
        }
        drivers.push((line, driver));
    }
    Ok(Parsed { drivers, unknown_keys: unknown_keys(text) })
}

fn name(driver: &DriverConfig) -> String {
    match driver.label() {
        "" => "the entry".to_owned(),
        label => format!("{label:?}"),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|&byte| byte == b'\n').count().saturating_add(1)
}

fn unknown_keys(text: &str) -> Vec<String> {
    // The text has been read once already: a failure here cannot happen, and would only cost a warning.
    let Ok(table) = text.parse::<toml::Table>() else { return Vec::new() };
    let mut unknown: Vec<String> = table.keys().filter(|key| *key != "drivers").cloned().collect();
    let entries = table.get("drivers").and_then(toml::Value::as_array).into_iter().flatten();
    for entry in entries.filter_map(toml::Value::as_table) {
        unknown.extend(entry.keys().filter(|key| !KNOWN_KEYS.contains(&key.as_str())).cloned());
    }
    unknown.sort_unstable();
    unknown.dedup();
    unknown
}
