//! One queue of the interface.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use redox_driver_sys::{
    dma::{DmaBuffer, write_to},
    tap::Tap,
};
use rustix::io::Errno;
use virtio_spec::net::NetHeader;
use zerocopy::{FromBytes, IntoBytes};

use crate::{
    headers::{BadPacket, VLAN_TAG},
    lane::{Frame, Port, Transmit},
    packet::TxOffload,
    vnet,
};

/// Where an 802.1Q tag goes: behind the addresses.
const ADDRESSES: usize = 12;
const TYPE_VLAN: [u8; 2] = 0x8100_u16.to_be_bytes();

/// One queue of a TAP interface, for one lane.
#[derive(Debug)]
pub struct TapPort {
    tap: Tap,
    head: [u8; vnet::HEAD],
    gone: bool,
}

impl TapPort {
    /// Serves a queue.
    pub const fn new(tap: Tap) -> Self {
        TapPort { tap, head: [0; vnet::HEAD], gone: false }
    }

    /// The queue.
    pub const fn tap(&self) -> &Tap {
        &self.tap
    }

    /// Whether the interface was deleted. Nothing comes of the queue any more, and waiting for it ends at once.
    pub const fn is_gone(&self) -> bool {
        self.gone
    }

    /// What is to be done to the packet of `len` bytes in `buffer`, whose headers are made ready for it.
    fn offload(
        &mut self,
        header: [u8; Tap::HEADER],
        buffer: &DmaBuffer,
        len: usize,
        transmit: &Transmit<'_>,
    ) -> Result<TxOffload, BadPacket> {
        let header = NetHeader::read_from_bytes(&header).map_err(|_| BadPacket("no header"))?;
        if header == NetHeader::default() {
            return Ok(TxOffload::default());
        }
        let head = self.head.get_mut(..len.min(vnet::HEAD)).unwrap_or_default();
        let outside = |_| BadPacket("too long");
        buffer.copy_to(0, head).map_err(outside)?;
        let offload = vnet::offload(header, head, len, transmit.pseudo_header())?;
        if offload.segmentation.is_some() {
            buffer.copy_from(0, head).map_err(outside)?;
        }
        Ok(offload)
    }
}

impl AsFd for TapPort {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tap.as_fd()
    }
}

impl Port for TapPort {
    fn deliver(&mut self, frame: &Frame<'_>) -> bool {
        let metadata = frame.metadata();
        let header = vnet::header(&metadata);
        let mut head = [0; Tap::HEADER + ADDRESSES + VLAN_TAG];
        let (vnet, tagged) = head.split_at_mut(Tap::HEADER);
        vnet.copy_from_slice(header.as_bytes());
        let written = match metadata.vlan {
            None => write_to(self.tap.as_fd(), vnet, frame.parts()),
            Some(tag) => {
                // The interface has no other place for the tag than the one that the device took it from.
                let (addresses, tci) = tagged.split_at_mut(ADDRESSES);
                if frame.copy_to(addresses) < ADDRESSES {
                    return false;
                }
                let [high, low] = tag.to_be_bytes();
                tci.copy_from_slice(&[TYPE_VLAN[0], TYPE_VLAN[1], high, low]);
                write_to(self.tap.as_fd(), &head, frame.parts_from(ADDRESSES))
            }
        };
        // An interface that is down takes nothing (EIO), as a port without a cable.
        written.inspect_err(|error| log::trace!("deliver: {error}")).is_ok()
    }

    fn collect(&mut self, transmit: &mut Transmit<'_>) {
        while let Some(buffer) = transmit.buffer() {
            let buffer = buffer.clone();
            let mut header = [0; Tap::HEADER];
            let len = match buffer.read_from(self.tap.as_fd(), &mut header) {
                Ok(len) => len.saturating_sub(Tap::HEADER),
                Err(error) => {
                    self.gone |= error.raw_os_error() == Some(Errno::BADFD.raw_os_error());
                    if error.kind() != io::ErrorKind::WouldBlock {
                        log::debug!("collect: {error}");
                    }
                    return;
                }
            };
            let offload = self.offload(header, &buffer, len, transmit);
            match offload {
                Ok(offload) if len <= transmit.largest() => transmit.send(len, offload),
                Ok(_) => transmit.drop_packet(),
                Err(error) => {
                    log::debug!("a client's packet: {error}");
                    transmit.drop_packet();
                }
            }
        }
    }
}
