//! Serving through a TAP interface.

use std::{io, os::fd::AsFd, path::Path, time::Duration};

use anyhow::{Context, bail};
use common::{
    daemon::{Readiness, Termination},
    inspect::{self, InspectNode},
    privileges::{CapabilitySet, Policy},
};
use redox_driver_sys::{
    event::EventQueue,
    pci::PciAddress,
    time::{Clock, Time},
};

use super::{Attached, Service};
use crate::{
    device::NetDevice,
    engine::{Engine, Event},
    frontend::tap::{Interface, TapPort, offload},
    settings::{Features, Link, Settings, Shape},
};

/// How long packets may still take when the daemon is told to end.
const DRAIN: Duration = Duration::from_secs(2);
/// While there is always something to do, others are looked at after so many turns.
const TURNS: u32 = 16;
/// Tokens beside those of the engine.
const TERMINATION: u64 = u64::MAX;
const INSPECT: u64 = u64::MAX - 1;
const INTERFACE: u64 = u64::MAX - 2;
const CLIENT: u64 = u64::MAX - 3;

/// What the daemon that serves the device called `name` tells of itself; `None` if there is none.
///
/// # Errors
/// There is a daemon, but it does not answer.
pub(super) fn inspect_running(name: &str) -> io::Result<Option<String>> {
    inspect::ask(Path::new(inspect::ROOT), name)
}

/// How the interface of a device is called, as systemd would but for the start: `rbp0s4`, `rbP1p0s4f1`.
fn interface_name(address: PciAddress) -> String {
    let domain = if address.segment() == 0 { String::new() } else { format!("P{}", address.segment()) };
    let function = if address.function() == 0 { String::new() } else { format!("f{}", address.function()) };
    format!("rb{domain}p{}s{}{function}", address.bus(), address.device())
}

impl Service<'_> {
    pub(super) fn run<D: NetDevice>(self, attached: Attached<D>, readiness: Readiness) -> anyhow::Result<()> {
        let Attached { mut device, dma, clock } = attached;
        let mut termination = Termination::install()?;
        let root = Path::new(inspect::ROOT);
        let node = InspectNode::new(root, device.name())
            .inspect_err(|error| log::warn!("no inspect node: {error}"))
            .ok();
        let name = self.net.interface.clone().unwrap_or_else(|| interface_name(self.address));
        let queues = usize::from(device.capabilities().queues);
        let (interface, taps, existed) = Interface::open(&name, queues)?;
        let ports = taps.into_iter().map(TapPort::new).collect();
        let features = self.features(&device);
        let settings = Settings { features, ..device.settings().clone() };
        device.configure(&settings).context("set the features of the device")?;
        let mut serving = Serving {
            features,
            engine: Engine::start(device, dma, clock.clone(), ports)?,
            interface,
            happened: Vec::new(),
        };
        serving.introduce(existed, clock.coarse())?;
        restrict();
        readiness.notify()?;
        log::info!("{}: interface {name}", self.address);
        serving.serve(&clock, &mut termination, node.as_ref())?;
        log::info!("{}: ending", self.address);
        if !self.net.keep_interface {
            serving.remove_interface();
        }
        Ok(serving.engine.shutdown(DRAIN, self.wake_on)?)
    }

    /// What the device is to do: what it can, as far as the interface has a use for it.
    fn features<D: NetDevice>(&self, device: &D) -> Features {
        if self.net.no_offload {
            return Features::empty();
        }
        let capabilities = device.capabilities();
        // The interface's packets carry their tags.
        let mut features = capabilities.features - Features::TX_VLAN - Features::RX_VLAN;
        // The longest packet of the network stack: 64 KiB of IP, behind an Ethernet header with two tags.
        if capabilities.max_tso_len < (1 << 16) + 22 {
            features -= Features::TSO4 | Features::TSO6;
        }
        features
    }
}

/// Gives up what serving does not need: device, interface and sockets are open.
fn restrict() {
    let policy = Policy::new().keep(CapabilitySet::IPC_LOCK).readable("/sys").readable("/proc");
    if !policy.restrict().is_complete() {
        log::warn!("not all privileges could be given up");
    }
}

