//! The plugin inside QEMU: what is instrumented and what happens at a mark.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::fs::File;
use std::io::Write;
use std::mem::offset_of;
use std::sync::{Mutex, OnceLock};

use crate::api;
use crate::args::Args;
use crate::mark::{MARK_LEN, Mark};
use crate::window::{Counts, Windows};

/// One vCPU's entry in the scoreboard.
#[repr(C)]
struct Entry {
    kernel: u64,
    user: u64,
    mmio_reads: u64,
    mmio_writes: u64,
    apic: u64,
}

/// QEMU's scoreboard with an [`Entry`] per vCPU.
struct Board(*mut api::Scoreboard);

// SAFETY: the pointer is an opaque handle that QEMU keeps for the life of the process; QEMU's scoreboard
// functions may be called from any thread, and vCPUs add only to their own entry.
unsafe impl Send for Board {}
// SAFETY: as above.
unsafe impl Sync for Board {}

impl Board {
    fn member(&self, offset: usize) -> api::U64 {
        api::U64 { score: self.0, offset }
    }

    fn add(&self, offset: usize, vcpu: c_uint) {
        // SAFETY: the scoreboard lives for ever, `offset` is that of a u64 in `Entry`, and QEMU passed `vcpu`.
        unsafe { api::qemu_plugin_u64_add(self.member(offset), vcpu, 1) }
    }

    fn total(&self, offset: usize, vcpu: Option<u32>) -> u64 {
        let member = self.member(offset);
        match vcpu {
            // SAFETY: as in `add`; `install` and `reached` refuse a vCPU that does not exist.
            Some(vcpu) => unsafe { api::qemu_plugin_u64_get(member, vcpu) },
            // SAFETY: as in `add`.
            None => unsafe { api::qemu_plugin_u64_sum(member) },
        }
    }

    fn counts(&self, vcpu: Option<u32>) -> Counts {
        Counts {
            kernel: self.total(offset_of!(Entry, kernel), vcpu),
            user: self.total(offset_of!(Entry, user), vcpu),
            mmio_reads: self.total(offset_of!(Entry, mmio_reads), vcpu),
            mmio_writes: self.total(offset_of!(Entry, mmio_writes), vcpu),
            apic: self.total(offset_of!(Entry, apic), vcpu),
        }
    }
}

/// Everything that the callbacks share.
struct State {
    board: Board,
    mmio: bool,
    vcpu: Option<u32>,
    output: Mutex<(Windows, File)>,
}

/// Set once by `qemu_plugin_install`, before any callback can run.
static STATE: OnceLock<State> = OnceLock::new();

/// The interface version that QEMU checks before it loads the plugin.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub(crate) static qemu_plugin_version: c_int = api::VERSION;

/// QEMU's entry into the plugin: reads the arguments and asks to see every translated block.
///
/// # Safety
///
/// Called by QEMU alone, with `argc` strings in `argv`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn qemu_plugin_install(
    id: api::Id,
    info: *const api::Info,
    argc: c_int,
    argv: *const *const c_char,
) -> c_int {
    // SAFETY: QEMU keeps `info` and its strings alive during this call.
    let target = unsafe { CStr::from_ptr((*info).target_name) }.to_string_lossy();
    let args: Vec<String> = (0..usize::try_from(argc).unwrap_or(0))
        // SAFETY: QEMU passes `argc` pointers to terminated strings that live as long as the plugin.
        .map(|index| unsafe { CStr::from_ptr(*argv.add(index)) }.to_string_lossy().into_owned())
        .collect();
    match install(id, &target, &args) {
        Ok(()) => 0,
        Err(reason) => {
            eprintln!("tcg-count: {reason}");
            1
        }
    }
}

fn install(id: api::Id, target: &str, args: &[String]) -> Result<(), String> {
    if target != "x86_64" {
        return Err(format!("the marks are x86-64 instructions, the guest is {target}"));
    }
    let args = Args::parse(args.iter().map(String::as_str))?;
    let file =
        File::create(&args.out).map_err(|error| format!("cannot create {}: {error}", args.out.display()))?;
    // SAFETY: plain allocation by QEMU; it never returns null (it aborts instead).
    let board = Board(unsafe { api::qemu_plugin_scoreboard_new(size_of::<Entry>()) });
    let output = Mutex::new((Windows::new(args.mmio), file));
    let state = State { board, mmio: args.mmio, vcpu: args.vcpu, output };
    if STATE.set(state).is_err() {
        return Err("loaded twice".into());
    }
    // SAFETY: `translated` has the interface's signature and stays loaded; the user pointer is not used.
    unsafe { api::qemu_plugin_register_vcpu_tb_trans_cb(id, translated, std::ptr::null_mut()) };
    Ok(())
}

