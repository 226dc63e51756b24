//! Reading and writing little-endian fields without ever indexing past an end.
//!
//! Owns a cursor for each direction. A read past the end is `None`; a write past the end is a broken
//! invariant of the caller, who computed the size, and asserts.

/// Reads fields one after another.
#[derive(Clone)]
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    pub fn uuid(&mut self) -> Option<[u8; 16]> {
        self.array()
    }

    /// A text behind its 16-bit length, at most `limit` bytes long.
    pub fn text(&mut self, limit: usize) -> Option<&'a str> {
        let length = usize::from(self.u16()?);
        if length > limit {
            return None;
        }
        std::str::from_utf8(self.take(length)?).ok()
    }

    pub fn rest(&self) -> &'a [u8] {
        self.0
    }
}

/// Writes fields one after another into a slice of exactly the right size.
pub(super) struct Sink<'a>(&'a mut [u8]);

impl<'a> Sink<'a> {
    pub fn new(target: &'a mut [u8]) -> Self {
        Self(target)
    }

    pub fn put(&mut self, bytes: &[u8]) {
        let target = std::mem::take(&mut self.0);
        assert!(bytes.len() <= target.len(), "a record outgrew the size computed for it");
        let (head, rest) = target.split_at_mut(bytes.len());
        head.copy_from_slice(bytes);
        self.0 = rest;
    }

    pub fn u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    pub fn u16(&mut self, value: u16) {
        self.put(&value.to_le_bytes());
    }

    pub fn u32(&mut self, value: u32) {
        self.put(&value.to_le_bytes());
    }

    pub fn u64(&mut self, value: u64) {
        self.put(&value.to_le_bytes());
    }

    pub fn i64(&mut self, value: i64) {
        self.put(&value.to_le_bytes());
    }

    /// A text behind its 16-bit length; the caller has checked its limit.
    pub fn text(&mut self, text: &str) {
        self.u16(u16::try_from(text.len()).unwrap_or(u16::MAX));
        self.put(text.as_bytes());
    }

    /// Fills what is left with zeros.
    pub fn pad(self) {
        self.0.fill(0);
    }
}
