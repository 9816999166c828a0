//! Reading what the runs left behind: the plugin's windows, and what each program says of itself.

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// One window of `tools/tcg-count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The label of its marks.
    pub label: u8,
    /// Instructions at kernel addresses.
    pub kernel: u64,
    /// Instructions at user addresses.
    pub user: u64,
    /// Accesses to device memory other than interrupt controllers, if they were counted.
    pub mmio: Option<u64>,
}

/// What a benchmark program reports.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Done {
    /// Operations that were completed.
    pub operations: u64,
    /// Time that they took together.
    pub seconds: f64,
    /// Looks at the queue that found nothing; 0 where the program does not say.
    pub empty_polls: u64,
}

impl Done {
    /// Operations per second.
    #[must_use]
    pub fn rate(self) -> f64 {
        self.operations as f64 / self.seconds
    }
}

/// Reads the plugin's output.
///
/// # Errors
/// When a line is not one of the plugin's, or reports a lost mark.
pub fn windows(text: &str) -> Result<Vec<Window>> {
    text.lines().map(|line| window(line).with_context(|| format!("in the plugin's line {line}"))).collect()
}

fn window(line: &str) -> Result<Window> {
    let value: Value = serde_json::from_str(line)?;
    if let Some(error) = value.get("error").and_then(Value::as_str) {
        bail!("{error}");
    }
    let number =
        |key: &str| value.get(key).and_then(Value::as_u64).with_context(|| format!("no number {key}"));
    let label = u8::try_from(number("label")?).context("a label above 255")?;
    let mmio = match value.get("mmio_reads") {
        Some(Value::Null) => None,
        _ => Some(number("mmio_reads")?.saturating_add(number("mmio_writes")?)),
    };
    Ok(Window { label, kernel: number("kernel")?, user: number("user")?, mmio })
}

/// Reads fio's `--output-format=json` of one job.
///
/// # Errors
/// When it is not that, or the job failed.
pub fn fio(text: &str) -> Result<Done> {
    // fio puts warnings before the object.
    let start = text.find('{').context("fio printed no JSON")?;
    let value: Value =
        serde_json::from_str(text.get(start..).unwrap_or_default()).context("fio's JSON is cut off")?;
    let job = value.pointer("/jobs/0").context("fio reports no job")?;
    if let Some(error) = job.get("error").and_then(Value::as_i64).filter(|error| *error != 0) {
        bail!("fio's job ended with error {error}");
    }
    let mut done = Done { operations: 0, seconds: 0.0, empty_polls: 0 };
    for direction in ["read", "write"] {
        let count = job.pointer(&format!("/{direction}/total_ios")).and_then(Value::as_u64).unwrap_or(0);
        let millis = job.pointer(&format!("/{direction}/runtime")).and_then(Value::as_u64).unwrap_or(0);
        done.operations = done.operations.saturating_add(count);
        done.seconds += millis as f64 / 1000.0;
    }
    sound(done)
}

/// Reads the line of our own benchmark program.
///
/// # Errors
/// When it is not such a line.
pub fn ours(text: &str) -> Result<Done> {
    let value: Value = serde_json::from_str(text.trim()).context("not one line of JSON")?;
    let operations = value.get("operations").and_then(Value::as_u64).context("no number operations")?;
    let seconds = value.get("seconds").and_then(Value::as_f64).context("no number seconds")?;
    let empty_polls = value.get("empty_polls").and_then(Value::as_u64).unwrap_or(0);
    sound(Done { operations, seconds, empty_polls })
}

/// A number that our own benchmark program prints beside the rest.
///
/// # Errors
/// When it does not.
pub fn number(text: &str, key: &str) -> Result<u64> {
    let value: Value = serde_json::from_str(text.trim()).context("not one line of JSON")?;
    value.get(key).and_then(Value::as_u64).with_context(|| format!("no number {key}"))
}

