//! A small blocking client of QEMU's machine protocol (QEMU: docs/interop/qmp-spec.rst).

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// Longest wait for the answer to a command.
const ANSWER: Duration = Duration::from_secs(20);

/// A connection to QEMU on which commands can be given.
#[derive(Debug)]
pub struct Qmp {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
}

impl Qmp {
    /// Takes a fresh connection through the greeting.
    ///
    /// # Errors
    /// When QEMU doesn't speak the protocol in time.
    pub fn new(stream: UnixStream) -> Result<Self> {
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        let writer = stream.try_clone()?;
        let mut qmp = Self { reader: BufReader::new(stream), writer };
        let greeting = qmp.line()?;
        if greeting.get("QMP").is_none() {
            bail!("QEMU's monitor greets with {greeting}");
        }
        qmp.execute("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    /// Gives a command and returns what it returns.
    ///
    /// # Errors
    /// When QEMU refuses it or is silent.
    pub fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let mut text = json!({ "execute": command, "arguments": arguments }).to_string();
        text.push('\n');
        self.writer.write_all(text.as_bytes()).context("cannot write to QEMU's monitor")?;
        let end = Instant::now() + ANSWER;
        while Instant::now() < end {
            let mut answer = self.line()?;
            if let Some(error) = answer.get("error") {
                let reason = error.get("desc").and_then(Value::as_str).unwrap_or("no reason");
                bail!("QEMU refuses {command}: {reason}");
            }
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
            // Anything else is an event, which nobody here waits for.
        }
        bail!("QEMU gave no answer to {command} within {ANSWER:?}")
    }

    /// Gives a command of the human monitor and returns its text.
    ///
    /// # Errors
    /// As [`Qmp::execute`].
    pub fn human(&mut self, line: &str) -> Result<String> {
        let value = self.execute("human-monitor-command", &json!({ "command-line": line }))?;
        Ok(value.as_str().unwrap_or_default().trim().to_owned())
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        let read = self.reader.read_line(&mut line).context("QEMU's monitor is silent")?;
        if read == 0 {
            bail!("QEMU closed its monitor");
        }
        serde_json::from_str(&line).context("QEMU's monitor does not speak JSON")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// A peer that says what it is told to say, one text per line that it hears.
    fn scripted(lines: &'static [&'static str]) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(theirs.try_clone().unwrap());
            let mut theirs = theirs;
            for (index, line) in lines.iter().enumerate() {
                let mut heard = String::new();
                if index > 0 && reader.read_line(&mut heard).unwrap() == 0 {
                    return;
                }
                theirs.write_all(line.as_bytes()).unwrap();
            }
        });
        ours
    }

    #[test]
    fn events_are_skipped_and_errors_named() {
        let mut qmp = Qmp::new(scripted(&[
            "{\"QMP\": {}}\n",
            "{\"return\": {}}\n",
            "{\"event\": \"STOP\"}\n{\"return\": {\"running\": true}}\n",
            "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no such device\"}}\n",
        ]))
        .unwrap();
        let status = qmp.execute("query-status", &json!({})).unwrap();
        assert_eq!(status["running"], true);
        let error = qmp.human("device_del x").unwrap_err().to_string();
        assert!(error.contains("no such device"), "{error}");
    }

    #[test]
    fn a_foreign_greeting_is_refused() {
        assert!(Qmp::new(scripted(&["{\"hello\": 1}\n"])).is_err());
    }
}
