//! The log of a daemon: the same lines, levels and variables on every OS, and upstream's names for them.
//!
//! A line is `2026-06-05T12:00:00.123Z [disk.pci-0000-00-04.0-nvme@nvmed::queue:12 INFO] message` on standard error,
//! and on Redox also in `/scheme/logging/<category>/<subcategory>/<name>.log`.
//!
//! What is logged, strongest first:
//! 1. the level on the command line ([`Logging::level`]),
//! 2. `RUST_LOG`: a level, or a list such as `info,nvmed::queue=trace`,
//! 3. `DRIVER_<SUBCATEGORY>_LOG_LEVEL`, `DRIVER_<CATEGORY>_LOG_LEVEL`, `DRIVER_LOG_LEVEL`, as on upstream Redox, where
//!    the boot loader sets them,
//! 4. the default.

use std::{
    env,
    fmt::{self, Write as _},
    io::{self, IsTerminal, Write},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use env_filter::Filter;
use log::{Level, LevelFilter, Log, Metadata, Record};

/// The log could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `RUST_LOG` cannot be understood.
    #[error("RUST_LOG={value}: {reason}")]
    RustLog {
        /// The value of the variable.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The process has a logger already.
    #[error("the log is set up already")]
    Again(#[from] log::SetLoggerError),
}

/// What standard error gets when nothing else is said.
pub const fn output_level() -> LevelFilter {
    LevelFilter::Info
}

/// What the log file gets.
pub const fn file_level() -> LevelFilter {
    LevelFilter::Info
}

/// Sets up the log as upstream's daemons do: `category` such as `disk`, `subcategory` such as `pci`, the log's name such
/// as `disk.pci-0000-00-04.0-nvme`, and the levels where the environment does not say otherwise.
///
/// # Errors
/// As [`Logging::init`].
pub fn setup_logging(
    category: &str,
    subcategory: &str,
    name: &str,
    output_level: LevelFilter,
    file_level: LevelFilter,
) -> Result<(), Error> {
    let mut logging = Logging::new(category, subcategory, name);
    logging.default_level = output_level;
    logging.file_level = file_level;
    logging.init()
}

/// The log of one daemon, before it is set up.
#[derive(Clone, Debug)]
pub struct Logging {
    category: String,
    subcategory: String,
    name: String,
    level: Option<LevelFilter>,
    default_level: LevelFilter,
    file_level: LevelFilter,
}

impl Logging {
    /// A log called `name`, of a daemon in `category` and `subcategory`.
    pub fn new(category: &str, subcategory: &str, name: &str) -> Self {
        Self {
            category: category.to_owned(),
            subcategory: subcategory.to_owned(),
            name: name.to_owned(),
            level: None,
            default_level: output_level(),
            file_level: file_level(),
        }
    }

    /// The level from the command line, which is stronger than the environment.
    #[must_use]
    pub fn level(mut self, level: Option<LevelFilter>) -> Self {
        self.level = level;
        self
    }

    /// Sends this process's log where it belongs from now on.
    ///
    /// # Errors
    /// When `RUST_LOG` cannot be understood, or the process has a logger already.
    pub fn init(self) -> Result<(), Error> {
        let filter = self.filter(|variable| env::var(variable).ok(), &system_variables())?;
        let stderr = io::stderr();
        let ansi = stderr.is_terminal();
        #[cfg_attr(not(target_os = "redox"), expect(unused_mut, reason = "only Redox adds a file"))]
        let mut outputs = vec![Output { filter, ansi, sink: Mutex::new(Box::new(stderr)) }];
        #[cfg(target_os = "redox")]
        outputs.extend(self.file());
        let most = outputs.iter().map(|output| output.filter.filter()).max().unwrap_or(LevelFilter::Off);
        log::set_boxed_logger(Box::new(Logger { name: self.name, outputs }))?;
        log::set_max_level(most);
        Ok(())
    }

    /// What standard error gets, by the process's environment `env` and the system's own variables, one a line.
    fn filter(&self, env: impl Fn(&str) -> Option<String>, system: &str) -> Result<Filter, Error> {
        if let Some(level) = self.level {
            return Ok(level_filter(level));
        }
        if let Some(value) = env("RUST_LOG").filter(|value| !value.trim().is_empty()) {
            let mut builder = env_filter::Builder::new();
            builder
                .try_parse(&value)
                .map_err(|error| Error::RustLog { value: value.clone(), reason: error.to_string() })?;
            return Ok(builder.build());
        }
        let keys = [
            format!("DRIVER_{}_LOG_LEVEL", self.subcategory.to_ascii_uppercase()),
            format!("DRIVER_{}_LOG_LEVEL", self.category.to_ascii_uppercase()),
            "DRIVER_LOG_LEVEL".to_owned(),
        ];
        let variable = |key: &String| {
            env(key).or_else(|| {
                let mut lines = system.lines();
                lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('=').map(str::to_owned))
            })
        };
        // A value that is no level is passed over, as upstream does: a typing mistake at the boot prompt must not
        // keep a disk from being driven.
        let named = keys.iter().filter_map(variable).find_map(|value| value.trim().parse().ok());
        Ok(level_filter(named.unwrap_or(self.default_level)))
    }

    /// The log file, where the system has one: a log that cannot be written is no reason not to start.
    #[cfg(target_os = "redox")]
    fn file(&self) -> Option<Output> {
        let dir = std::path::Path::new("/scheme/logging").join(&self.category).join(&self.subcategory);
        let file = std::fs::create_dir_all(&dir)
            .and_then(|()| std::fs::File::create(dir.join(format!("{}.log", self.name))))
            .ok()?;
        let filter = level_filter(self.file_level);
        Some(Output { filter, ansi: false, sink: Mutex::new(Box::new(file)) })
    }
}

/// What the boot loader said, one `KEY=value` a line.
fn system_variables() -> String {
    if cfg!(target_os = "redox") {
        std::fs::read_to_string("/scheme/sys/env").unwrap_or_default()
    } else {
        String::new()
    }
}

fn level_filter(level: LevelFilter) -> Filter {
    env_filter::Builder::new().filter_level(level).build()
}

struct Output {
    filter: Filter,
    ansi: bool,
    sink: Mutex<Box<dyn Write + Send>>,
}

struct Logger {
    name: String,
    outputs: Vec<Output>,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.outputs.iter().any(|output| output.filter.enabled(metadata))
    }

    fn log(&self, record: &Record<'_>) {
        for output in &self.outputs {
            if output.filter.matches(record) {
                let line = format_line(&self.name, record, SystemTime::now(), output.ansi);
                let mut sink = output.sink.lock().unwrap_or_else(PoisonError::into_inner);
                // In one piece, so that lines of several daemons on one terminal stay whole. Where it cannot be
                // written there is nobody to tell.
                let _ = sink.write_all(line.as_bytes());
            }
        }
    }

    fn flush(&self) {
        for output in &self.outputs {
            let _ = output.sink.lock().unwrap_or_else(PoisonError::into_inner).flush();
        }
    }
}

