//! The other end of a guest's connections, on this machine: it sends and takes bytes that both ends know.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

/// Longest silence of a guest.
const PATIENCE: Duration = Duration::from_secs(120);
/// Both ends make the bytes by pieces of this length, from the same seed.
const PIECE: usize = 64 << 10;
const SEED: u64 = 21;
/// A guest's first byte: what it wants.
const SEND: u8 = b'S';
const TAKE: u8 = b'T';
/// The answer when all bytes that came were right: otherwise it is the number of the first wrong piece.
const RIGHT: u64 = u64::MAX;

/// A listener. Its threads end with the command.
#[derive(Debug)]
pub(super) struct Peer {
    port: u16,
}

impl Peer {
    /// Listens on the loopback interface for guests that want `bytes` bytes, or have as many.
    ///
    /// # Errors
    /// When there is no port.
    pub(super) fn listen(bytes: u32) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen for the guest")?;
        let port = listener.local_addr()?.port();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // The guest tells what it makes of it.
                thread::spawn(move || drop(serve(stream, bytes)));
            }
        });
        Ok(Self { port })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

fn serve(mut stream: TcpStream, bytes: u32) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut wish = [0];
    stream.read_exact(&mut wish)?;
    let mut random = fastrand::Rng::with_seed(SEED);
    let (mut expected, mut found) = (vec![0; PIECE], vec![0; PIECE]);
    let pieces = u64::from(bytes) / PIECE as u64;
    match wish {
        [SEND] => (0..pieces).try_for_each(|_| {
            random.fill(&mut expected);
            stream.write_all(&expected)
        }),
        [TAKE] => {
            let mut verdict = RIGHT;
            for piece in 0..pieces {
                random.fill(&mut expected);
                stream.read_exact(&mut found)?;
                if found != expected {
                    verdict = verdict.min(piece);
                }
            }
            stream.write_all(&verdict.to_le_bytes())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: u32 = 3 * 65_536;

    fn contents() -> Vec<u8> {
        let mut contents = vec![0; BYTES as usize];
        let mut random = fastrand::Rng::with_seed(SEED);
        contents.chunks_mut(PIECE).for_each(|piece| random.fill(piece));
        contents
    }

    fn connect() -> TcpStream {
        TcpStream::connect((Ipv4Addr::LOCALHOST, Peer::listen(BYTES).unwrap().port())).unwrap()
    }

    #[test]
    fn what_it_sends_is_known() {
        let mut stream = connect();
        stream.write_all(&[SEND]).unwrap();
        let mut found = Vec::new();
        stream.read_to_end(&mut found).unwrap();
        assert!(found == contents());
    }

    #[test]
    fn a_wrong_byte_is_told() {
        for (wrong, verdict) in [(None, RIGHT), (Some(BYTES as usize - 1), 2), (Some(65_536), 1)] {
            let mut contents = contents();
            if let Some(wrong) = wrong {
                contents[wrong] ^= 1;
            }
            let mut stream = connect();
            stream.write_all(&[TAKE]).unwrap();
            stream.write_all(&contents).unwrap();
            let mut answer = [0; 8];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(u64::from_le_bytes(answer), verdict);
        }
    }
}
