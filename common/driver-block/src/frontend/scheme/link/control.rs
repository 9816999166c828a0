//! What server and driver say to each other beside pieces and answers.
//!
//! To the driver: single bytes. To the server: a length of four bytes and a message in bincode.

use std::io::{self, PipeReader, PipeWriter, Read, Write};

use bincode::Options;
use serde::{Deserialize, Serialize};

use crate::device::{Disk, DiskId};

/// Longest message that is believed, in bytes.
const LONGEST: usize = 1 << 20;
/// How often a full pipe is tried again, and for how long, until the other end is taken to be stuck.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(1);
const TRIES: u32 = 10_000;

/// From the driver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) enum FromDriver {
    /// The device is there and its queues are served: the first message.
    Attached {
        /// Hardware queues. The lanes beyond are not looked at.
        queues: u16,
        /// All disks that there are now.
        disks: Vec<Disk>,
    },
    /// A disk appeared, or its capacity or limits changed.
    DiskChanged(Disk),
    /// A disk is no longer there.
    DiskRemoved(DiskId),
    /// The report that was asked for.
    Report(String),
}

/// To the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum ToDriver {
    /// Finish what there is, flush, and end.
    Stop,
    /// Say how the device is.
    Inspect,
}

impl ToDriver {
    fn byte(self) -> u8 {
        match self {
            ToDriver::Stop => b'S',
            ToDriver::Inspect => b'I',
        }
    }

    fn of_byte(byte: u8) -> Option<Self> {
        [ToDriver::Stop, ToDriver::Inspect].into_iter().find(|message| message.byte() == byte)
    }

    /// # Errors
    /// The driver does not listen.
    pub(in super::super) fn send(self, mut to: &PipeWriter) -> io::Result<()> {
        to.write(&[self.byte()]).map(drop)
    }
}

/// What the server has said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Told {
    pub(in super::super) stop: bool,
    pub(in super::super) inspect: bool,
}

/// Takes what the server has said. A server that is gone says stop.
pub(in super::super) fn told(mut from: &PipeReader) -> Told {
    let mut told = Told::default();
    let mut bytes = [0; 16];
    loop {
        match from.read(&mut bytes) {
            Ok(0) => told.stop = true,
            Ok(len) => {
                let messages = bytes.iter().take(len).filter_map(|byte| ToDriver::of_byte(*byte));
                for message in messages {
                    match message {
                        ToDriver::Stop => told.stop = true,
                        ToDriver::Inspect => told.inspect = true,
                    }
                }
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => told.stop = true,
        }
        return told;
    }
}

fn format() -> impl Options {
    bincode::DefaultOptions::new().with_limit(LONGEST as u64)
}

impl FromDriver {
    /// Sends the message, in pieces if the pipe is full.
    ///
    /// # Errors
    /// The server is gone or does not read.
    pub(in super::super) fn send(&self, mut to: &PipeWriter) -> io::Result<()> {
        let message = format().serialize(self).map_err(io::Error::other)?;
        let len = u32::try_from(message.len()).map_err(io::Error::other)?;
        let bytes = [&len.to_le_bytes()[..], &message].concat();
        let (mut rest, mut tries) = (bytes.as_slice(), 0);
        while !rest.is_empty() {
            match to.write(rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && tries < TRIES => {
                    tries += 1;
                    std::thread::sleep(PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Messages of a driver as they come in.
#[derive(Debug, Default)]
pub(in super::super) struct Messages {
    bytes: Vec<u8>,
}

impl Messages {
    /// Reads what has come and appends what is complete to `messages`; whether more can come.
    ///
    /// # Errors
    /// The driver writes what is no message.
    pub(in super::super) fn read(
        &mut self,
        mut from: &PipeReader,
        messages: &mut Vec<FromDriver>,
    ) -> io::Result<bool> {
        let mut bytes = [0; 4096];
        let open = loop {
            match from.read(&mut bytes) {
                Ok(0) => break false,
                Ok(len) => {
                    self.bytes.extend_from_slice(bytes.get(..len).unwrap_or_default());
                    if self.bytes.len() > 4 * LONGEST {
                        return Err(io::Error::other("the driver does not stop talking"));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break true,
                Err(error) => return Err(error),
            }
        };
        while let Some((len, rest)) = self.bytes.split_first_chunk::<4>() {
            let len = u32::from_le_bytes(*len) as usize;
            if len > LONGEST {
                return Err(io::Error::other(format!("the driver announces a message of {len} bytes")));
            }
            let Some(message) = rest.get(..len) else { break };
            messages.push(format().deserialize(message).map_err(io::Error::other)?);
            self.bytes.drain(..4 + len);
        }
        Ok(open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontend::scheme::{link::ends, testing};

    #[test]
    fn messages_arrive_whole_and_in_order() {
        let (server, driver) = ends(1).unwrap();
        let sent = [
            FromDriver::Attached { queues: 3, disks: vec![testing::disk(DiskId(1), 99)] },
            FromDriver::DiskRemoved(DiskId(1)),
            FromDriver::Report("well\n".repeat(20_000)),
        ];
        let (mut messages, mut came) = (Messages::default(), Vec::new());
        let copy = sent.clone();
        let thread = std::thread::spawn(move || {
            copy.iter().for_each(|message| message.send(&driver.to_server).unwrap());
        });
        while messages.read(&server.from_driver, &mut came).unwrap() {
            std::thread::yield_now();
        }
        thread.join().unwrap();
        assert_eq!(came, sent);
    }

    #[test]
    fn nonsense_is_an_error() {
        for bytes in [&[0xff; 8][..], &[1, 0, 0, 0, 0xff], &[5, 0, 0, 0, 2, 0xff, 0xff, 0xff, 0xff]] {
            let (server, driver) = ends(1).unwrap();
            (&driver.to_server).write_all(bytes).unwrap();
            let mut came = Vec::new();
            assert!(Messages::default().read(&server.from_driver, &mut came).is_err(), "{bytes:?}");
            assert_eq!(came, []);
        }
    }

    #[test]
    fn a_server_that_is_gone_says_stop() {
        let (server, driver) = ends(1).unwrap();
        assert_eq!(told(&driver.from_server), Told::default());
        ToDriver::Inspect.send(&server.to_driver).unwrap();
        assert_eq!(told(&driver.from_server), Told { inspect: true, stop: false });
        ToDriver::Stop.send(&server.to_driver).unwrap();
        assert_eq!(told(&driver.from_server), Told { inspect: false, stop: true });
        drop(server);
        assert_eq!(told(&driver.from_server), Told { inspect: false, stop: true });
    }
}
