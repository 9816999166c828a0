//! Memory-mapped registers: bounds-checked once, typed, volatile.
//!
//! A [`Mmio`] region hands out [`Register`]s. The check of bounds and alignment happens there, so that an access is
//! nothing but the load or the store. The access mode is part of the type: a register whose read has side effects
//! ([`ReadClears`]) cannot be read by a method that looks harmless.
//!
//! ```
//! # use redox_driver_sys::{Result, mmio::{Mmio, ReadClears, ReadOnly, WriteOnly}};
//! fn ring(registers: &Mmio) -> Result<u32> {
//!     registers.register::<u32, WriteOnly>(0x1000)?.write(1);
//!     Ok(registers.register::<u32, ReadClears>(0xc0)?.read_and_clear())
//! }
//! ```
//!
//! What the mode does not have does not compile:
//!
//! ```compile_fail
//! # use redox_driver_sys::{Result, mmio::{Mmio, ReadClears}};
//! fn look(registers: &Mmio) -> Result<u32> {
//!     Ok(registers.register::<u32, ReadClears>(0xc0)?.read())
//! }
//! ```
//!
//! ```compile_fail
//! # use redox_driver_sys::{Result, mmio::{Mmio, WriteOnly}};
//! fn look(registers: &Mmio) -> Result<u32> {
//!     Ok(registers.register::<u32, WriteOnly>(0x1000)?.read())
//! }
//! ```
//!
//! ```compile_fail
//! # use redox_driver_sys::{Result, mmio::{Mmio, ReadOnly}};
//! fn change(registers: &Mmio) -> Result<()> {
//!     registers.register::<u32, ReadOnly>(0)?.write(1);
//!     Ok(())
//! }
//! ```

use std::{fmt, marker::PhantomData, ops::Range, ptr::NonNull, sync::Arc};

use crate::error::{Error, Result};

/// A mapping of device memory into this process, unmapped on drop by its owner.
pub(crate) struct Mapping {
    pub(crate) base: NonNull<u8>,
    pub(crate) len: usize,
    /// What of it is not mapped and must not be touched.
    pub(crate) gaps: Vec<Range<u64>>,
    pub(crate) unmap: fn(NonNull<u8>, usize),
}

// SAFETY: the mapping is plain device memory, valid from any thread; accesses are volatile and go through registers.
unsafe impl Send for Mapping {}
// SAFETY: as above; the device orders concurrent accesses.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        (self.unmap)(self.base, self.len);
    }
}

/// A region of registers: a BAR or a part of one. Clones share the mapping.
#[derive(Clone)]
pub struct Mmio {
    region: Region,
    offset: u64,
    len: u64,
}

#[derive(Clone)]
enum Region {
    Mapped(Arc<Mapping>),
    #[cfg(feature = "model")]
    Model(crate::model::Bar),
}

impl fmt::Debug for Mmio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mmio").field("offset", &self.offset).field("len", &self.len).finish_non_exhaustive()
    }
}

impl Mmio {
    #[cfg_attr(not(any(target_os = "linux", target_os = "redox")), allow(dead_code))]
    pub(crate) fn mapped(mapping: Mapping) -> Self {
        let len = mapping.len as u64;
        Mmio { region: Region::Mapped(Arc::new(mapping)), offset: 0, len }
    }

    #[cfg(feature = "model")]
    pub(crate) fn model(bar: crate::model::Bar, len: u64) -> Self {
        Mmio { region: Region::Model(bar), offset: 0, len }
    }

    /// Length of the region in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the region has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The part of the region that starts at `offset` and is `len` bytes long.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] when it does not fit.
    pub fn subregion(&self, offset: u64, len: u64) -> Result<Mmio> {
        self.check(offset, len, 1)?;
        Ok(Mmio { region: self.region.clone(), offset: self.offset + offset, len })
    }

    /// The register of type `T` at `offset` bytes, accessed as `A` allows.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] when it does not fit, is not aligned or lies in a part that the OS keeps to itself.
    pub fn register<T: RegisterValue, A>(&self, offset: u64) -> Result<Register<T, A>> {
        let width = size_of::<T::Word>() as u64;
        self.check(offset, width, width)?;
        let at = self.offset + offset;
        let location = match &self.region {
            Region::Mapped(mapping) => {
                if mapping.gaps.iter().any(|gap| gap.start < at + width && at < gap.end) {
                    return Err(self.out_of_bounds(offset, width));
                }
                // A checked offset is below the mapping's length, which is a usize.
                let at = usize::try_from(at).map_err(|_| self.out_of_bounds(offset, width))?;
                // SAFETY: `check` found `at + width` inside the mapping.
                let pointer = unsafe { mapping.base.add(at) };
                Location::Mapped { pointer, _mapping: mapping.clone() }
            }
            #[cfg(feature = "model")]
            Region::Model(bar) => Location::Model { bar: bar.clone(), offset: at },
        };
        Ok(Register { location, kind: PhantomData })
    }

    fn check(&self, offset: u64, len: u64, align: u64) -> Result<()> {
        let fits = offset.checked_add(len).is_some_and(|end| end <= self.len);
        if fits && (self.offset + offset).is_multiple_of(align) {
            Ok(())
        } else {
            Err(self.out_of_bounds(offset, len))
        }
    }

    fn out_of_bounds(&self, offset: u64, len: u64) -> Error {
        Error::OutOfBounds { offset, len, region: self.len }
    }
}

/// Access mode: reading has no side effect, writing is not possible.
pub enum ReadOnly {}
/// Access mode: both, and reading has no side effect.
pub enum ReadWrite {}
/// Access mode: writing only.
pub enum WriteOnly {}
/// Access mode: reading changes the register or the device (clear on read, FIFO).
pub enum ReadClears {}