/// A block was translated: add its length at each execution, and find its marks.
extern "C" fn translated(tb: *mut api::Tb, _userdata: *mut c_void) {
    let Some(state) = STATE.get() else { return };
    // SAFETY: `tb` is valid during this callback.
    let insns = unsafe { api::qemu_plugin_tb_n_insns(tb) };
    // SAFETY: as above.
    let vaddr = unsafe { api::qemu_plugin_tb_vaddr(tb) };
    // x86-64 kernels live in the canonical upper half, programs in the lower.
    let member = if vaddr >> 63 == 1 { offset_of!(Entry, kernel) } else { offset_of!(Entry, user) };
    // SAFETY: `tb` is valid, the member is a u64 of the scoreboard's entries.
    unsafe {
        api::qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(
            tb,
            api::OP_ADD,
            state.board.member(member),
            insns as u64,
        );
    }
    for index in 0..insns {
        // SAFETY: `index` is below the number of instructions, `tb` is valid.
        let insn = unsafe { api::qemu_plugin_tb_get_insn(tb, index) };
        if let Some(mark) = mark_at(insn) {
            let userdata = std::ptr::without_provenance_mut(usize::from(mark.id()));
            // SAFETY: `insn` is valid during this callback; the user pointer is a number, never dereferenced.
            unsafe { api::qemu_plugin_register_vcpu_insn_exec_cb(insn, reached, api::NO_REGS, userdata) };
        }
        if state.mmio {
            // SAFETY: `insn` is valid during this callback; the user pointer is not used.
            unsafe {
                api::qemu_plugin_register_vcpu_mem_cb(
                    insn,
                    accessed,
                    api::NO_REGS,
                    api::MEM_RW,
                    std::ptr::null_mut(),
                );
            }
        }
    }
}

/// The mark that an instruction is.
fn mark_at(insn: *const api::Insn) -> Option<Mark> {
    // SAFETY: `insn` is valid during the translation callback.
    if unsafe { api::qemu_plugin_insn_size(insn) } != MARK_LEN {
        return None;
    }
    let mut code = [0; MARK_LEN];
    // SAFETY: QEMU writes at most `MARK_LEN` bytes into the buffer.
    let read = unsafe { api::qemu_plugin_insn_data(insn, code.as_mut_ptr().cast(), MARK_LEN) };
    if read == MARK_LEN { Mark::parse(code) } else { None }
}

/// A mark was executed.
extern "C" fn reached(_vcpu: c_uint, userdata: *mut c_void) {
    let Some(state) = STATE.get() else { return };
    let Ok(id) = u8::try_from(userdata.addr()) else { return };
    if let Some(vcpu) = state.vcpu {
        // SAFETY: plain query; vCPUs exist once one of them executes.
        let vcpus = unsafe { api::qemu_plugin_num_vcpus() };
        if i64::from(vcpu) >= i64::from(vcpus) {
            eprintln!("tcg-count: vcpu={vcpu} does not exist, the guest has {vcpus}");
            return;
        }
    }
    // A vCPU thread that died while it held the lock cannot have left the counters wrong.
    let mut output = state.output.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (windows, file) = &mut *output;
    if let Some(line) = windows.reach(Mark::from_id(id), state.board.counts(state.vcpu))
        && let Err(error) = file.write_all(line.as_bytes())
    {
        eprintln!("tcg-count: cannot write the result: {error}");
    }
}

/// Interrupt controllers of a PC: I/O APIC at 0xfec00000, local APIC at 0xfee00000, one page each.
fn is_apic(address: u64) -> bool {
    matches!(address & !0xfff, 0xfec0_0000 | 0xfee0_0000)
}

/// Guest memory was accessed.
extern "C" fn accessed(vcpu: c_uint, info: api::MemInfo, vaddr: u64, _userdata: *mut c_void) {
    let Some(state) = STATE.get() else { return };
    // SAFETY: called inside a memory callback with this callback's own arguments.
    let address = unsafe { api::qemu_plugin_get_hwaddr(info, vaddr) };
    // SAFETY: QEMU gave `address`; null, which it gives in user-mode emulation only, is not passed on.
    if address.is_null() || !unsafe { api::qemu_plugin_hwaddr_is_io(address) } {
        return;
    }
    // SAFETY: as above.
    let physical = unsafe { api::qemu_plugin_hwaddr_phys_addr(address) };
    // SAFETY: `info` is this callback's own argument.
    let store = unsafe { api::qemu_plugin_mem_is_store(info) };
    let member = if is_apic(physical) {
        offset_of!(Entry, apic)
    } else if store {
        offset_of!(Entry, mmio_writes)
    } else {
        offset_of!(Entry, mmio_reads)
    };
    state.board.add(member, vcpu);
}
