//! What a client asks for.

use syscall::{
    flag::{EventFlags, O_ACCMODE, O_DIRECTORY, O_NONBLOCK, O_RDONLY, O_STAT, O_WRONLY, StdFsCallKind},
    schemev2::{Opcode, Sqe, SqeFlags},
};

use super::memory::Access;

/// How something is to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFlags(usize);

impl OpenFlags {
    /// The flags as the kernel passes them on.
    pub const fn from_bits(bits: usize) -> Self {
        OpenFlags(bits)
    }

    /// For reading.
    pub const fn read(self) -> bool {
        self.0 & O_ACCMODE & O_RDONLY != 0
    }

    /// For writing.
    pub const fn write(self) -> bool {
        self.0 & O_ACCMODE & O_WRONLY != 0
    }

    /// Only if it is a directory.
    pub const fn directory(self) -> bool {
        self.0 & O_DIRECTORY != 0
    }

    /// To be looked at, not to be read or written.
    pub const fn stat(self) -> bool {
        self.0 & O_STAT != 0
    }
}

/// Where a listing goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectoryEntries {
    /// The number that the last entry gave as the next one; 0 for the first.
    pub from: u64,
    /// Length of an entry's header in bytes.
    pub header: u16,
}

/// What a client asks for, or what the kernel has to say. Buffers are the [request's](super::SchemeRequest).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Opens the path in the buffer, which is relative to an open directory.
    Open {
        /// The directory's handle.
        directory: usize,
        /// How.
        flags: OpenFlags,
        /// The client's effective user.
        user: u32,
    },
    /// Fills the buffer.
    Read {
        /// From what.
        handle: usize,
        /// From which byte on.
        offset: u64,
    },
    /// Takes the buffer.
    Write {
        /// To what.
        handle: usize,
        /// From which byte on.
        offset: u64,
    },
    /// Asks for the length in bytes.
    Size {
        /// Of what.
        handle: usize,
    },
    /// Fills the buffer with a `Stat`.
    Stat {
        /// Of what.
        handle: usize,
    },
    /// Fills the buffer with the path.
    Path {
        /// Of what.
        handle: usize,
    },
    /// Waits until what was written is safe.
    Sync {
        /// Of what.
        handle: usize,
    },
    /// Fills the buffer with entries of a directory.
    List {
        /// Of what.
        handle: usize,
        /// Which ones.
        entries: DirectoryEntries,
    },
    /// Something that the scheme defines, with a buffer that it can read and write.
    Call {
        /// Of what.
        handle: usize,
        /// What the client gave beside the buffer.
        metadata: [u64; 3],
    },
    /// Wants to be told by an [event](super::Answer::event) whenever something can be read or written; answered with what can be now
    /// (1: read, 2: write).
    Events {
        /// Of what.
        handle: usize,
        /// Whether something can be read.
        read: bool,
        /// Whether something can be written.
        write: bool,
    },
    /// Changes or asks for descriptor flags that mean nothing to a scheme.
    Control {
        /// Of what.
        handle: usize,
    },
    /// The last descriptor was closed. Not answered.
    Close {
        /// Of what.
        handle: usize,
    },
    /// The client has lost patience with the request of this tag, which is still to be answered. Not answered itself.
    Cancel {
        /// Which request.
        tag: u32,
    },
    /// Something else that is not answered.
    Notice,
    /// Something else. To be answered with `EOPNOTSUPP`.
    Unsupported,
}

impl Operation {
    /// Whether the kernel waits for an answer.
    pub const fn is_answered(self) -> bool {
        !matches!(self, Operation::Close { .. } | Operation::Cancel { .. } | Operation::Notice)
    }

    #[allow(
        clippy::cast_possible_truncation,
        reason = "fields that are narrower than what they are passed in"
    )]
    pub(super) fn parse(sqe: &Sqe) -> Self {
        let args = sqe.args;
        let handle = args[0] as usize;
        let Some(opcode) = Opcode::try_from_raw(sqe.opcode) else { return Operation::Unsupported };
        match opcode {
            Opcode::OpenAt => Operation::Open {
                directory: handle,
                flags: OpenFlags(args[3] as usize),
                user: args[5] as u32,
            },
            Opcode::Read => Operation::Read { handle, offset: args[3] },
            Opcode::Write => Operation::Write { handle, offset: args[3] },
            Opcode::Fsize => Operation::Size { handle },
            Opcode::Fstat => Operation::Stat { handle },
            Opcode::Fpath => Operation::Path { handle },
            Opcode::Fsync => Operation::Sync { handle },
            Opcode::Getdents => Operation::List {
                handle,
                entries: DirectoryEntries { from: args[4], header: args[3] as u16 },
            },
            Opcode::Fcntl => Operation::Control { handle },
            Opcode::Fevent => {
                let wanted = EventFlags::from_bits_truncate(args[1] as usize);
                Operation::Events {
                    handle,
                    read: wanted.contains(EventFlags::EVENT_READ),
                    write: wanted.contains(EventFlags::EVENT_WRITE),
                }
            }
            Opcode::Call if sqe.sqe_flags.contains(SqeFlags::MULTIPLE_IDS) => Operation::Unsupported,
            Opcode::Call => Operation::Call { handle, metadata: [args[3], args[4], args[5]] },
            Opcode::StdFsCall => Self::parse_standard(sqe, handle),
            Opcode::CloseMsg => Operation::Close { handle },
            Opcode::Cancel => Operation::Cancel { tag: sqe.tag },
            Opcode::Detach | Opcode::Msync | Opcode::RequestMmap => Operation::Notice,
            _ => Operation::Unsupported,
        }
    }

    /// The form that file operations have in the newer generation: a call whose metadata says which one.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "fields that are narrower than what they are passed in"
    )]
    fn parse_standard(sqe: &Sqe, handle: usize) -> Self {
        let [kind, first, second] = [sqe.args[3], sqe.args[4], sqe.args[5]];
        if sqe.sqe_flags.contains(SqeFlags::MULTIPLE_IDS) {
            return Operation::Unsupported;
        }
        match StdFsCallKind::try_from_raw(kind as u8) {
            Some(StdFsCallKind::Fstat) => Operation::Stat { handle },
            Some(StdFsCallKind::Fsync) => Operation::Sync { handle },
            Some(StdFsCallKind::Getdents) => {
                Operation::List { handle, entries: DirectoryEntries { from: first, header: second as u16 } }
            }
            _ => Operation::Unsupported,
        }
    }

    /// Whether a read or write is not to wait.
    pub(super) fn is_nonblocking(sqe: &Sqe) -> bool {
        let moves = matches!(Opcode::try_from_raw(sqe.opcode), Some(Opcode::Read | Opcode::Write));
        moves && sqe.args[4] & O_NONBLOCK as u64 != 0
    }

    /// Whether the second and third argument are the address and length of a buffer, and what it is for.
    pub(super) fn buffer(sqe: &Sqe) -> Option<Access> {
        match Opcode::try_from_raw(sqe.opcode)? {
            Opcode::OpenAt | Opcode::Write => Some(Access::Read),
            Opcode::Read | Opcode::Fstat | Opcode::Fpath | Opcode::Getdents => Some(Access::Write),
            Opcode::Call | Opcode::StdFsCall => Some(Access::ReadWrite),
            _ => None,
        }
    }
}
