//! The host's ends of the sockets that lead into a guest's QEMU.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Child;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::console::Message;

/// Longest time from QEMU's start to its opening of the sockets.
const CONNECT: Duration = Duration::from_secs(30);

/// A socket that QEMU will connect to.
#[derive(Debug)]
pub(super) struct Endpoint {
    listener: UnixListener,
}

impl Endpoint {
    /// Listens at `path`, before QEMU is started.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub(super) fn listen(path: &Path) -> Result<Self> {
        let listener =
            UnixListener::bind(path).with_context(|| format!("cannot listen at {}", path.display()))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener })
    }

    /// Waits for QEMU.
    ///
    /// # Errors
    /// When QEMU ends before, or doesn't come.
    pub(super) fn accept(self, qemu: &mut Child) -> Result<UnixStream> {
        let end = Instant::now() + CONNECT;
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false)?;
                    return Ok(stream);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("cannot accept QEMU's connection"),
            }
            if let Some(status) = qemu.try_wait().context("cannot watch QEMU")? {
                bail!("QEMU ended at once ({status})");
            }
            if Instant::now() > end {
                bail!("QEMU did not open its sockets within {CONNECT:?}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The control port of a running guest.
#[derive(Debug)]
pub(super) struct Control {
    /// What the guest says.
    pub(super) messages: Receiver<Message>,
    writer: UnixStream,
}

impl Control {
    /// Starts to read a control port; on a serial console (`console`) messages are marked, and the rest is not for us.
    ///
    /// # Errors
    /// When the connection cannot be shared with the reading thread.
    pub(super) fn new(stream: UnixStream, console: bool) -> Result<Self> {
        stream.set_write_timeout(Some(Duration::from_secs(20)))?;
        let writer = stream.try_clone()?;
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n') {
                let Ok(line) = line else { return };
                let line = String::from_utf8_lossy(&line);
                let message = if console { Message::marked(&line) } else { Some(Message::parse(&line)) };
                if message.is_some_and(|message| sender.send(message).is_err()) {
                    return;
                }
            }
        });
        Ok(Self { messages, writer })
    }

    /// Answers a guest that asked the host for something. An answer is one line.
    ///
    /// # Errors
    /// When the guest doesn't take it.
    pub(super) fn answer(&mut self, answer: &Result<String>) -> Result<()> {
        let text = match answer {
            Ok(text) => format!("OK {text}"),
            Err(error) => format!("ERR {error:#}"),
        };
        let line = text.replace(['\n', '\r'], " ") + "\n";
        self.writer.write_all(line.as_bytes()).context("cannot answer the guest")
    }
}
