//! A fixed amount of work.

use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::str::FromStr;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use redox_driver_sys::mark;

/// Most threads that share the disk's descriptor.
const MOST_THREADS: usize = 256;

/// Where operations go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// One after the other, from the disk's beginning.
    Sequential,
    /// Anywhere.
    Random,
}

/// The work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    /// Label of its marks.
    pub(crate) label: u8,
    pub(crate) pattern: Pattern,
    /// Bytes of an operation.
    pub(crate) size: usize,
    /// Threads that share one descriptor.
    pub(crate) threads: usize,
    /// Operations of all threads together.
    pub(crate) count: u64,
}

impl FromStr for Job {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let fields: Vec<&str> = text.split(':').collect();
        let [label, pattern, size, threads, count] = fields[..] else {
            bail!("it is LABEL:PATTERN:SIZE:THREADS:COUNT");
        };
        let pattern = match pattern {
            "seqread" => Pattern::Sequential,
            "randread" => Pattern::Random,
            _ => bail!("a pattern is seqread or randread"),
        };
        let job = Self {
            label: label.parse().context("the label")?,
            pattern,
            size: size.parse().context("the size")?,
            threads: threads.parse().context("the number of threads")?,
            count: count.parse().context("the number of operations")?,
        };
        ensure!(job.label < 128, "a label is below 128");
        ensure!(job.size > 0 && job.size.is_multiple_of(512), "a size is a multiple of 512");
        ensure!((1..=MOST_THREADS).contains(&job.threads), "there are 1 to {MOST_THREADS} threads");
        ensure!(job.count > 0 && job.count.is_multiple_of(job.threads as u64), "each thread does as many");
        Ok(job)
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { label, pattern, size, threads, count } = self;
        let pattern = match pattern {
            Pattern::Sequential => "seqread",
            Pattern::Random => "randread",
        };
        write!(f, "{label}:{pattern}:{size}:{threads}:{count}")
    }
}

impl Job {
    /// Does the work between marks and returns how long it took. Threads are started before, and have done one operation
    /// each.
    pub(crate) fn run(&self, disk: &File, bytes: u64) -> Result<Duration> {
        let places = bytes / self.size as u64;
        ensure!(places > 0, "the disk has {bytes} bytes, less than one operation");
        let each = self.count / self.threads as u64;
        let (ready, done) = (Barrier::new(self.threads + 1), Barrier::new(self.threads + 1));
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads as u64)
                .map(|number| {
                    let (ready, done) = (&ready, &done);
                    scope.spawn(move || {
                        let mut buffer = vec![0; self.size];
                        let mut result = disk.read_exact_at(&mut buffer, 0);
                        ready.wait();
                        let mut random = fastrand::Rng::with_seed(number);
                        for index in 0..each {
                            if result.is_err() {
                                break;
                            }
                            let place = match self.pattern {
                                Pattern::Sequential => (number * each + index) % places,
                                Pattern::Random => random.u64(..places),
                            };
                            result = disk.read_exact_at(&mut buffer, place * self.size as u64);
                        }
                        done.wait();
                        result
                    })
                })
                .collect();
            ready.wait();
            mark::begin(self.label);
            let began = Instant::now();
            done.wait();
            let took = began.elapsed();
            mark::end(self.label);
            for thread in threads {
                match thread.join() {
                    Ok(result) => result.context("read")?,
                    Err(_) => bail!("a reader panicked"),
                }
            }
            Ok(took)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn jobs_are_what_they_say() {
        let job: Job = "5:randread:4096:32:3200".parse().unwrap();
        assert_eq!(job, Job { label: 5, pattern: Pattern::Random, size: 4096, threads: 32, count: 3200 });
        assert_eq!(job.to_string(), "5:randread:4096:32:3200");
        for text in [
            "",
            "5:randread:4096:32",
            "128:randread:4096:1:1",
            "1:write:4096:1:1",
            "1:seqread:100:1:1",
            "1:seqread:0:1:1",
            "1:seqread:512:0:1",
            "1:seqread:512:257:257",
            "1:seqread:512:2:3",
            "1:seqread:512:1:0",
        ] {
            assert!(text.parse::<Job>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_work_is_done_on_a_file() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[1; 1 << 16]).unwrap();
        for text in ["1:seqread:4096:1:64", "2:randread:512:8:400"] {
            assert!(text.parse::<Job>().unwrap().run(&file, 1 << 16).is_ok(), "{text}");
        }
        let beyond: Job = "3:seqread:4096:1:64".parse().unwrap();
        assert!(beyond.run(&file, 1 << 20).is_err(), "reads that do not succeed are no work");
        assert!(beyond.run(&file, 100).is_err());
    }
}
