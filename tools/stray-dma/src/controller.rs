//! The least of an NVMe controller: an admin queue that carries Identify (NVM Express Base
//! Specification 1.4, sections 3.1 and 5.15).

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nvme_spec::registers::{self, Aqa, Cap, Cc, Csts};
use nvme_spec::{AdminOpcode, Cdw0, CompletionEntry, IdentifyCdw10, Status, SubmissionEntry};
use redox_driver_sys::dma::{DmaAllocator, DmaSlice};
use redox_driver_sys::mmio::{Mmio, ReadOnly, ReadWrite, WriteOnly};
use redox_driver_sys::pci::PciFunction;

use crate::Device;

/// Entries of the admin queues; no more commands than that are ever given.
const ENTRIES: u16 = 8;

/// CNS of the Identify Controller data structure.
const CONTROLLER: u8 = 1;

/// Longest wait for a completion.
const ANSWER: Duration = Duration::from_secs(10);

/// A phase tag within the dword at [`CompletionEntry::PUBLISHED_AT`].
const PHASE: u32 = 1 << 16;

/// A controller with nothing but its admin queue.
pub(crate) struct Controller {
    function: PciFunction,
    registers: Mmio,
    ready: Duration,
    stride: u8,
    sq: DmaSlice<SubmissionEntry>,
    cq: DmaSlice<CompletionEntry>,
    given: u16,
}

impl Controller {
    /// Resets and enables the controller.
    pub(crate) fn start(function: PciFunction) -> Result<Self> {
        function.enable_memory()?;
        let registers = function.map_bar(0).context("cannot map the registers")?;
        let low = registers.register::<u32, ReadOnly>(registers::CAP)?.read_present("CAP")?;
        let high = registers.register::<u32, ReadOnly>(registers::CAP + 4)?.read();
        let cap = Cap::from(u64::from(high) << 32 | u64::from(low));
        let dma = function.dma()?;
        let controller = Self {
            function,
            registers,
            ready: Duration::from_millis(500) * u32::from(cap.to().max(1)),
            stride: cap.dstrd(),
            sq: dma.allocate_slice(ENTRIES.into())?,
            cq: dma.allocate_slice(ENTRIES.into())?,
            given: 0,
        };
        controller.write(registers::CC, Cc::new().into())?;
        controller.wait_ready(false)?;
        controller.function.set_bus_master(true)?;
        let last = ENTRIES.saturating_sub(1);
        controller.write(registers::AQA, Aqa::new().with_asqs(last).with_acqs(last).into())?;
        let [sq, cq] = controller.queues();
        for (register, address) in [(registers::ASQ, sq), (registers::ACQ, cq)] {
            controller.write(register, u32::try_from(address & u64::from(u32::MAX))?)?;
            controller.write(register + 4, u32::try_from(address >> 32)?)?;
        }
        controller.write(registers::CC, Cc::new().with_en(true).with_iosqes(6).with_iocqes(4).into())?;
        controller.wait_ready(true)?;
        Ok(controller)
    }

    /// Has a controller that a former program left running look at the queue of that program.
    pub(crate) fn wake(function: &PciFunction) -> Result<()> {
        function.enable_memory()?;
        let registers = function.map_bar(0).context("cannot map the registers")?;
        function.set_bus_master(true)?;
        let doorbell = registers::sq_tail_doorbell(0, 0);
        registers.register::<u32, ReadWrite>(doorbell)?.write(u32::from(ENTRIES) - 1);
        std::thread::sleep(Duration::from_millis(200));
        Ok(())
    }

    /// Where the admin queues are.
    fn queues(&self) -> [u64; 2] {
        [self.sq.addr().get(), self.cq.addr().get()]
    }

    /// Has the controller write its Identify data to an address.
    fn identify(&mut self, address: u64) -> Result<Status> {
        let at = usize::from(self.given);
        ensure!(self.given < ENTRIES - 1, "no more commands than the queue holds");
        self.sq.write(
            at,
            SubmissionEntry {
                cdw0: Cdw0::new().with_opcode(AdminOpcode::IDENTIFY.0).with_cid(self.given),
                dptr: [address, 0],
                cdw10: IdentifyCdw10::new().with_cns(CONTROLLER).into(),
                ..SubmissionEntry::default()
            },
        );
        self.given = self.given.saturating_add(1);
        self.ring(registers::sq_tail_doorbell(0, self.stride))?;
        let end = Instant::now() + ANSWER;
        while self.cq.load_acquire::<u32>(at, CompletionEntry::PUBLISHED_AT) & PHASE == 0 {
            if Instant::now() > end {
                bail!("no completion within {ANSWER:?}");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let entry = self.cq.read(at);
        self.ring(registers::cq_head_doorbell(0, self.stride))?;
        Ok(entry.status.status())
    }

    fn ring(&self, doorbell: u64) -> Result<()> {
        let register = self.registers.register::<u32, WriteOnly>(doorbell)?;
        register.write(u32::from(self.given));
        Ok(())
    }

    fn write(&self, register: u64, value: u32) -> Result<()> {
        self.registers.register::<u32, ReadWrite>(register)?.write(value);
        Ok(())
    }

    fn wait_ready(&self, ready: bool) -> Result<()> {
        let register = self.registers.register::<u32, ReadOnly>(registers::CSTS)?;
        let end = Instant::now() + self.ready;
        while Csts::from(register.read_present("CSTS")?).rdy() != ready {
            if Instant::now() > end {
                bail!("CSTS.RDY is not {} within {:?}", u8::from(ready), self.ready);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

impl Device for Controller {
    fn dma(&self) -> Result<DmaAllocator> {
        Ok(self.function.dma()?)
    }

    fn addresses(&self) -> Vec<u64> {
        self.queues().to_vec()
    }

    fn write_to(&mut self, address: u64) -> Result<String> {
        let status = self.identify(address)?;
        ensure!(status.is_success(), "{status}");
        Ok(status.to_string())
    }

    fn stop(self: Box<Self>) -> Result<()> {
        self.write(registers::CC, Cc::new().into())?;
        self.wait_ready(false)?;
        self.function.set_bus_master(false)?;
        Ok(())
    }
}
