//! Messages with descriptors, over a `SOCK_SEQPACKET` Unix socket.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    io::retry_on_intr,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
    },
};

/// Descriptors that a message is looked through for; those beyond are closed by the kernel.
const MOST: usize = 4;

/// Sends one message, and a descriptor with it.
///
/// # Errors
/// What the OS answers; a peer that is gone is no signal.
pub fn send(socket: impl AsFd, bytes: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<BorrowedFd<'_>> = descriptor.into_iter().collect();
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
    }
    let sent = retry_on_intr(|| sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL))?;
    if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Receives one message into `buffer`: its length, 0 at the end, and a descriptor that came with it. Others are closed.
///
/// # Errors
/// What the OS answers; [`io::ErrorKind::InvalidData`] when the message is longer than the buffer.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = retry_on_intr(|| {
        recvmsg(&socket, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    let mut descriptor = None;
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = part {
            for other in descriptors {
                descriptor.get_or_insert(other);
            }
        }
    }
    if message.flags.contains(ReturnFlags::TRUNC) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok((message.bytes, descriptor))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "helpers of tests")]

    use std::{
        os::unix::thread::JoinHandleExt,
        sync::atomic::{AtomicUsize, Ordering},
        thread,
        time::Duration,
    };

    use rustix::net::{
        AddressFamily, SocketFlags, SocketType, socketpair,
        sockopt::{Timeout, set_socket_timeout},
    };

    use super::*;

    static SIGNALS: AtomicUsize = AtomicUsize::new(0);

    extern "C" fn count(_: libc::c_int) {
        SIGNALS.fetch_add(1, Ordering::Relaxed);
    }

    #[test]
    fn a_signal_is_no_end_of_the_wait_for_a_message() {
        let kind = (AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC);
        let (here, there) = socketpair(kind.0, kind.1, kind.2, None).unwrap();
        // With a deadline the kernel does not go on by itself after a signal.
        set_socket_timeout(&here, Timeout::Recv, Some(Duration::from_secs(30))).unwrap();
        let handler = count as extern "C" fn(libc::c_int);
        // SAFETY: the handler does nothing but count.
        unsafe { libc::signal(libc::SIGUSR1, handler as libc::sighandler_t) };
        let waiter = thread::spawn(move || {
            let mut buffer = [0; 8];
            receive(&here, &mut buffer).map(|(len, _)| buffer[..len].to_vec())
        });
        for _ in 0..3 {
            thread::sleep(Duration::from_millis(50));
            // SAFETY: the thread is not joined yet.
            unsafe { libc::pthread_kill(waiter.as_pthread_t(), libc::SIGUSR1) };
        }
        thread::sleep(Duration::from_millis(50));
        send(&there, b"answer", None).unwrap();
        assert_eq!(waiter.join().unwrap().unwrap(), b"answer");
        assert!(SIGNALS.load(Ordering::Relaxed) > 0);
    }
}
