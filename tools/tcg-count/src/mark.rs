//! Recognising marks in the guest's code.

/// Length of a mark: `nopl disp32(%rax,%rax,1)` (Intel SDM volume 2, NOP, the eight-byte form).
pub(crate) const MARK_LEN: usize = 8;

/// Opcode, ModRM and SIB byte of that form.
const OPCODE: [u8; 4] = [0x0f, 0x1f, 0x84, 0x00];

/// Upper three bytes of the displacement: assemblers pad with a displacement of 0, so no padding looks so.
const MAGIC: [u8; 3] = [0xb5, 0xd7, 0x5a];

/// Bit of the identifier that tells an end mark from a begin mark.
const END: u8 = 0x80;

/// What a mark in the instruction stream asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// The window with this label opens.
    Begin(u8),
    /// The window with this label closes.
    End(u8),
}

impl Mark {
    /// The mark that `code` is, if it is one.
    pub(crate) fn parse(code: [u8; MARK_LEN]) -> Option<Self> {
        let [opcode @ .., id, m0, m1, m2] = code;
        (opcode == OPCODE && [m0, m1, m2] == MAGIC).then(|| Self::from_id(id))
    }

    /// The mark with this identifier.
    pub(crate) fn from_id(id: u8) -> Self {
        if id & END == 0 { Self::Begin(id) } else { Self::End(id & !END) }
    }

    /// The identifier in the mark's displacement.
    pub(crate) fn id(self) -> u8 {
        match self {
            Self::Begin(label) => label,
            Self::End(label) => label | END,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_begin_and_end() {
        assert_eq!(Mark::parse([0x0f, 0x1f, 0x84, 0, 5, 0xb5, 0xd7, 0x5a]), Some(Mark::Begin(5)));
        assert_eq!(Mark::parse([0x0f, 0x1f, 0x84, 0, 0x85, 0xb5, 0xd7, 0x5a]), Some(Mark::End(5)));
    }

    #[test]
    fn leaves_padding_alone() {
        assert_eq!(Mark::parse([0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0]), None);
        assert_eq!(Mark::parse([0x0f, 0x1f, 0x80, 0, 5, 0xb5, 0xd7, 0x5a]), None);
        assert_eq!(Mark::parse([0x0f, 0x1f, 0x84, 0, 5, 0xb5, 0xd7, 0x5b]), None);
    }

    #[test]
    fn identifiers_survive_the_round_trip() {
        for id in 0..=u8::MAX {
            assert_eq!(Mark::from_id(id).id(), id);
        }
    }
}
