//! The interface as a whole: what the system's administrator has set about it.

use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    time::Duration,
};

use redox_driver_sys::{
    error::Error,
    tap::{Tap, TapOffload},
    time::Time,
};
use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SocketFlags, SocketType, bind, netlink::SocketAddrNetlink, recv,
        socket_with,
    },
};

use crate::{
    address::MacAddress,
    settings::{Features, Filter},
};

/// Attributes of interfaces, one in each file.
const SYSFS: &str = "/sys/class/net";
/// The groups that each interface has joined.
const GROUPS: &str = "/proc/net/dev_mcast";
/// Changes of links, and of addresses, with which groups come and go.
const RTMGRP_LINK: u32 = 1;
const RTMGRP_IPV4_IFADDR: u32 = 0x10;
const RTMGRP_IPV6_IFADDR: u32 = 0x100;
/// The interface is looked at this often though nothing is told: nobody tells of a group that somebody joins.
const LOOK: Duration = Duration::from_secs(1);
/// `linux/if.h`
const IFF_PROMISC: u32 = 0x100;
const IFF_ALLMULTI: u32 = 0x200;

/// What the interface is like now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceState {
    /// Payload bytes of a frame.
    pub mtu: u32,
    /// Its hardware address.
    pub address: MacAddress,
    /// What it wants to receive.
    pub filter: Filter,
}

/// The interface in front of one device.
#[derive(Debug)]
pub struct Interface {
    name: String,
    sysfs: PathBuf,
    groups: PathBuf,
    /// Readable when something has changed.
    changes: OwnedFd,
    /// What was found last, or why nothing was, and when.
    found: Option<(Time, Result<InterfaceState, io::ErrorKind>)>,
}

impl Interface {
    /// Opens `queues` queues of the interface `name`, which is made if there is none, and stays when the process ends. The second value
    /// says whether it was there before.
    ///
    /// # Errors
    /// What the system answers.
    pub fn open(name: &str, queues: usize) -> Result<(Interface, Vec<Tap>, bool), Error> {
        let step = || format!("watch the interface {name}");
        let sysfs = Path::new(SYSFS).join(name);
        let existed = sysfs.exists();
        let changes = changes().map_err(|error| Error::os(step(), error))?;
        let taps = (0..queues).map(|_| Tap::open(name, true)).collect::<Result<Vec<_>, _>>()?;
        if let Some(tap) = taps.first() {
            tap.set_persistent(true)?;
        }
        let interface =
            Interface { name: name.to_string(), sysfs, groups: GROUPS.into(), changes, found: None };
        Ok((interface, taps, existed))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sets the MTU of the interface.
    ///
    /// # Errors
    /// What the system answers.
    pub fn set_mtu(&self, mtu: u16) -> io::Result<()> {
        fs::write(self.sysfs.join("mtu"), mtu.to_string())
    }

    /// Whether something may have changed; asking forgets it.
    pub fn take_changes(&self) -> bool {
        let mut any = false;
        let mut message = [0_u8; 4096];
        loop {
            match recv(&self.changes, &mut message, RecvFlags::DONTWAIT) {
                Ok(_) | Err(Errno::NOBUFS) => any = true,
                Err(Errno::INTR) => {}
                Err(_) => return any,
            }
        }
    }

    /// What it is like, if that is something new. Looks when something may have changed, and about once a second.
    ///
    /// # Errors
    /// It is gone, or tells nonsense, which it did not before.
    pub fn news(&mut self, now: Time) -> io::Result<Option<InterfaceState>> {
        let told = self.take_changes();
        let last = self.found.take_if(|(at, _)| told || now.since(*at) >= LOOK).map(|(_, found)| found);
        if self.found.is_some() {
            return Ok(None);
        }
        let state = self.state();
        let found = state.as_ref().map(InterfaceState::clone).map_err(io::Error::kind);
        let new = last.as_ref() != Some(&found);
        self.found = Some((now, found));
        if new { state.map(Some) } else { Ok(None) }
    }

    /// What it is like now.
    ///
    /// # Errors
    /// It is gone, or tells nonsense.
    pub fn state(&self) -> io::Result<InterfaceState> {
        let text = |file: &str| fs::read_to_string(self.sysfs.join(file));
        let nonsense = |_| io::Error::from(io::ErrorKind::InvalidData);
        let flags = text("flags")?;
        let flags = flags.trim().trim_start_matches("0x");
        let flags = u32::from_str_radix(flags, 16).map_err(|_| io::ErrorKind::InvalidData)?;
        Ok(InterfaceState {
            mtu: text("mtu")?.trim().parse().map_err(|_| io::ErrorKind::InvalidData)?,
            address: text("address")?.trim().parse().map_err(nonsense)?,
            filter: Filter {
                promiscuous: flags & IFF_PROMISC != 0,
                all_multicast: flags & IFF_ALLMULTI != 0,
                unicast: Vec::new(),
                multicast: groups(&fs::read_to_string(&self.groups)?, &self.name),
            },
        })
    }
}

impl AsFd for Interface {
    /// Readable when something has changed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.changes.as_fd()
    }
}

