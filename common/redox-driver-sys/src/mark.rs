//! Marks for instruction counting: the benchmarks' begin and end, seen by `tools/tcg-count` from outside.
//!
//! A mark is `nopl disp32(%rax,%rax,1)`, a NOP of eight bytes (Intel SDM volume 2, NOP) whose displacement is
//! `0x5ad7b5` above an identifier byte. It costs one instruction on hardware and nothing knows of it but
//! an emulator that looks.

/// Identifier bit of an end mark; the rest is the label of the window.
const END: u8 = 0x80;

/// Opens the counting window `label` (0 to 127; the top bit is ignored).
pub fn begin(label: u8) {
    mark(label & !END);
}

/// Closes the counting window `label` (0 to 127; the top bit is ignored).
pub fn end(label: u8) {
    mark(label | END);
}

/// Executes the mark with this identifier.
// Inlined, each call would carry the whole table.
#[inline(never)]
#[allow(unsafe_code)]
fn mark(id: u8) {
    // The identifier is part of the instruction, so there is one NOP per identifier, each in its own 16 bytes:
    // 8 for the NOP, at most 5 for the jump out of the table.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: the computed jump lands on one of the 256 table entries, since `id` is a byte and the table has 256
    // entries of 16 bytes; each is a NOP and a jump to the end of this block. Two registers are clobbered, as declared.
    unsafe {
        core::arch::asm!(
            "lea {table}, [rip + 2f]",
            "shl {entry}, 4",
            "add {entry}, {table}",
            "jmp {entry}",
            ".balign 16",
            "2:",
            ".set rb_mark_id, 0",
            ".rept 256",
            ".byte 0x0f, 0x1f, 0x84, 0x00, rb_mark_id, 0xb5, 0xd7, 0x5a",
            "jmp 3f",
            ".balign 16",
            ".set rb_mark_id, rb_mark_id + 1",
            ".endr",
            "3:",
            table = out(reg) _,
            entry = inout(reg) u64::from(id) => _,
            options(nomem, nostack),
        );
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = id;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_identifier_comes_back() {
        for id in 0..=u8::MAX {
            mark(id);
        }
        begin(5);
        end(5);
    }

    #[test]
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    #[allow(unsafe_code)]
    fn the_table_holds_each_identifier_once_at_its_place() {
        let start = mark as *const () as *const u8;
        // SAFETY: the function's code is readable; its prologue, table and end take more than 256 entries of 16 bytes.
        let code = unsafe { std::slice::from_raw_parts(start, 256 * 16) };
        let first =
            code.windows(8).position(|bytes| bytes == [0x0f, 0x1f, 0x84, 0, 0, 0xb5, 0xd7, 0x5a]).unwrap();
        for (id, entry) in (0..=254_u8).zip(code[first..].chunks_exact(16)) {
            assert_eq!(entry[..8], [0x0f, 0x1f, 0x84, 0, id, 0xb5, 0xd7, 0x5a]);
        }
    }
}
