//! The NVMe model over vfio-user, used by a client as QEMU is one: reset, enabled, and asked who it is.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fs::File,
    io::Read,
    os::{fd::AsRawFd, unix::fs::FileExt},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use model_nvme::{Config, Nvme};
use model_server::Server;
use rustix::{
    event::{EventfdFlags, eventfd},
    fs::{MemfdFlags, memfd_create},
};
use vfio_bindings::bindings::vfio::{
    VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_IRQ_SET_DATA_EVENTFD, VFIO_PCI_CONFIG_REGION_INDEX,
    VFIO_PCI_MSIX_IRQ_INDEX,
};
use vfio_user::Client;

/// Where the guest's memory is for the device.
const MEMORY: u64 = 0x4000_0000;
const MEMORY_LEN: u64 = 0x10_000;
/// Admin queues of 4 entries, and the answer of Identify.
const ASQ: u64 = 0;
const ACQ: u64 = 0x1000;
const ANSWER: u64 = 0x2000;

struct Guest {
    client: Client,
    memory: File,
}

impl Guest {
    fn read32(&mut self, region: u32, offset: u64) -> u32 {
        let mut bytes = [0; 4];
        self.client.region_read(region, offset, &mut bytes).unwrap();
        u32::from_le_bytes(bytes)
    }

    fn write32(&mut self, region: u32, offset: u64, value: u32) {
        self.client.region_write(region, offset, &value.to_le_bytes()).unwrap();
    }

    fn wait(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(start.elapsed() < Duration::from_secs(10), "{what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn a_controller_is_enabled_and_identifies_itself() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nvme");
    let (nvme, handle) = Nvme::new(Config { serial: "over a socket".into(), ..Config::default() });
    let server = Server::listen(&path, Box::new(nvme)).unwrap();
    let looks = Arc::new(AtomicU32::new(0));
    let counted = looks.clone();
    server.observe(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    std::thread::scope(|scope| {
        let serving = scope.spawn(|| server.serve());
        let memory = File::from(memfd_create("guest", MemfdFlags::CLOEXEC).unwrap());
        memory.set_len(MEMORY_LEN).unwrap();
        let mut guest = Guest { client: Client::new(&path).unwrap(), memory };
        guest.client.dma_map(0, MEMORY, MEMORY_LEN, guest.memory.as_raw_fd()).unwrap();
        let mut interrupt = File::from(eventfd(0, EventfdFlags::NONBLOCK).unwrap());
        let flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
        guest.client.set_irqs(VFIO_PCI_MSIX_IRQ_INDEX, flags, 0, 1, &[interrupt.as_raw_fd()]).unwrap();

        let class = guest.read32(VFIO_PCI_CONFIG_REGION_INDEX, 8) >> 8;
        assert_eq!(class, 0x01_08_02, "an NVMe controller");
        guest.write32(VFIO_PCI_CONFIG_REGION_INDEX, 4, 0b110);
        assert_eq!(guest.read32(0, 0x1c) & 1, 0, "CSTS.RDY after reset");
        guest.write32(0, 0x24, 3 << 16 | 3);
        for (register, at) in [(0x28, ASQ), (0x30, ACQ)] {
            guest.client.region_write(0, register, &(MEMORY + at).to_le_bytes()).unwrap();
        }
        // Entries of 64 and 16 bytes, EN.
        guest.write32(0, 0x14, 4 << 20 | 6 << 16 | 1);
        guest.wait("CSTS.RDY", |guest| guest.read32(0, 0x1c) & 1 == 1);

        // Identify controller, command 7.
        let mut command = [0; 64];
        command[..4].copy_from_slice(&(7u32 << 16 | 0x06).to_le_bytes());
        command[24..32].copy_from_slice(&(MEMORY + ANSWER).to_le_bytes());
        command[40] = 1;
        guest.memory.write_all_at(&command, ASQ).unwrap();
        guest.write32(0, 0x1000, 1);
        guest.wait("an interrupt", |_| interrupt.read_exact(&mut [0; 8]).is_ok());
        let mut completion = [0; 16];
        guest.memory.read_exact_at(&mut completion, ACQ).unwrap();
        assert_eq!(completion[12..], [7, 0, 1, 0], "command 7, phase 1, success");
        let mut serial = [0; 20];
        guest.memory.read_exact_at(&mut serial, ANSWER + 4).unwrap();
        assert_eq!(&serial, b"over a socket       ");

        guest.client.reset().unwrap();
        assert_eq!(guest.read32(0, 0x1c) & 1, 0, "CSTS.RDY after another reset");
        guest.client.shutdown().unwrap();
        assert!(serving.join().unwrap().is_ok());
        assert!(looks.load(Ordering::Relaxed) > 10, "an observer sees each access");
        assert_eq!(handle.take_violations(), []);
    });
}
