//! A connection to the daemon.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    time::Duration,
};

use iommu_protocol::{
    Assign, CreateDomain, Device, DomainHandle, DrainEvents, Drained, EventInfo, Inspected, MOST_BYTES,
    Malformed, MapPiece, MemoryHandle, Range, Report, Request, SOCKET, SOCKET_VARIABLE, parse_reply,
};
use rustix::net::{
    AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType, connect, shutdown, socket_with,
    sockopt::{Timeout, set_socket_timeout},
};

use crate::os::packet;

/// How long the daemon may take for an answer: longer than a unit may take to start anew.
const ANSWER: Duration = Duration::from_secs(10);

/// The daemon did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// It is not there.
    #[error("connect to the IOMMU daemon at {path}")]
    Connect {
        /// Where it should be.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// It refuses.
    #[error("the IOMMU daemon refuses to {step}")]
    Refused {
        /// What.
        step: &'static str,
        /// With which error.
        #[source]
        source: io::Error,
    },
    /// The connection is lost: domain and mappings are gone with it.
    #[error("the IOMMU daemon did not answer when asked to {step}")]
    Lost {
        /// What.
        step: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It says what the protocol does not know.
    #[error("the IOMMU daemon's answer to {step}")]
    Answer {
        /// What it was asked to do.
        step: &'static str,
        /// What is wrong.
        #[source]
        source: Malformed,
    },
}

impl From<ClientError> for crate::Error {
    fn from(error: ClientError) -> Self {
        let step = error.to_string();
        match error {
            ClientError::Connect { source, .. }
            | ClientError::Refused { source, .. }
            | ClientError::Lost { source, .. } => crate::Error::os(step, source),
            ClientError::Answer { source, .. } => crate::Error::os(step, io::Error::other(source)),
        }
    }
}

type Result<T> = std::result::Result<T, ClientError>;

/// A connection. What it made ends with it.
#[derive(Debug)]
pub struct Client {
    socket: OwnedFd,
    last: u32,
    buffer: Vec<u8>,
}

impl Client {
    /// Where the daemon should be: what the environment says, or its usual place.
    pub fn path() -> PathBuf {
        std::env::var_os(SOCKET_VARIABLE).map_or_else(|| SOCKET.into(), PathBuf::from)
    }

    /// Connects.
    ///
    /// # Errors
    /// [`ClientError::Connect`].
    pub fn connect(path: &Path) -> Result<Self> {
        let open = || {
            let kind = (AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC);
            let socket = socket_with(kind.0, kind.1, kind.2, None)?;
            set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER))?;
            set_socket_timeout(&socket, Timeout::Send, Some(ANSWER))?;
            connect(&socket, &SocketAddrUnix::new(path)?)?;
            Ok(socket)
        };
        let failed = |source: rustix::io::Errno| ClientError::Connect {
            path: path.to_path_buf(),
            source: source.into(),
        };
        Ok(Client { socket: open().map_err(failed)?, last: 0, buffer: vec![0; MOST_BYTES] })
    }

    /// Sends a request, and waits for its reply.
    ///
    /// # Errors
    /// What kept the daemon from it; `step` goes into the text.
    pub fn call(
        &mut self,
        step: &'static str,
        request: &Request,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Result<(Report<'_>, Option<OwnedFd>)> {
        self.last = self.last.wrapping_add(1);
        let exchanged = exchange(&self.socket, &request.encode(self.last), descriptor, &mut self.buffer);
        let (len, descriptor) = exchanged.map_err(|source| {
            end(&self.socket);
            ClientError::Lost { step, source }
        })?;
        let reply = parse_reply(&self.buffer[..len], self.last);
        let report = reply.map_err(|source| {
            end(&self.socket);
            ClientError::Answer { step, source }
        })?;
        let refused = |error| ClientError::Refused { step, source: io::Error::from_raw_os_error(error) };
        Ok((report.map_err(refused)?, descriptor))
    }

    /// Makes a domain.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn create_domain(&mut self) -> Result<u32> {
        let step = "make a domain";
        let (report, _) = self.call(step, &Request::CreateDomain(CreateDomain::default()), None)?;
        let body: DomainHandle = report.body().map_err(|source| ClientError::Answer { step, source })?;
        Ok(body.domain)
    }

    /// Brings in memory: a memfd that is sealed against shrinking.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn import(&mut self, memory: BorrowedFd<'_>) -> Result<MemoryHandle> {
        let step = "take memory";
        let (report, _) = self.call(step, &Request::Import, Some(memory))?;
        report.body().map_err(|source| ClientError::Answer { step, source })
    }

    /// Gives memory up; what is mapped stays so.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn free(&mut self, memory: u32) -> Result<()> {
        let body = MemoryHandle { memory, reserved: 0, len: 0 };
        self.call("give memory up", &Request::Free(body), None).map(drop)
    }

    /// Maps pieces, all or none, below the address `mask`.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn map(&mut self, domain: u32, mask: u64, pieces: &[MapPiece]) -> Result<Vec<Range>> {
        let step = "map memory";
        let (report, _) = self.call(step, &Request::Map { domain, mask, pieces: pieces.to_vec() }, None)?;
        report.list(pieces.len()).map_err(|source| ClientError::Answer { step, source })
    }

    /// Unmaps ranges, all or none: no device reaches them any more when this succeeds.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn unmap(&mut self, domain: u32, ranges: &[Range]) -> Result<()> {
        self.call("unmap memory", &Request::Unmap { domain, ranges: ranges.to_vec() }, None).map(drop)
    }

    /// Has a device, shown by a descriptor of it, reach a domain.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn assign(&mut self, domain: u32, device: Device, holds: BorrowedFd<'_>) -> Result<()> {
        let request = Request::Assign(Assign { domain, device });
        self.call("assign the device", &request, Some(holds)).map(drop)
    }

    /// Takes events of the caller's devices, and how many were lost.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn events(&mut self) -> Result<(u64, Vec<EventInfo>)> {
        let step = "tell of events";
        let request = Request::DrainEvents(DrainEvents { most: 256, reserved: 0 });
        let (report, _) = self.call(step, &request, None)?;
        let read = report.body_and_list(|drained: &Drained| drained.events);
        let (drained, events) = read.map_err(|source| ClientError::Answer { step, source })?;
        Ok((drained.lost, events))
    }

    /// The daemon's text about everything.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn inspect(&mut self) -> Result<String> {
        let step = "tell of everything";
        let (report, _) = self.call(step, &Request::Inspect, None)?;
        let read = report.body_and_bytes::<Inspected>();
        let (_, text) = read.map_err(|source| ClientError::Answer { step, source })?;
        Ok(String::from_utf8_lossy(text).into_owned())
    }
}

