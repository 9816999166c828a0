//! QEMU's plugin interface, as much of it as this plugin calls.
//!
//! Declared by hand: interface version 7 (QEMU 11.1) gives every callback a user pointer, refuses older
//! plugins, and the published bindings end at version 5.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_uint, c_void};

/// Interface version that this module declares; QEMU reads `qemu_plugin_version` before it calls anything.
pub(crate) const VERSION: c_int = 7;

/// `qemu_plugin_id_t`
pub(crate) type Id = u64;

/// `qemu_plugin_meminfo_t`
pub(crate) type MemInfo = u32;

/// `struct qemu_plugin_tb`, opaque.
#[repr(C)]
pub(crate) struct Tb {
    _opaque: [u8; 0],
}

/// `struct qemu_plugin_insn`, opaque.
#[repr(C)]
pub(crate) struct Insn {
    _opaque: [u8; 0],
}

/// `struct qemu_plugin_scoreboard`, opaque: one entry per vCPU, grown by QEMU.
#[repr(C)]
pub(crate) struct Scoreboard {
    _opaque: [u8; 0],
}

/// `struct qemu_plugin_hwaddr`, opaque.
#[repr(C)]
pub(crate) struct HwAddr {
    _opaque: [u8; 0],
}

/// `qemu_plugin_u64`: a 64-bit member of a scoreboard's entries.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct U64 {
    /// The scoreboard.
    pub(crate) score: *mut Scoreboard,
    /// Offset of the member in an entry.
    pub(crate) offset: usize,
}

/// `QEMU_PLUGIN_INLINE_ADD_U64` of `enum qemu_plugin_op`.
pub(crate) const OP_ADD: c_int = 0;
/// `QEMU_PLUGIN_CB_NO_REGS` of `enum qemu_plugin_cb_flags`.
pub(crate) const NO_REGS: c_int = 0;
/// `QEMU_PLUGIN_MEM_RW` of `enum qemu_plugin_mem_rw`.
pub(crate) const MEM_RW: c_int = 3;

/// `qemu_plugin_vcpu_tb_trans_cb_t`
pub(crate) type TransCallback = extern "C" fn(tb: *mut Tb, userdata: *mut c_void);
/// `qemu_plugin_vcpu_udata_cb_t`
pub(crate) type VcpuCallback = extern "C" fn(vcpu: c_uint, userdata: *mut c_void);
/// `qemu_plugin_vcpu_mem_cb_t`
pub(crate) type MemCallback = extern "C" fn(vcpu: c_uint, info: MemInfo, vaddr: u64, userdata: *mut c_void);

unsafe extern "C" {
    pub(crate) fn qemu_plugin_register_vcpu_tb_trans_cb(id: Id, cb: TransCallback, userdata: *mut c_void);
    pub(crate) fn qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(
        tb: *mut Tb,
        op: c_int,
        entry: U64,
        imm: u64,
    );
    pub(crate) fn qemu_plugin_register_vcpu_insn_exec_cb(
        insn: *mut Insn,
        cb: VcpuCallback,
        flags: c_int,
        userdata: *mut c_void,
    );
    pub(crate) fn qemu_plugin_register_vcpu_mem_cb(
        insn: *mut Insn,
        cb: MemCallback,
        flags: c_int,
        rw: c_int,
        userdata: *mut c_void,
    );
    pub(crate) fn qemu_plugin_tb_n_insns(tb: *const Tb) -> usize;
    pub(crate) fn qemu_plugin_tb_vaddr(tb: *const Tb) -> u64;
    pub(crate) fn qemu_plugin_tb_get_insn(tb: *const Tb, index: usize) -> *mut Insn;
    pub(crate) fn qemu_plugin_insn_data(insn: *const Insn, dest: *mut c_void, len: usize) -> usize;
    pub(crate) fn qemu_plugin_insn_size(insn: *const Insn) -> usize;
    pub(crate) fn qemu_plugin_mem_is_store(info: MemInfo) -> bool;
    pub(crate) fn qemu_plugin_get_hwaddr(info: MemInfo, vaddr: u64) -> *mut HwAddr;
    pub(crate) fn qemu_plugin_hwaddr_is_io(addr: *const HwAddr) -> bool;
    pub(crate) fn qemu_plugin_hwaddr_phys_addr(addr: *const HwAddr) -> u64;
    pub(crate) fn qemu_plugin_scoreboard_new(element_size: usize) -> *mut Scoreboard;
    pub(crate) fn qemu_plugin_u64_add(entry: U64, vcpu: c_uint, added: u64);
    pub(crate) fn qemu_plugin_u64_get(entry: U64, vcpu: c_uint) -> u64;
    pub(crate) fn qemu_plugin_u64_sum(entry: U64) -> u64;
    pub(crate) fn qemu_plugin_num_vcpus() -> c_int;
}

/// The start of `qemu_info_t`; the plugin reads no more of it.
#[repr(C)]
pub(crate) struct Info {
    /// Name of the guest architecture.
    pub(crate) target_name: *const c_char,
}