fn format_line(name: &str, record: &Record<'_>, now: SystemTime, ansi: bool) -> String {
    let (colour, bold, reset) = match (ansi, record.level()) {
        (false, _) => ("", "", ""),
        (true, Level::Error) => ("\x1b[91m", "\x1b[1m", "\x1b[0m"),
        (true, Level::Warn) => ("\x1b[93m", "\x1b[1m", "\x1b[0m"),
        (true, Level::Info) => ("\x1b[94m", "\x1b[1m", "\x1b[0m"),
        (true, Level::Debug) => ("\x1b[37m", "", "\x1b[0m"),
        (true, Level::Trace) => ("\x1b[90m", "", "\x1b[0m"),
    };
    // A clock before 1970 is not worth a panic.
    let time = humantime::format_rfc3339_millis(now.max(SystemTime::UNIX_EPOCH));
    let target = record.module_path().unwrap_or(record.target());
    let line = record.line().unwrap_or(0);
    let level = record.level();
    let mut text = String::with_capacity(160);
    // Writing to a String fails only where a value's Display does: what came before that stays.
    let _ = write!(text, "{time} [{name}@{target}:{line} {colour}{level}{reset}] {bold}");
    let _ = write!(OneLine(&mut text), "{}", record.args());
    let _ = writeln!(text, "{reset}");
    text
}

