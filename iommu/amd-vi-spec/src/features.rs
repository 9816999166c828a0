//! The extended feature registers (sections 3.4.3 and 3.4.19, MMIO offsets 30h and 1A0h), which IVHD blocks of type 11h and
//! 40h repeat.

use bitfield_struct::bitfield;

/// Extended Feature Register.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct ExtendedFeatures {
    /// PreFSup: PREFETCH_IOMMU_PAGES.
    pub pref_sup: bool,
    /// PPRSup: peripheral page requests.
    pub ppr_sup: bool,
    /// XTSup: interrupts to x2APICs.
    pub xt_sup: bool,
    /// NXSup: no-execute.
    pub nx_sup: bool,
    /// GTSup: guest translation.
    pub gt_sup: bool,
    /// GAPPISup: guest APIC physical processor interrupts.
    pub gappi_sup: bool,
    /// IASup: INVALIDATE_IOMMU_ALL.
    pub ia_sup: bool,
    /// GASup: guest virtual APIC, and 128-bit interrupt remapping table entries.
    pub ga_sup: bool,
    /// HESup: hardware error registers.
    pub he_sup: bool,
    /// PCSup: performance counters.
    pub pc_sup: bool,
    /// HATS: levels of host page tables: 4 + HATS; 3 is reserved.
    #[bits(2)]
    pub hats: u8,
    /// GATS: levels of guest page tables: 4 + GATS.
    #[bits(2)]
    pub gats: u8,
    /// GLXSup: levels of guest CR3 tables, less one.
    #[bits(2)]
    pub glx_sup: u8,
    /// SmiFSup.
    #[bits(2)]
    pub smif_sup: u8,
    /// SmiFRC.
    #[bits(3)]
    pub smif_rc: u8,
    /// GAMSup: guest virtual APIC modes.
    #[bits(3)]
    pub gam_sup: u8,
    /// DualPPRLogSup.
    #[bits(2)]
    pub dual_ppr_log_sup: u8,
    #[bits(2)]
    __: u8,
    /// DualEventLogSup.
    #[bits(2)]
    pub dual_event_log_sup: u8,
    #[bits(1)]
    __: u8,
    /// SATSSup: secure ATS.
    pub sats_sup: bool,
    /// PASmax: bits of a PASID, less one.
    #[bits(5)]
    pub pas_max: u8,
    /// USSup: user/supervisor.
    pub us_sup: bool,
    /// DevTblSegSup: log2 of the most segments of the device table, 0–3.
    #[bits(2)]
    pub dev_tbl_seg_sup: u8,
    /// PPROvrflwEarlySup.
    pub ppr_early_overflow_sup: bool,
    /// PPRAutoRspSup.
    pub ppr_auto_rsp_sup: bool,
    /// MARCSup.
    #[bits(2)]
    pub marc_sup: u8,
    /// BlkStopMrkSup.
    pub blk_stop_mrk_sup: bool,
    /// PerfOptSup.
    pub perf_opt_sup: bool,
    /// MsiCapMmioSup: the MSI capability's registers are also at MMIO offset 158h.
    pub msi_cap_mmio_sup: bool,
    #[bits(1)]
    __: u8,
    /// GIoSup.
    pub gio_sup: bool,
    /// HASup: accessed bits of host page tables.
    pub ha_sup: bool,
    /// EPHSup.
    pub eph_sup: bool,
    /// AttrFWSup.
    pub attr_fw_sup: bool,
    /// HDSup: dirty bits of host page tables.
    pub hd_sup: bool,
    #[bits(1)]
    __: u8,
    /// InvIotlbTypeSup.
    pub inv_iotlb_type_sup: bool,
    /// vIommuSup, VMGuardIoSup, VMTableSize, GAUpdateDisSup.
    #[bits(7)]
    pub virtualization: u8,
    /// ForcePhyDestSup.
    pub force_phy_dest_sup: bool,
    /// SNPSup: secure nested paging.
    pub snp_sup: bool,
}

impl ExtendedFeatures {
    /// Levels of host page tables, 4–6. The reserved encoding is taken for the least.
    pub const fn host_levels(self) -> u8 {
        match self.hats() {
            hats @ 0..=2 => 4 + hats,
            _ => 4,
        }
    }
}

/// Extended Feature 2 Register.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct ExtendedFeatures2 {
    #[bits(2)]
    __: u8,
    /// TMPMSup.
    pub tmpm_sup: bool,
    /// GCR3TRPModeSup.
    pub gcr3_trp_mode_sup: bool,
    /// GstBufferTRPModeSup.
    pub guest_buffer_trp_mode_sup: bool,
    /// SNPAVICSup.
    #[bits(3)]
    pub snp_avic_sup: u8,
    /// NumIntRemapSup: entries of an interrupt remapping table (0: 512, 1: 2,048).
    #[bits(2)]
    pub num_int_remap_sup: u8,
    #[bits(54)]
    __: u64,
}

redox_driver_sys::register_values!(ExtendedFeatures: u64, ExtendedFeatures2: u64);

#[cfg(test)]
mod tests {
    use super::*;

    /// What a Ryzen's IVHD block of type 11h says of itself.
    #[test]
    fn bits_are_where_the_specification_puts_them() {
        let efr = ExtendedFeatures::from(0x058f_77ef_2229_4a5a);
        assert!(efr.ppr_sup() && efr.nx_sup() && efr.gt_sup() && efr.ia_sup() && !efr.ga_sup());
        let bit = |efr: ExtendedFeatures| u64::from(efr).trailing_zeros();
        let none = ExtendedFeatures::new();
        assert_eq!(bit(none.with_ga_sup(true)), 7);
        assert_eq!(bit(none.with_hats(1)), 10);
        assert_eq!(bit(none.with_smif_rc(1)), 18);
        assert_eq!(bit(none.with_gam_sup(1)), 21);
        assert_eq!(bit(none.with_dual_event_log_sup(1)), 28);
        assert_eq!(bit(none.with_pas_max(1)), 32);
        assert_eq!(bit(none.with_dev_tbl_seg_sup(1)), 38);
        assert_eq!(bit(none.with_marc_sup(1)), 42);
        assert_eq!(bit(none.with_msi_cap_mmio_sup(true)), 46);
        assert_eq!(bit(none.with_gio_sup(true)), 48);
        assert_eq!(bit(none.with_hd_sup(true)), 52);
        assert_eq!(bit(none.with_inv_iotlb_type_sup(true)), 54);
        assert_eq!(bit(none.with_snp_sup(true)), 63);
        assert_eq!(
            (none.host_levels(), none.with_hats(2).host_levels(), none.with_hats(3).host_levels()),
            (4, 6, 4)
        );
        assert_eq!(u64::from(ExtendedFeatures2::new().with_num_int_remap_sup(1)), 1 << 8);
    }
}
