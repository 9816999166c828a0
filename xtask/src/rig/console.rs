//! What a guest says over the control port, as types.

use std::time::Duration;

/// What a message begins with where other text is on the line before it, or on other lines: on a serial console.
pub const MARK: &str = "@rig ";

/// One result of a guest's script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// Whether it held.
    pub passed: bool,
    /// What was seen.
    pub detail: String,
    /// How long it took: the time since the check before it.
    pub took: Duration,
}

/// One measured figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// What was measured.
    pub name: String,
    /// The figure.
    pub value: f64,
    /// Its unit, possibly empty.
    pub unit: String,
}

/// One line from the guest.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// The guest's script begins.
    Ready,
    /// A result; its time is filled in by the host.
    Check(Check),
    /// A remark for the reader.
    Note(String),
    /// A figure.
    Metric(Metric),
    /// The guest asks the host for something and waits for the answer.
    Host {
        /// What is asked for.
        verb: String,
        /// The rest of the line.
        arguments: String,
    },
    /// The script ended with this status.
    Exit(i32),
    /// None of the above.
    Unknown(String),
}

impl Message {
    /// Parses the message in a line of a serial console, if it has one.
    #[must_use]
    pub fn marked(line: &str) -> Option<Self> {
        line.split_once(MARK).map(|(_, message)| Self::parse(message))
    }

    /// Parses one line.
    #[must_use]
    pub fn parse(line: &str) -> Self {
        let line = line.trim_end();
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let parsed = match word {
            "READY" => Some(Self::Ready),
            "CHECK" => check(rest),
            "NOTE" => Some(Self::Note(rest.to_owned())),
            "METRIC" => metric(rest),
            "HOST" => {
                let (verb, arguments) = rest.split_once(' ').unwrap_or((rest, ""));
                Some(Self::Host { verb: verb.to_owned(), arguments: arguments.to_owned() })
            }
            "EXIT" => rest.parse().ok().map(Self::Exit),
            _ => None,
        };
        parsed.unwrap_or_else(|| Self::Unknown(line.to_owned()))
    }
}

fn check(rest: &str) -> Option<Message> {
    let (name, verdict) = rest.split_once(": ")?;
    let (word, detail) = verdict.split_once(' ').unwrap_or((verdict, ""));
    let passed = match word {
        "PASS" => true,
        "FAIL" => false,
        _ => return None,
    };
    Some(Message::Check(Check {
        name: name.to_owned(),
        passed,
        detail: detail.trim().to_owned(),
        took: Duration::ZERO,
    }))
}

fn metric(rest: &str) -> Option<Message> {
    let mut words = rest.split_whitespace();
    let name = words.next()?.to_owned();
    let value = words.next()?.parse().ok()?;
    Some(Message::Metric(Metric { name, value, unit: words.next().unwrap_or("").to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_messages() {
        assert_eq!(Message::parse("READY\r\n"), Message::Ready);
        assert_eq!(Message::parse("EXIT 3"), Message::Exit(3));
        let check = Check {
            name: "mkfs.ext4".to_owned(),
            passed: false,
            detail: "status 1: no: space".to_owned(),
            took: Duration::ZERO,
        };
        assert_eq!(Message::parse("CHECK mkfs.ext4: FAIL status 1: no: space"), Message::Check(check));
        assert_eq!(
            Message::parse("HOST qmp {\"execute\": \"stop\"}"),
            Message::Host { verb: "qmp".to_owned(), arguments: "{\"execute\": \"stop\"}".to_owned() }
        );
        let metric = Metric { name: "iops".to_owned(), value: 3.5, unit: "k/s".to_owned() };
        assert_eq!(Message::parse("METRIC iops 3.5 k/s"), Message::Metric(metric));
    }

    #[test]
    fn a_console_has_messages_among_other_lines() {
        assert_eq!(Message::marked("kernel::startup: READY\r"), None);
        assert_eq!(Message::marked("torn li@rig EXIT 0\r"), Some(Message::Exit(0)));
        assert_eq!(Message::marked("@rig nonsense"), Some(Message::Unknown("nonsense".to_owned())));
    }

    #[test]
    fn what_is_malformed_is_unknown_and_never_a_pass() {
        for line in ["CHECK x", "CHECK x: MAYBE", "EXIT", "EXIT soon", "METRIC a b", "", "PASS"] {
            assert_eq!(Message::parse(line), Message::Unknown(line.to_owned()), "{line}");
        }
    }
}