/// Escapes control characters: a device's name or a file's must neither break a line in two nor drive the terminal.
struct OneLine<'a>(&'a mut String);

impl fmt::Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if character.is_control() && character != '\t' {
                self.0.extend(character.escape_default());
            } else {
                self.0.push(character);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::*;

    fn line(message: fmt::Arguments<'_>, ansi: bool) -> String {
        let record = Record::builder()
            .level(Level::Warn)
            .target("target")
            .module_path(Some("nvmed::queue"))
            .line(Some(12))
            .args(message)
            .build();
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_780_660_800_123);
        format_line("disk.pci-0000-00-04.0-nvme", &record, now, ansi)
    }

    #[test]
    fn a_line_says_when_who_where_and_how_bad() {
        assert_eq!(
            line(format_args!("slow {}", 1), false),
            "2026-06-05T12:00:00.123Z [disk.pci-0000-00-04.0-nvme@nvmed::queue:12 WARN] slow 1\n"
        );
        assert!(line(format_args!("slow"), true).contains("\x1b[93mWARN\x1b[0m] \x1b[1mslow\x1b[0m\n"));
    }

    #[test]
    fn a_message_is_one_line_whatever_it_holds() {
        let text = line(format_args!("model '{}'", "QEMU\n\x1b[2J\u{7f}ü\t"), false);
        assert!(text.ends_with("model 'QEMU\\n\\u{1b}[2J\\u{7f}ü\t'\n"), "{text}");
        assert_eq!(text.matches('\n').count(), 1);
    }

    fn enabled(filter: &Filter, level: Level, target: &str) -> bool {
        filter.enabled(&Metadata::builder().level(level).target(target).build())
    }

    fn most(logging: &Logging, env: &[(&str, &str)], system: &str) -> LevelFilter {
        let env: BTreeMap<_, _> = env.iter().copied().collect();
        logging.filter(|key| env.get(key).map(ToString::to_string), system).unwrap().filter()
    }

    #[test]
    fn the_strongest_word_counts() {
        let logging = Logging::new("disk", "pci", "x");
        assert_eq!(most(&logging, &[], ""), LevelFilter::Info);
        let mut env = vec![("DRIVER_LOG_LEVEL", "error")];
        assert_eq!(most(&logging, &env, ""), LevelFilter::Error);
        env.push(("DRIVER_DISK_LOG_LEVEL", "WARN"));
        assert_eq!(most(&logging, &env, ""), LevelFilter::Warn);
        env.push(("DRIVER_PCI_LOG_LEVEL", "debug"));
        assert_eq!(most(&logging, &env, "DRIVER_PCI_LOG_LEVEL=off"), LevelFilter::Debug);
        env.push(("RUST_LOG", "trace"));
        assert_eq!(most(&logging, &env, ""), LevelFilter::Trace);
        assert_eq!(most(&logging.level(Some(LevelFilter::Off)), &env, ""), LevelFilter::Off);
    }

    #[test]
    fn the_boot_loader_is_heard() {
        let logging = Logging::new("disk", "pci", "x");
        let system =
            "COLUMNS=80\nDRIVER_LOG_LEVEL_X=off\nDRIVER_DISK_LOG_LEVEL=debug\nDRIVER_LOG_LEVEL=error\n";
        assert_eq!(most(&logging, &[], system), LevelFilter::Debug);
        // What is no level is passed over.
        assert_eq!(most(&logging, &[("DRIVER_DISK_LOG_LEVEL", "loud")], system), LevelFilter::Error);
    }

    #[test]
    fn rust_log_tells_modules_apart() {
        let logging = Logging::new("disk", "pci", "x");
        let env = |key: &str| (key == "RUST_LOG").then(|| "warn,nvmed::queue=trace".to_owned());
        let filter = logging.filter(env, "").unwrap();
        assert!(enabled(&filter, Level::Trace, "nvmed::queue::submit"));
        assert!(!enabled(&filter, Level::Info, "nvmed::admin"));
        let error =
            logging.filter(|key| (key == "RUST_LOG").then(|| "nvmed=loud".to_owned()), "").unwrap_err();
        assert!(error.to_string().starts_with("RUST_LOG=nvmed=loud: "), "{error}");
    }
}