/// Sends a request and receives what comes next: its length, and a descriptor.
fn exchange(
    socket: &OwnedFd,
    request: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
    buffer: &mut [u8],
) -> io::Result<(usize, Option<OwnedFd>)> {
    packet::send(socket, request, descriptor)?;
    let (len, descriptor) = packet::receive(socket, buffer)?;
    if len == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok((len, descriptor)) }
}

/// Ends a connection whose replies no longer belong to the requests: one that comes late would be taken for the next one's.
/// The daemon sees the end, and so does every later call.
fn end(socket: &OwnedFd) {
    if let Err(error) = shutdown(socket, Shutdown::Both) {
        log::debug!("the connection to the IOMMU daemon had ended: {error}");
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "helpers of tests")]

    use iommu_protocol::Reply;
    use rustix::net::socketpair;

    use super::*;

    /// A client that waits for `answer`, and the daemon's end.
    fn client(answer: Duration) -> (Client, OwnedFd) {
        let kind = (AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC);
        let (socket, daemon) = socketpair(kind.0, kind.1, kind.2, None).unwrap();
        set_socket_timeout(&socket, Timeout::Recv, Some(answer)).unwrap();
        (Client { socket, last: 0, buffer: vec![0; MOST_BYTES] }, daemon)
    }

    /// Reads a request; its answer is `id`'s.
    fn answer(daemon: &OwnedFd, id: u32) -> io::Result<()> {
        let mut bytes = [0; MOST_BYTES];
        let (len, _) = packet::receive(daemon, &mut bytes)?;
        let (mut header, _) = Request::parse(&bytes[..len]).unwrap();
        header.id = id;
        packet::send(daemon, &Reply::to(&header).encode(), None)
    }

    #[test]
    fn a_late_reply_is_nobody_elses() {
        let (mut client, daemon) = client(Duration::from_millis(50));
        assert!(matches!(client.free(1).unwrap_err(), ClientError::Lost { .. }));
        // It sees the end of the connection, or it has answered before.
        let _ = answer(&daemon, 1);
        for _ in 0..2 {
            let error = client.free(1).unwrap_err();
            assert!(matches!(error, ClientError::Lost { .. }), "{error:?}");
        }
    }

    #[test]
    fn a_reply_to_another_request_ends_the_connection() {
        let (mut client, daemon) = client(Duration::from_secs(10));
        let daemon = std::thread::spawn(move || {
            answer(&daemon, 7).unwrap();
            packet::receive(&daemon, &mut [0; 8]).map(|(len, _)| len)
        });
        let error = client.free(1).unwrap_err();
        assert!(
            matches!(error, ClientError::Answer { source: Malformed::Stray { got: 7, .. }, .. }),
            "{error:?}"
        );
        assert_eq!(daemon.join().unwrap().unwrap(), 0, "the daemon is told");
        assert!(matches!(client.free(1).unwrap_err(), ClientError::Lost { .. }));
    }
}