struct Serving<D: NetDevice> {
    engine: Engine<D, TapPort>,
    interface: Interface,
    features: Features,
    happened: Vec<Event>,
}

impl<D: NetDevice> Serving<D> {
    /// Makes interface and device alike: one that was there before has settings that count.
    fn introduce(&mut self, existed: bool, now: Time) -> anyhow::Result<()> {
        let tap = offload(self.features);
        for port in self.engine.ports_mut() {
            port.tap().set_offload(tap)?;
        }
        if !existed {
            let (mtu, address) = (self.engine.device().shape().mtu, self.engine.device().settings().address);
            if let Some(port) = self.engine.ports_mut().first() {
                port.tap().set_address(address.0)?;
            }
            self.interface.set_mtu(mtu).context("set the MTU of the interface")?;
        }
        self.follow_interface(now)?;
        self.happened.push(Event::Link(self.engine.device().link()));
        self.tell();
        Ok(())
    }

    fn serve(
        &mut self,
        clock: &Clock,
        termination: &mut Termination,
        node: Option<&InspectNode>,
    ) -> anyhow::Result<()> {
        // While the device has no room, clients are not watched: what they have to send would end every wait.
        let mut all = EventQueue::new(clock)?;
        let mut busy = EventQueue::new(clock)?;
        self.watch(&mut all, &mut busy, termination, node)?;
        let mut ready = Vec::new();
        let mut turns = 0;
        loop {
            let patience = self.engine.turn(&ready, &mut self.happened)?;
            if self.happened.contains(&Event::Reset) {
                self.watch(&mut all, &mut busy, termination, node)?;
            }
            self.tell();
            if self.engine.ports_mut().iter().any(TapPort::is_gone) {
                bail!("interface {} was deleted", self.interface.name());
            }
            ready.clear();
            turns = if patience.is_zero() { turns + 1 } else { TURNS };
            if turns < TURNS {
                continue;
            }
            turns = 0;
            let events = if self.engine.has_room() { &mut all } else { &mut busy };
            events.wait(patience, &mut ready)?;
            if ready.contains(&TERMINATION) && termination.requested() {
                return Ok(());
            }
            if let (true, Some(node)) = (ready.contains(&INSPECT), node) {
                node.answer(|| self.engine.inspect());
            }
            self.follow_interface(clock.coarse())?;
        }
    }

    fn watch(
        &mut self,
        all: &mut EventQueue,
        busy: &mut EventQueue,
        termination: &Termination,
        node: Option<&InspectNode>,
    ) -> anyhow::Result<()> {
        for events in [&mut *all, busy] {
            events.clear();
            self.engine.watch(events)?;
            events.add_fd(termination.as_fd(), TERMINATION)?;
            events.add_fd(self.interface.as_fd(), INTERFACE)?;
            if let Some(node) = node {
                events.add_fd(node.as_fd(), INSPECT)?;
            }
        }
        for port in self.engine.ports_mut() {
            all.add_fd(port.as_fd(), CLIENT)?;
        }
        Ok(())
    }

    /// Gives the device the settings that the interface has, if they are new.
    fn follow_interface(&mut self, now: Time) -> anyhow::Result<()> {
        let state = match self.interface.news(now) {
            Ok(Some(state)) => state,
            Ok(None) => return Ok(()),
            Err(error) => {
                log::warn!("interface {}: {error}", self.interface.name());
                return Ok(());
            }
        };
        let settings = Settings { address: state.address, filter: state.filter, features: self.features };
        if let Err(error) = self.engine.configure(&settings) {
            log::warn!("the device cannot be as interface {}: {error}", self.interface.name());
        }
        let shape = self.engine.device().shape();
        let mtu = u16::try_from(state.mtu).unwrap_or(u16::MAX);
        if let Err(error) = self.engine.reshape(Shape { mtu, ..shape }, &mut self.happened)? {
            let possible = &self.engine.device().capabilities().mtu;
            log::warn!("the device cannot have an MTU of {mtu}, but {possible:?}: {error}");
        }
        Ok(())
    }