/// Modes whose reads are harmless.
pub trait Readable {}
impl Readable for ReadOnly {}
impl Readable for ReadWrite {}
/// Modes that can be written.
pub trait Writable {}
impl Writable for ReadWrite {}
impl Writable for WriteOnly {}

/// One register. `T` is what it holds, `A` how it may be accessed.
pub struct Register<T, A> {
    location: Location,
    kind: PhantomData<(T, fn() -> A)>,
}

impl<T, A> Clone for Register<T, A> {
    fn clone(&self) -> Self {
        Register { location: self.location.clone(), kind: PhantomData }
    }
}

impl<T, A> fmt::Debug for Register<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Register")
    }
}

#[derive(Clone)]
enum Location {
    Mapped {
        pointer: NonNull<u8>,
        _mapping: Arc<Mapping>,
    },
    #[cfg(feature = "model")]
    Model {
        bar: crate::model::Bar,
        offset: u64,
    },
}

// SAFETY: the pointer is kept valid by the mapping, which is Send and Sync itself.
unsafe impl Send for Location {}
// SAFETY: as above; volatile accesses of at most 8 aligned bytes do not tear.
unsafe impl Sync for Location {}

impl<T: RegisterValue, A> Register<T, A> {
    #[inline(always)]
    fn load(&self) -> T::Word {
        match &self.location {
            // SAFETY: valid, aligned and mapped for as long as the register lives (see `Mmio::register`).
            Location::Mapped { pointer, .. } => unsafe { pointer.cast::<T::Word>().read_volatile() },
            #[cfg(feature = "model")]
            Location::Model { bar, offset } => T::Word::from_u64(bar.read(*offset, size_of::<T::Word>())),
        }
    }

    #[inline(always)]
    fn store(&self, word: T::Word) {
        match &self.location {
            // SAFETY: valid, aligned and mapped for as long as the register lives (see `Mmio::register`).
            Location::Mapped { pointer, .. } => unsafe { pointer.cast::<T::Word>().write_volatile(word) },
            #[cfg(feature = "model")]
            Location::Model { bar, offset } => bar.write(*offset, size_of::<T::Word>(), word.to_u64()),
        }
    }
}

impl<T: RegisterValue, A: Readable> Register<T, A> {
    /// Reads the register.
    #[inline(always)]
    pub fn read(&self) -> T {
        T::from_word(self.load())
    }

    /// Reads a register that cannot be all ones in a device that is there.
    ///
    /// # Errors
    /// [`Error::Gone`] when it is all ones; `name` is the register's name in its specification.
    pub fn read_present(&self, name: &'static str) -> Result<T> {
        let word = self.load();
        if word == T::Word::ONES { Err(Error::Gone { register: name }) } else { Ok(T::from_word(word)) }
    }
}

impl<T: RegisterValue, A: Writable> Register<T, A> {
    /// Writes the register. Earlier writes to DMA memory are visible to the device before this one.
    #[inline(always)]
    pub fn write(&self, value: T) {
        // Orders the compiler; x86 keeps stores in order for uncacheable memory by itself.
        std::sync::atomic::fence(std::sync::atomic::Ordering::Release);
        self.store(value.into_word());
    }
}

impl<T: RegisterValue> Register<T, ReadWrite> {
    /// Reads, changes and writes back.
    pub fn modify(&self, change: impl FnOnce(T) -> T) {
        self.write(change(self.read()));
    }
}

impl<T: RegisterValue> Register<T, ReadClears> {
    /// Reads the register, which changes it or the device.
    #[inline(always)]
    pub fn read_and_clear(&self) -> T {
        T::from_word(self.load())
    }
}

/// The widths of a register access.
pub trait Word: Copy + PartialEq + private::Sealed {
    /// All bits set.
    const ONES: Self;
    /// Takes the low bits.
    fn from_u64(value: u64) -> Self;
    /// Extends with zeros.
    fn to_u64(self) -> u64;
}

mod private {
    pub trait Sealed {}
}

/// What a register holds: an integer, or a bit field made of one.
pub trait RegisterValue: Copy {
    /// The integer that is read or written.
    type Word: Word;
    /// Interprets what was read.
    fn from_word(word: Self::Word) -> Self;
    /// What is to be written.
    fn into_word(self) -> Self::Word;
}

macro_rules! words {
    ($($word:ty),*) => {$(
        impl private::Sealed for $word {}
        impl Word for $word {
            const ONES: Self = <$word>::MAX;
            #[allow(clippy::cast_possible_truncation, clippy::cast_lossless, reason = "takes the low bits")]
            fn from_u64(value: u64) -> Self { value as $word }
            #[allow(clippy::cast_lossless, reason = "one macro for all widths")]
            fn to_u64(self) -> u64 { self as u64 }
        }
        impl RegisterValue for $word {
            type Word = $word;
            #[inline(always)]
            fn from_word(word: $word) -> Self { word }
            #[inline(always)]
            fn into_word(self) -> $word { self }
        }
    )*};
}
words!(u8, u16, u32, u64);

/// Makes bit-field types that convert from and into an integer usable as registers: `register_values!(Cap: u64)`.
#[macro_export]
macro_rules! register_values {
    ($($name:ty : $word:ty),* $(,)?) => {$(
        impl $crate::mmio::RegisterValue for $name {
            type Word = $word;
            #[inline(always)]
            fn from_word(word: $word) -> Self { Self::from(word) }
            #[inline(always)]
            fn into_word(self) -> $word { self.into() }
        }
    )*};
}
