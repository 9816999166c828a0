//! Network interfaces whose cable is a file (Linux's TAP, `linux/if_tun.h`).

use std::{
    fs::{File, OpenOptions},
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    os::unix::fs::OpenOptionsExt,
};

use bitflags::bitflags;

use crate::error::{Error, Result};

const PATH: &str = "/dev/net/tun";

bitflags! {
    /// Packets that the interface's network stack may leave unfinished.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct TapOffload: libc::c_uint {
        /// Without their transport checksum.
        const CHECKSUM = libc::TUN_F_CSUM;
        /// IPv4 TCP, not yet cut.
        const TSO4 = libc::TUN_F_TSO4;
        /// IPv6 TCP, not yet cut.
        const TSO6 = libc::TUN_F_TSO6;
    }
}

/// One queue of a TAP interface. Each packet that is read or written has a `virtio_net_hdr` of 10 bytes before it.
#[derive(Debug)]
pub struct Tap {
    file: File,
}

impl Tap {
    /// Length in bytes of what is before each packet.
    pub const HEADER: usize = 10;

    /// Attaches a queue to the interface `name`, which is made if there is none. Reading does not wait.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an impossible name, or what the system answers: that there is no TAP, that the process may not, or that
    /// the interface has all its queues or another kind.
    pub fn open(name: &str, multiple_queues: bool) -> Result<Tap> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(PATH)
            .map_err(|error| Error::os(format!("open {PATH}"), error))?;
        let mut flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
        if multiple_queues {
            flags |= libc::IFF_MULTI_QUEUE;
        }
        let mut request = request(name)?;
        request.ifr_ifru.ifru_flags = libc::c_short::try_from(flags)
            .map_err(|_| Error::Invalid { what: "flags of an interface", value: flags.to_string() })?;
        let tap = Tap { file };
        // SAFETY: the call reads and writes one `ifreq`.
        let result = unsafe { libc::ioctl(tap.raw(), libc::TUNSETIFF, &raw mut request) };
        check(result, || format!("attach to the interface {name}"))?;
        let header = libc::c_int::try_from(Self::HEADER).unwrap_or_default();
        // SAFETY: the call reads one `int`.
        let result = unsafe { libc::ioctl(tap.raw(), libc::TUNSETVNETHDRSZ, &raw const header) };
        check(result, || format!("set the header of {name}"))?;
        Ok(tap)
    }

    /// Whether the interface stays when its last queue is closed.
    ///
    /// # Errors
    /// What the system answers.
    pub fn set_persistent(&self, persistent: bool) -> Result<()> {
        // SAFETY: the argument is a number.
        let result = unsafe { libc::ioctl(self.raw(), libc::TUNSETPERSIST, libc::c_ulong::from(persistent)) };
        check(result, || "make an interface persistent or not".to_string())
    }

    /// What whoever sends through the interface may leave to us, for all its queues.
    ///
    /// # Errors
    /// What the system answers.
    pub fn set_offload(&self, offload: TapOffload) -> Result<()> {
        let bits = libc::c_ulong::from(offload.bits());
        // SAFETY: the argument is a number.
        let result = unsafe { libc::ioctl(self.raw(), libc::TUNSETOFFLOAD, bits) };
        check(result, || format!("set the offloads {offload:?} of an interface"))
    }

    /// Whether the interface has a link.
    ///
    /// # Errors
    /// What the system answers.
    pub fn set_carrier(&self, carrier: bool) -> Result<()> {
        let carrier = libc::c_int::from(carrier);
        // SAFETY: the call reads one `int`.
        let result = unsafe { libc::ioctl(self.raw(), libc::TUNSETCARRIER, &raw const carrier) };
        check(result, || "set the carrier of an interface".to_string())
    }

    /// Gives the interface a hardware address.
    ///
    /// # Errors
    /// What the system answers.
    pub fn set_address(&self, address: [u8; 6]) -> Result<()> {
        let mut request = request("")?;
        // SAFETY: the union's address is plain numbers, and all of it was zeroed.
        let target = unsafe { &mut request.ifr_ifru.ifru_hwaddr };
        target.sa_family = libc::ARPHRD_ETHER;
        for (target, byte) in target.sa_data.iter_mut().zip(address) {
            *target = libc::c_char::from_ne_bytes([byte]);
        }
        // SAFETY: the call reads one `ifreq`.
        let result = unsafe { libc::ioctl(self.raw(), libc::SIOCSIFHWADDR, &raw const request) };
        check(result, || format!("give an interface the address {address:02x?}"))
    }

    fn raw(&self) -> libc::c_int {
        self.file.as_raw_fd()
    }
}

impl AsFd for Tap {
    /// Readable when there are packets to send.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn request(name: &str) -> Result<libc::ifreq> {
    // SAFETY: numbers, and a union of such.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let bytes = name.as_bytes();
    // One stays zero, as the end.
    if bytes.len() >= request.ifr_name.len() || bytes.contains(&0) || bytes.contains(&b'/') {
        return Err(Error::Invalid { what: "name of a network interface", value: name.to_string() });
    }
    for (target, byte) in request.ifr_name.iter_mut().zip(bytes) {
        *target = libc::c_char::from_ne_bytes([*byte]);
    }
    Ok(request)
}

fn check(result: libc::c_int, step: impl FnOnce() -> String) -> Result<()> {
    if result < 0 { Err(Error::os(step(), io::Error::last_os_error())) } else { Ok(()) }
}
