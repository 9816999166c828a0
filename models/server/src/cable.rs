//! Two network controllers at the ends of a cable.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, bail};
use model_e1000::Partner;
use model_server::Server;

use crate::devices::judged;

/// One end of a cable.
struct End {
    server: Server,
    take_sent: Box<dyn Fn() -> Vec<Frame> + Send>,
    send: Box<dyn Fn(&Frame) + Send>,
}

/// What goes through a cable, without its frame check sequence.
type Frame = Vec<u8>;

/// Listens for each end.
pub(crate) fn listen(chips: &[String], sockets: [&PathBuf; 2]) -> Result<Vec<Server>> {
    let [Some(one), Some(other)] = [chips.first(), chips.get(1)] else { bail!("a cable has two ends") };
    let [from, to] = sockets;
    // Locally administered.
    let one = end(one, from, [0x52, 0x54, 0x00, 0x0c, 0xab, 1])?;
    let other = end(other, to, [0x52, 0x54, 0x00, 0x0c, 0xab, 2])?;
    carry(&one.server, one.take_sent, &other.server, other.send);
    carry(&other.server, other.take_sent, &one.server, one.send);
    Ok(vec![one.server, other.server])
}

/// A controller of that kind, plugged in.
fn end(chip: &str, socket: &Path, address: [u8; 6]) -> Result<End> {
    if e1000_spec::CHIPS.iter().any(|known| known.name == chip) {
        let config = model_e1000::Config { address, ..model_e1000::Config::named(chip) };
        let (device, handle) = model_e1000::E1000::new(config);
        handle.set_partner(Some(Partner::SWITCH), Duration::ZERO);
        let (violations, receiver) = (handle.clone(), handle.clone());
        return Ok(End {
            server: judged(Server::listen(socket, Box::new(device))?, move || violations.take_violations()),
            take_sent: Box::new(move || handle.take_sent()),
            send: Box::new(move |frame| receiver.send(frame)),
        });
    }
    if let Some(chip) = rtl8168_spec::Chip::named(chip) {
        let config = model_rtl8168::Config { address, ..model_rtl8168::Config::of(chip) };
        let (device, handle) = model_rtl8168::Rtl8168::new(config);
        handle.set_partner(Some(Partner::SWITCH), Duration::ZERO);
        let (violations, receiver) = (handle.clone(), handle.clone());
        return Ok(End {
            server: judged(Server::listen(socket, Box::new(device))?, move || violations.take_violations()),
            take_sent: Box::new(move || handle.take_sent()),
            send: Box::new(move |frame| receiver.send(frame)),
        });
    }
    let names = e1000_spec::CHIPS.iter().map(|chip| chip.name);
    let mut names: Vec<&str> = names.chain(rtl8168_spec::CHIPS.iter().map(|chip| chip.name)).collect();
    names.dedup();
    bail!("there is no model of {chip}, but of {}", names.join(", "));
}

/// Carries what one end sends to the other.
fn carry(
    from: &Server,
    take_sent: impl Fn() -> Vec<Frame> + Send + 'static,
    to: &Server,
    send: impl Fn(&Frame) + Send + 'static,
) {
    let waker = to.waker();
    from.observe(move || {
        let frames = take_sent();
        frames.iter().for_each(&send);
        if !frames.is_empty() {
            waker.wake();
        }
    });
}