    /// Tells the interface what happened to the device.
    fn tell(&mut self) {
        for event in self.happened.drain(..) {
            let Event::Link(link) = event else { continue };
            log::info!("{}: link {link}", self.interface.name());
            for port in self.engine.ports_mut() {
                if let Err(error) = port.tap().set_carrier(Link::is_up(link)) {
                    log::warn!("{error}");
                }
            }
        }
    }

    fn remove_interface(&mut self) {
        for port in self.engine.ports_mut().iter().take(1) {
            if let Err(error) = port.tap().set_persistent(false) {
                log::warn!("{error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_named_after_their_devices() {
        for (address, name) in
            [("0000:00:04.0", "rbp0s4"), ("0000:00:1f.6", "rbp0s31f6"), ("0002:17:01.0", "rbP2p23s1")]
        {
            assert_eq!(interface_name(address.parse().unwrap()), name);
        }
    }

    #[cfg(feature = "testing")]
    #[test]
    fn the_device_does_what_the_interface_has_a_use_for() {
        let [device, _] = crate::testing::wire();
        let features = |no_offload| {
            let net = crate::daemon::NetArgs { no_offload, ..Default::default() };
            let address = "0000:00:04.0".parse().unwrap();
            Service { address, net: &net, wake_on: crate::WakeOn::empty() }.features(&device)
        };
        assert_eq!(features(false), Features::TX_CHECKSUM | Features::RX_CHECKSUM);
        assert_eq!(features(true), Features::empty());
    }

    #[cfg(feature = "testing")]
    mod inside {
        use std::{env, process::Command};

        use super::*;
        use crate::{MacAddress, WakeOn, daemon::NetArgs, testing::wire};

        const INSIDE: &str = "RB_DAEMON_TEST";
        const NAME: &str = "rbtest2";
        /// What happens to the interface, from its beginning to its end. No message tells of the group, and when it is joined, those of
        /// IPv6's addresses are over.
        const LIFE: &str = "until ip link set rbtest2 up; do sleep 0.1; done
            sleep 4; ip maddress add 33:33:00:00:10:02 dev rbtest2
            sleep 2; ip link delete rbtest2";

        /// In name spaces of its own: this very test again, started by unshare(1).
        #[test]
        fn the_device_follows_the_interface_to_its_end() {
            if env::var_os(INSIDE).is_some() {
                return serve();
            }
            let unshare = |script: &str| {
                let mut command = Command::new("unshare");
                command.env(INSIDE, "1").args(["--user", "--map-root-user", "--net", "--mount", "sh", "-c"]);
                // The attributes of the new name space's interfaces.
                command.arg(format!("mount -t sysfs sysfs /sys && {script}"));
                command.arg(env::current_exe().unwrap()).output()
            };
            if !unshare("ip tuntap add rbtest2 mode tap").is_ok_and(|output| output.status.success()) {
                eprintln!("skipped: no name spaces, or no TAP, for this user");
                return;
            }
            let test = "daemon::linux::tests::inside::the_device_follows_the_interface_to_its_end";
            let output = unshare(&format!("exec timeout 30 \"$0\" --exact {test} --nocapture")).unwrap();
            let said = [output.stderr, output.stdout].map(|text| String::from_utf8_lossy(&text).into_owned());
            assert!(output.status.success() && said[1].contains("1 passed"), "{said:?}");
        }

        fn serve() {
            let [device, _other] = wire();
            let hand = device.handle();
            let mut life = Command::new("sh").args(["-c", LIFE]).spawn().unwrap();
            let net = NetArgs { interface: Some(NAME.to_string()), ..NetArgs::default() };
            let address = "0000:00:04.0".parse().unwrap();
            let service = Service { address, net: &net, wake_on: WakeOn::empty() };
            let attached = Attached { dma: device.dma(), clock: Clock::monotonic(), device };
            let error = service.run(attached, Readiness::from_env().unwrap()).unwrap_err();
            assert_eq!(error.to_string(), "interface rbtest2 was deleted");
            let group = MacAddress([0x33, 0x33, 0, 0, 0x10, 2]);
            assert!(hand.settings().filter.multicast.contains(&group), "{:?}", hand.settings());
            life.wait().unwrap();
        }
    }
}
