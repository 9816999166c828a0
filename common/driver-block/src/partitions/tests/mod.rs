//! Tables made by other programs, made by hand, and made to deceive.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]
#![allow(clippy::cast_possible_truncation, reason = "the numbers are small")]

mod gpt;
mod hostile;
mod mbr;
pub(crate) mod support;
mod window;