/// What may be left to a device with these features, through the interface.
pub fn offload(features: Features) -> TapOffload {
    let mut offload = TapOffload::empty();
    if features.contains(Features::TX_CHECKSUM) {
        offload |= TapOffload::CHECKSUM;
        offload.set(TapOffload::TSO4, features.contains(Features::TSO4));
        offload.set(TapOffload::TSO6, features.contains(Features::TSO6));
    }
    offload
}

fn changes() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // The protocol is NETLINK_ROUTE, which is 0.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    let wanted = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
    bind(&socket, &SocketAddrNetlink::new(0, wanted))?;
    Ok(socket)
}

/// The groups of interface `name` in a list of those of all: number, name, users, global users, and the address in 12 digits.
fn groups(list: &str, name: &str) -> Vec<MacAddress> {
    let group = |line: &str| {
        let mut words = line.split_whitespace();
        words.nth(1).filter(|word| *word == name)?;
        let digits = words.nth(2).filter(|digits| digits.len() == 12)?;
        // The highest of 8 bytes are zero.
        let number = u64::from_str_radix(digits, 16).ok()?.to_be_bytes();
        number.last_chunk().map(|bytes| MacAddress(*bytes))
    };
    list.lines().filter_map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_those_of_the_interface() {
        let list = "2    eth0            1     0     01005e000001\n\
                    3    rbp0s4          1     0     333300000001\n\
                    3    rbp0s4          2     1     3333ff123456\n\
                    3    rbp0s4          1     0     nonsense\n\
                    3    rbp0s4\n";
        let found = groups(list, "rbp0s4");
        let expected =
            [MacAddress([0x33, 0x33, 0, 0, 0, 1]), MacAddress([0x33, 0x33, 0xff, 0x12, 0x34, 0x56])];
        assert_eq!(found, expected);
        assert_eq!(groups(list, "rbp0s5"), []);
    }

    #[test]
    fn without_checksums_nothing_is_cut() {
        assert_eq!(offload(Features::TSO4 | Features::RX_CHECKSUM), TapOffload::empty());
        let all = Features::TX_CHECKSUM | Features::TSO4 | Features::TSO6;
        assert_eq!(offload(all), TapOffload::all());
    }

    #[test]
    fn an_interface_can_be_watched() {
        let interface = Interface {
            name: "lo".to_string(),
            sysfs: Path::new(SYSFS).join("lo"),
            groups: GROUPS.into(),
            changes: changes().unwrap(),
            found: None,
        };
        let state = interface.state().unwrap();
        assert!(state.mtu > 0 && !state.filter.promiscuous, "{state:?}");
        assert!(!interface.take_changes());
    }
}
