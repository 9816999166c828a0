//! Starting and stopping a unit.

use amd_vi_spec::{
    Command, Control, DeviceId, DomainId,
    registers::{ExclusionBase, ExclusionLimit, Status},
};

use super::{
    State, Unit,
    error::{Result, UnitError},
    firmware::UnitFirmware,
    options::{Capabilities, IrteFormat, UnitOptions},
    registers::Registers,
};

/// Looks at what the unit can do, and chooses. One that is enabled keeps the formats that it has.
pub(super) fn probe(
    registers: &Registers,
    firmware: &UnitFirmware,
    options: &UnitOptions,
) -> Result<Capabilities> {
    let probe = || {
        let control = registers.control()?;
        // Old units have no such register.
        let features =
            if u64::from(firmware.features) == 0 { firmware.features } else { registers.features()? };
        Ok((control, features))
    };
    let (control, features) = probe().map_err(UnitError::machine("look at the unit"))?;
    if features != firmware.features {
        let (own, said) = (u64::from(features), u64::from(firmware.features));
        log::debug!("IOMMU {}: features are {own:#x}, firmware says {said:#x}", firmware.device);
    }
    let wide = options.x2apic && features.ga_sup();
    let (segments, wide, x2apic) = if control.iommu_en() {
        (control.dev_tbl_seg_en().min(3), control.ga_en(), control.xt_en())
    } else {
        let segments = if options.segments { features.dev_tbl_seg_sup() } else { 0 };
        (segments, wide, wide && features.xt_sup())
    };
    let interrupts = if wide { IrteFormat::Bits128 { x2apic } } else { IrteFormat::Bits32 };
    let not_present_cached = options.not_present_cached;
    Ok(Capabilities { levels: features.host_levels(), segments, not_present_cached, interrupts, features })
}

impl Unit {
    /// Gives the unit its tables and enables it. From now on devices reach what they were given by
    /// [`set_device`](Self::set_device), and those that were given nothing what the options say.
    ///
    /// # Errors
    /// When it does not start; it may be enabled then, and block what it blocks.
    pub fn enable(&mut self) -> Result<()> {
        self.state = State::Failed;
        self.start()?;
        self.state = State::Enabled;
        self.forget_everything();
        self.sync()
    }

    fn start(&mut self) -> Result<()> {
        let (registers, timeout) = (&self.registers, self.options.timeout);
        let stop = || {
            registers.switch_commands(false, timeout)?;
            registers.switch_events(false, timeout)
        };
        stop().map_err(UnitError::machine("stop the unit"))?;
        self.commands.install(registers);
        self.events.install(registers);
        self.devices.install(registers);
        // Firmware may have left one.
        registers.exclusion_base.write(ExclusionBase::new());
        registers.exclusion_limit.write(ExclusionLimit::new());
        let old = Status::new().with_event_overflow(true).with_event_log_int(true).with_com_wait_int(true);
        registers.clear_status(old);
        registers.control.write(self.control());
        let started = || {
            registers.wait_for_commands(true, timeout)?;
            registers.wait_for_events(true, timeout)
        };
        started().map_err(UnitError::machine("start the unit"))
    }

    /// Lets everything pass, as if there were no IOMMU, and stops the unit.
    ///
    /// # Errors
    /// When it does not stop, or is gone.
    pub fn disable(&mut self) -> Result<()> {
        let (registers, timeout) = (&self.registers, self.options.timeout);
        let stop = || {
            registers.switch_commands(false, timeout)?;
            registers.switch_events(false, timeout)?;
            registers.control.write(Control::new());
            Ok(())
        };
        stop().map_err(UnitError::machine("stop the unit"))?;
        self.state = State::Disabled;
        Ok(())
    }

    /// What is written to the control register.
    fn control(&self) -> Control {
        let flags = self.firmware.flags;
        let (ga, xt) = match self.capabilities.interrupts {
            IrteFormat::Bits32 => (false, false),
            IrteFormat::Bits128 { x2apic } => (true, x2apic),
        };
        Control::new()
            .with_iommu_en(true)
            .with_cmd_buf_en(true)
            .with_event_log_en(true)
            .with_event_int_en(self.options.event_interrupt)
            .with_coherent(true)
            .with_ht_tun_en(flags.ht_tun_en())
            .with_pass_pw(flags.pass_pw())
            .with_res_pass_pw(flags.res_pass_pw())
            .with_isoc(flags.isoc())
            .with_dev_tbl_seg_en(self.capabilities.segments)
            .with_ga_en(ga)
            .with_xt_en(xt)
    }

    /// Makes the unit forget everything, whatever it remembers and from whomever.
    fn forget_everything(&mut self) {
        if self.capabilities.features.ia_sup() {
            self.commands.push(&self.registers, Command::invalidate_iommu_all());
            return;
        }
        for id in 0..=u16::MAX {
            self.commands.push(&self.registers, Command::invalidate_devtab_entry(DeviceId(id)));
            self.commands.push(&self.registers, Command::invalidate_interrupt_table(DeviceId(id)));
            self.commands.invalidate_domain(&self.registers, DomainId(id));
        }
    }

    /// Starts command processing anew after it stopped or did not go on. What was not carried out is made good by
    /// forgetting everything.
    #[cold]
    pub(super) fn restart(&mut self, why: &UnitError) -> Result<()> {
        log::warn!("IOMMU {}: {why}; commands are started anew", self.firmware.device);
        self.statistics.restarts += 1;
        self.state = State::Failed;
        let (registers, timeout) = (&self.registers, self.options.timeout);
        registers.switch_commands(false, timeout).map_err(UnitError::machine("stop commands"))?;
        self.commands.install(registers);
        registers.switch_commands(true, timeout).map_err(UnitError::machine("start commands"))?;
        self.forget_everything();
        self.commands.finish(&self.registers)?;
        self.state = State::Enabled;
        Ok(())
    }

    /// Starts the event log anew after it was full (section 2.5.1).
    pub(super) fn restart_events(&mut self) -> Result<()> {
        let (registers, timeout) = (&self.registers, self.options.timeout);
        registers.switch_events(false, timeout).map_err(UnitError::machine("stop the event log"))?;
        self.events.install(registers);
        registers.clear_status(Status::new().with_event_overflow(true));
        registers.switch_events(true, timeout).map_err(UnitError::machine("start the event log"))
    }

    /// Finishes what the unit was told, before the machine sleeps. Tables stay in memory; nothing may be changed until
    /// [`resume`](Self::resume).
    ///
    /// # Errors
    /// Those of [`sync`](Self::sync).
    pub fn suspend(&mut self) -> Result<()> {
        self.sync()?;
        self.state = State::Suspended;
        Ok(())
    }

    /// Gives the unit back what it lost while the machine slept, or starts one that failed.
    ///
    /// # Errors
    /// As [`enable`](Self::enable).
    pub fn resume(&mut self) -> Result<()> {
        self.enable()
    }
}
