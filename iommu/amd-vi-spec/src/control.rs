//! The control register (section 3.4.2, MMIO offset 18h).

use bitfield_struct::bitfield;

/// IOMMU Control Register.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Control {
    /// IommuEn: enable. If not, everything passes.
    pub iommu_en: bool,
    /// HtTunEn: HyperTransport tunnel translation.
    pub ht_tun_en: bool,
    /// EventLogEn: log events.
    pub event_log_en: bool,
    /// EventIntEn: interrupt when an event was logged or lost.
    pub event_int_en: bool,
    /// ComWaitIntEn: interrupt when a COMPLETION_WAIT with its i bit is done.
    pub com_wait_int_en: bool,
    /// InvTimeOut: how long an IOTLB may take to answer an invalidation (0: for ever, 1: 1 ms, each next ten times longer).
    #[bits(3)]
    pub inv_time_out: u8,
    /// PassPW: pass posted writes.
    pub pass_pw: bool,
    /// ResPassPW: response pass posted writes.
    pub res_pass_pw: bool,
    /// Coherent: the IOMMU's reads of command buffer and device table snoop caches.
    pub coherent: bool,
    /// Isoc: isochronous reads.
    pub isoc: bool,
    /// CmdBufEn: execute commands.
    pub cmd_buf_en: bool,
    /// PPRLogEn: log peripheral page requests.
    pub ppr_log_en: bool,
    /// PPRIntEn: interrupt for them.
    pub ppr_int_en: bool,
    /// PPREn: accept them.
    pub ppr_en: bool,
    /// GTEn: guest translation.
    pub gt_en: bool,
    /// GAEn: interrupt remapping table entries have 128 bits.
    pub ga_en: bool,
    /// CRW, SMIFEn, SlfWBDis, SMIFLogEn: for firmware.
    #[bits(7)]
    pub firmware: u8,
    /// GAMEn: guest virtual APIC mode.
    #[bits(3)]
    pub gam_en: u8,
    /// GALogEn: guest virtual APIC log.
    pub ga_log_en: bool,
    /// GAIntEn: interrupt for it.
    pub ga_int_en: bool,
    /// DualPPRLogEn.
    #[bits(2)]
    pub dual_ppr_log_en: u8,
    /// DualEventLogEn.
    #[bits(2)]
    pub dual_event_log_en: u8,
    /// DevTblSegEn: log2 of the segments of the device table, 0–3.
    #[bits(3)]
    pub dev_tbl_seg_en: u8,
    /// PrivAbrtEn.
    #[bits(2)]
    pub priv_abrt_en: u8,
    /// PPRAutoRspEn.
    pub ppr_auto_rsp_en: bool,
    /// MARCEn: memory access routing.
    pub marc_en: bool,
    /// BlkStopMrkEn.
    pub blk_stop_mrk_en: bool,
    /// PPRAutoRspAon.
    pub ppr_auto_rsp_aon: bool,
    /// DomainIDPNE.
    pub domain_id_pne: bool,
    #[bits(1)]
    __: u8,
    /// EPHEn: enhanced PPR handling.
    pub eph_en: bool,
    /// HADUpdate: whether accessed and dirty bits are updated.
    #[bits(2)]
    pub had_update: u8,
    /// GDUpdateDis.
    pub gd_update_dis: bool,
    #[bits(1)]
    __: u8,
    /// XTEn: destinations of interrupts have 32 bits (x2APIC).
    pub xt_en: bool,
    /// IntCapXTEn: the IOMMU's own interrupts are described by the XT interrupt control registers.
    pub int_cap_xt_en: bool,
    /// vCmdEn, vIommuEn, GAUpdateDis, GAPPIEn: virtualization.
    #[bits(4)]
    pub virtualization: u8,
    /// TMPMEn: tiered memory migration.
    pub tmpm_en: bool,
    #[bits(1)]
    __: u8,
    /// GCR3TRPMode: guest CR3 table pointers are guest addresses.
    pub gcr3_trp_mode: bool,
    /// IRTCacheDis: interrupt remapping table entries are not cached.
    pub irt_cache_dis: bool,
    /// GstBufferTRPMode.
    pub guest_buffer_trp_mode: bool,
    /// SNPAVICEn.
    #[bits(3)]
    pub snp_avic_en: u8,
}

redox_driver_sys::register_values!(Control: u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_where_the_specification_puts_them() {
        let bit = |control: Control| u64::from(control).trailing_zeros();
        assert_eq!(bit(Control::new().with_com_wait_int_en(true)), 4);
        assert_eq!(bit(Control::new().with_inv_time_out(1)), 5);
        assert_eq!(bit(Control::new().with_coherent(true)), 10);
        assert_eq!(bit(Control::new().with_cmd_buf_en(true)), 12);
        assert_eq!(bit(Control::new().with_ga_en(true)), 17);
        assert_eq!(bit(Control::new().with_gam_en(1)), 25);
        assert_eq!(bit(Control::new().with_ga_log_en(true)), 28);
        assert_eq!(bit(Control::new().with_dev_tbl_seg_en(1)), 34);
        assert_eq!(bit(Control::new().with_eph_en(true)), 45);
        assert_eq!(bit(Control::new().with_xt_en(true)), 50);
        assert_eq!(bit(Control::new().with_int_cap_xt_en(true)), 51);
        assert_eq!(bit(Control::new().with_irt_cache_dis(true)), 59);
        assert_eq!(bit(Control::new().with_snp_avic_en(1)), 61);
    }
}
