//! Replies (sections 2 and 3).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{
    MOST_BYTES, VERSION,
    error::Malformed,
    request::{self, RequestHeader},
};

/// What every reply begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ReplyHeader {
    /// Bytes of the message, with the header.
    pub len: u32,
    /// That of the request.
    pub operation: u16,
    /// [`VERSION`].
    pub version: u16,
    /// That of the request.
    pub id: u32,
    /// 0, or a number of [`errno`](crate::errno); then there is no body.
    pub error: i32,
}

const HEADER: usize = size_of::<ReplyHeader>();
const _: () = assert!(HEADER == 16);

/// A reply that is being put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    bytes: Vec<u8>,
}

impl Reply {
    /// Success, without a body so far.
    pub fn to(request: &RequestHeader) -> Self {
        Self::with_error(request, 0)
    }

    /// Failure.
    pub fn with_error(request: &RequestHeader, error: i32) -> Self {
        let RequestHeader { operation, id, .. } = *request;
        let header = ReplyHeader { len: 0, operation, version: VERSION, id, error };
        Reply { bytes: header.as_bytes().to_vec() }
    }

    /// Adds a body, a list or text.
    #[must_use]
    pub fn with(mut self, body: &(impl IntoBytes + Immutable + ?Sized)) -> Self {
        self.bytes.extend(body.as_bytes());
        self
    }

    /// The bytes.
    #[allow(clippy::cast_possible_truncation, reason = "bodies are short, lists bounded")]
    pub fn encode(mut self) -> Vec<u8> {
        debug_assert!(self.bytes.len() <= MOST_BYTES);
        let len = (self.bytes.len() as u32).to_ne_bytes();
        self.bytes[..len.len()].copy_from_slice(&len);
        self.bytes
    }
}

/// What a reply says: its body, or the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report<'a>(&'a [u8]);

/// Reads the reply to request `id`; `Err` of the inner result is the daemon's error.
///
/// # Errors
/// What is wrong with it.
pub fn parse_reply(bytes: &[u8], id: u32) -> Result<Result<Report<'_>, i32>, Malformed> {
    let short = Malformed::Length { bytes: bytes.len(), expected: HEADER };
    let (header, body) = ReplyHeader::read_from_prefix(bytes).map_err(|_| short)?;
    if header.version != VERSION {
        return Err(Malformed::Version(header.version));
    }
    if header.id != id {
        return Err(Malformed::Stray { got: header.id, expected: id });
    }
    let expected = usize::try_from(header.len).unwrap_or(usize::MAX);
    if expected != bytes.len() {
        return Err(Malformed::Length { bytes: bytes.len(), expected });
    }
    Ok(if header.error == 0 { Ok(Report(body)) } else { Err(header.error) })
}

impl<'a> Report<'a> {
    /// A body with nothing behind it.
    ///
    /// # Errors
    /// When it has another length.
    pub fn body<T: FromBytes>(self) -> Result<T, Malformed> {
        request::whole(self.0)
    }

    /// A list of `count` elements without a body before it.
    ///
    /// # Errors
    /// When it has another length.
    pub fn list<T: FromBytes>(self, count: usize) -> Result<Vec<T>, Malformed> {
        request::list(u32::try_from(count).unwrap_or(u32::MAX), self.0)
    }

    /// A body, and a list of as many elements as it says.
    ///
    /// # Errors
    /// When there are more or fewer.
    pub fn body_and_list<B: FromBytes, T: FromBytes>(
        self,
        count: impl FnOnce(&B) -> u32,
    ) -> Result<(B, Vec<T>), Malformed> {
        let (body, rest) = request::prefix::<B>(self.0)?;
        let list = request::list(count(&body), rest)?;
        Ok((body, list))
    }

    /// A body, and the bytes behind it.
    ///
    /// # Errors
    /// When it is too short for the body.
    pub fn body_and_bytes<B: FromBytes>(self) -> Result<(B, &'a [u8]), Malformed> {
        request::prefix(self.0)
    }
}
