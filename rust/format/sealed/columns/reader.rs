//! Numbers of varying length, and the bytes between them.
//!
//! Little-endian base 128 (the varint of Protocol Buffers); signed ones fold the sign into the lowest bit.

use crate::format::encode::{FORM_ABSENT, FORM_TEXT, FORM_UUID};

/// Appends `value`.
pub(super) fn put(target: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        target.push(low_bits(value) | 0x80);
        value >>= 7;
    }
    target.push(low_bits(value));
}

fn low_bits(value: u64) -> u8 {
    value.to_le_bytes()[0] & 0x7F
}

/// Appends a signed value.
pub(super) fn put_signed(target: &mut Vec<u8>, value: i64) {
    put(target, (value << 1 ^ value >> 63).cast_unsigned());
}

/// Reads a column; past its end everything is `None`.
#[derive(Clone, Copy, Default)]
pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    pub fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    pub fn signed(&mut self) -> Option<i64> {
        let folded = self.number()?;
        Some((folded >> 1).cast_signed() ^ -(folded & 1).cast_signed())
    }

    pub fn length(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    /// An id of this form as it lies in a record: nothing, 16 bytes, or a text behind its length.
    pub fn id(&mut self, form: u8) -> Option<&'a [u8]> {
        match form {
            FORM_ABSENT => self.take(0),
            FORM_UUID => self.take(16),
            FORM_TEXT => {
                let whole = self.0;
                let length = usize::from(u16::from_le_bytes(self.array()?));
                self.take(length)?;
                whole.get(..2 + length)
            }
            _ => None,
        }
    }
}