/// Reads what vroom's `io_test` prints: `n: COUNT, total read iops: RATE`, for a queue depth of 128 first.
///
/// # Errors
/// When there is no such line.
pub fn vroom(text: &str) -> Result<Done> {
    let line = text.lines().find(|line| line.starts_with("n: ")).context("vroom printed no result")?;
    let count = line.strip_prefix("n: ").and_then(|rest| rest.split_once(',')).map(|(count, _)| count);
    let operations = count.and_then(|count| count.parse().ok()).context("vroom printed no count")?;
    let rate: f64 =
        line.rsplit_once(": ").and_then(|(_, rate)| rate.parse().ok()).context("vroom printed no rate")?;
    sound(Done { operations, seconds: operations as f64 / rate, empty_polls: 0 })
}

fn sound(done: Done) -> Result<Done> {
    if done.operations == 0 || !done.seconds.is_finite() || done.seconds <= 0.0 {
        bail!("{} operations in {} s is no result", done.operations, done.seconds);
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_with_and_without_mmio() {
        let text = "{\"label\":1,\"kernel\":10,\"user\":2,\"mmio_reads\":null,\"mmio_writes\":null,\"apic\":null}\n\
                    {\"label\":200,\"kernel\":3,\"user\":4,\"mmio_reads\":5,\"mmio_writes\":6,\"apic\":7}\n";
        assert_eq!(
            windows(text).unwrap(),
            [
                Window { label: 1, kernel: 10, user: 2, mmio: None },
                Window { label: 200, kernel: 3, user: 4, mmio: Some(11) },
            ]
        );
    }

    #[test]
    fn broken_windows_are_errors() {
        for line in [
            "",
            "{}",
            "{\"label\":1}",
            "{\"label\":1,\"error\":\"end mark without a begin mark\"}",
            "{\"label\":256,\"kernel\":1,\"user\":1,\"mmio_reads\":null}",
            "{\"label\":1,\"kernel\":-1,\"user\":1,\"mmio_reads\":null}",
        ] {
            assert!(windows(&format!("{line}\n")).is_err(), "{line}");
        }
    }

    #[test]
    fn fio_reports_both_directions() {
        let text = "fio: note\n{\"jobs\":[{\"error\":0,\"read\":{\"total_ios\":100,\"runtime\":2000},\
                    \"write\":{\"total_ios\":0,\"runtime\":0}}]}";
        let done = fio(text).unwrap();
        assert_eq!(done, Done { operations: 100, seconds: 2.0, empty_polls: 0 });
        assert_eq!(done.rate(), 50.0);
    }

    #[test]
    fn failed_jobs_are_errors() {
        assert!(fio("{\"jobs\":[{\"error\":5,\"read\":{\"total_ios\":1,\"runtime\":1}}]}").is_err());
        assert!(fio("{\"jobs\":[{\"error\":0,\"read\":{\"total_ios\":0,\"runtime\":0}}]}").is_err());
        assert!(fio("{\"jobs\":[]}").is_err());
        assert!(fio("{\"jobs\":[").is_err());
        assert!(fio("no such file").is_err());
    }

    #[test]
    fn our_line_is_read() {
        assert_eq!(ours("{\"operations\":40,\"seconds\":0.5}\n").unwrap().rate(), 80.0);
        assert_eq!(ours("{\"operations\":40,\"seconds\":0.5,\"empty_polls\":9}").unwrap().empty_polls, 9);
        assert!(ours("{\"operations\":0,\"seconds\":0.5}").is_err());
        assert!(ours("{\"operations\":40,\"seconds\":0}").is_err());
        assert!(ours("").is_err());
    }

    #[test]
    fn vrooms_first_line_counts() {
        let text = "initialising\nn: 80000, total read iops: 40000.0\nn: 9, total read iops: 53000.5\n";
        assert_eq!(vroom(text).unwrap(), Done { operations: 80000, seconds: 2.0, empty_polls: 0 });
        assert!(vroom("n: x, total read iops: 3.0").is_err());
        assert!(vroom("").is_err());
    }
}
