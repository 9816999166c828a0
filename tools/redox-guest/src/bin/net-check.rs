//! Checks a network driver from the side of Redox's network stack, inside a guest of the rig.

#![forbid(unsafe_code)]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use redox_guest::console::Console;

/// Checks a network driver from the side of Redox's network stack, inside a guest of the rig. Results go to the serial
/// console.
#[derive(Debug, Parser)]
#[command(name = "net-check", version)]
struct Cli {
    /// The driver is upstream's: leave out what only ours has
    #[arg(long)]
    upstream: bool,
    /// The driver's scheme
    #[arg(long)]
    scheme: String,
    /// Who sends and takes bytes
    #[arg(long)]
    peer: SocketAddr,
    /// How many, each way
    #[arg(long)]
    bytes: u32,
}

/// Both ends make the bytes by pieces of this length, from the same seed.
const PIECE: usize = 64 << 10;
const SEED: u64 = 21;
/// Bytes of a write.
const WRITE: usize = 4096;
/// Requests to the peer, and its answer when all that came was right.
const SEND: u8 = b'S';
const TAKE: u8 = b'T';
const RIGHT: u64 = u64::MAX;
/// Longest time of one check.
const LIMIT: Duration = Duration::from_secs(100);
/// How long the link may take.
const LINK: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let console = Console::open(cli.upstream);
    let mib = cli.bytes >> 20;
    std::thread::scope(|scope| {
        scope.spawn(|| console.watch(LIMIT));
        let mut good = console.own("the scheme tells address, MTU and link", || describe(&cli));
        good &= console.check("a DHCP lease", lease);
        good &= console.check(&format!("{mib} MiB arrive as they were sent"), || receive(&console, &cli));
        good &= console.check(&format!("{mib} MiB are sent as they should arrive"), || send(&console, &cli));
        good &= console.own("the driver has counted them", || counted(&cli));
        console.end(i32::from(!good))
    })
}

fn node(cli: &Cli, name: &str) -> Result<Vec<u8>> {
    let path = format!("/scheme/{}/{name}", cli.scheme);
    fs::read(&path).with_context(|| format!("read {path}"))
}

fn text(cli: &Cli, name: &str) -> Result<String> {
    Ok(String::from_utf8_lossy(&node(cli, name)?).trim().to_owned())
}

fn describe(cli: &Cli) -> Result<String> {
    let address = node(cli, "mac")?;
    // QEMU's default, which its EEPROM has.
    ensure!(address == [0x52, 0x54, 0, 0x12, 0x34, 0x56], "the address is {address:02x?}");
    let mtu = text(cli, "mtu")?;
    ensure!(mtu == "1500", "the MTU is {mtu}");
    let began = Instant::now();
    loop {
        let link = text(cli, "link")?;
        if link.starts_with("up") {
            return Ok(format!("{address:02x?}, {mtu}, {link}"));
        }
        ensure!(began.elapsed() < LINK, "the link is {link}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn lease() -> Result<String> {
    let status = Command::new("/usr/bin/dhcpd").status().context("start dhcpd")?;
    ensure!(status.success(), "dhcpd: {status}");
    let addresses = fs::read_to_string("/scheme/netcfg/ifaces/eth0/addr/list").context("read the address")?;
    ensure!(addresses.contains("10.0.2."), "the addresses are {addresses:?}");
    Ok(addresses.trim().to_owned())
}

/// Calls `each` with every piece of what both ends know.
fn pieces(cli: &Cli, mut each: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut piece = vec![0; PIECE];
    for number in 0..u64::from(cli.bytes) / PIECE as u64 {
        random.fill(&mut piece);
        each(number, &piece)?;
    }
    Ok(())
}

fn connect(cli: &Cli, wish: u8) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(cli.peer).with_context(|| format!("connect to {}", cli.peer))?;
    stream.write_all(&[wish]).context("ask")?;
    Ok(stream)
}

fn rate(console: &Console, cli: &Cli, name: &str, began: Instant) -> String {
    let took = began.elapsed().as_secs_f64();
    let rate = f64::from(cli.bytes) / 1e6 / took;
    console.metric(name, rate, "MB/s");
    format!("{rate:.2} MB/s")
}

fn receive(console: &Console, cli: &Cli) -> Result<String> {
    let began = Instant::now();
    let mut stream = connect(cli, SEND)?;
    let mut found = vec![0; PIECE];
    pieces(cli, |number, expected| {
        stream.read_exact(&mut found).with_context(|| format!("receive piece {number}"))?;
        ensure!(found == expected, "piece {number} is not what was sent");
        Ok(())
    })?;
    Ok(rate(console, cli, "receive", began))
}

fn send(console: &Console, cli: &Cli) -> Result<String> {
    let began = Instant::now();
    let mut stream = connect(cli, TAKE)?;
    pieces(cli, |number, piece| {
        piece
            .chunks(WRITE)
            .try_for_each(|part| stream.write_all(part))
            .with_context(|| format!("send piece {number}"))
    })?;
    let mut verdict = [0; 8];
    stream.read_exact(&mut verdict).context("receive the verdict")?;
    match u64::from_le_bytes(verdict) {
        RIGHT => Ok(rate(console, cli, "send", began)),
        piece => bail!("piece {piece} is not what was sent"),
    }
}

/// What the driver counts is at least what the stack moved.
fn counted(cli: &Cli) -> Result<String> {
    let stats = text(cli, "stats")?;
    let value = |name: &str| -> Result<u64> {
        let line =
            stats.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
        line.trim_matches([':', ' ']).parse().with_context(|| format!("{name}{line}"))
    };
    // Not the device's own: QEMU's 82540EM counts no bytes.
    let (received, sent) = (value("lane_rx_bytes")?, value("lane_tx_bytes")?);
    let least = u64::from(cli.bytes);
    ensure!(received >= least && sent >= least, "{received} bytes received and {sent} sent");
    Ok(format!("{received} bytes received, {sent} sent"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
