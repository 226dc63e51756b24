//! JSON text, value by value, byte for byte what orjson writes.
//!
//! Owns the bytes: quotes, escapes, numbers, commas. Knows nobody's objects: whoever walks a value says what comes next.
//! Invariant: every value is written with a comma behind it, which the end of its list, object or of the whole takes back.
//! The form is orjson's, and a test holds the two together (`tests/python/test_core_json.py`): floats are the shortest
//! decimals that read back as the same float (prices and quantities by [`decimal`], others by crate `zmij`, as in orjson),
//! integers are written by `itoa`.

mod decimal;
pub mod reading;

use decimal::{Decimal, MOST_DECIMAL_BYTES};

/// Texts are copied, and looked through for what needs an escape, in blocks of this size.
const BLOCK: usize = 16;
/// Each byte may become `\u00XX`.
const LONGEST_ESCAPE: usize = 6;
/// Room for any number.
const LONGEST_NUMBER: usize = 32;
const LEAST_ROOM: usize = 512;

/// A JSON text that grows at its end.
#[derive(Debug, Default)]
pub struct JsonText {
    /// What is written, and behind it room.
    bytes: Vec<u8>,
    end: usize,
}

impl JsonText {
    /// What is written.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.end).unwrap_or_default()
    }

    /// Begins anew in the same memory, unless that is more than `most_bytes`.
    pub fn empty(&mut self, most_bytes: usize) {
        if self.bytes.len() > most_bytes {
            *self = Self::default();
        }
        self.end = 0;
    }

    /// How many bytes are written.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.end
    }

    /// Takes back what is written behind the first `bytes`.
    pub fn cut(&mut self, bytes: usize) {
        self.end = self.end.min(bytes);
    }

    /// What is JSON already.
    pub fn append(&mut self, json: &[u8]) {
        if let Some(place) = self.room(json.len()).get_mut(..json.len()) {
            place.copy_from_slice(json);
            self.end += json.len();
        }
    }

    /// `[` or `{`.
    #[inline]
    pub fn open(&mut self, bracket: u8) {
        self.put(&[bracket]);
    }

    /// `]` or `}`, in the place of the last value's comma.
    #[inline]
    pub fn close(&mut self, bracket: u8) {
        self.finish();
        self.put(&[bracket, b',']);
    }

    /// Takes back the comma behind the last value, if there is one.
    pub fn finish(&mut self) {
        self.end -= usize::from(self.as_bytes().last() == Some(&b','));
    }

    /// null, true or false, with its comma.
    #[inline]
    pub fn word<const N: usize>(&mut self, word: &[u8; N]) {
        self.put(word);
    }

    /// A signed integer.
    pub fn integer(&mut self, number: i64) {
        self.put_number(itoa::Buffer::new().format(number));
    }

    /// An unsigned one.
    pub fn unsigned(&mut self, number: u64) {
        self.put_number(itoa::Buffer::new().format(number));
    }

    /// A finite number; what would be written for any other is no JSON.
    #[inline]
    pub fn float(&mut self, number: f64) {
        let end = self.end;
        if let Some(decimal) = Decimal::of(number)
            && let Some(place) = self.room(MOST_DECIMAL_BYTES).first_chunk_mut()
        {
            self.end = end + decimal.write(place, b',');
        } else {
            self.any_float(number);
        }
    }

    /// Away from the short ones, whose way it would load with its registers.
    #[inline(never)]
    fn any_float(&mut self, number: f64) {
        self.put_number(zmij::Buffer::new().format_finite(number));
    }

    /// The key of the value that comes next.
    #[inline]
    pub fn key(&mut self, text: &str) {
        self.quoted(text, b':');
    }

    /// What was written before, with what stands behind it: the first `bytes` of `text`.
    #[inline]
    pub fn known<const N: usize>(&mut self, text: &[u8; N], bytes: usize) {
        if let Some(place) = self.room(N).first_chunk_mut() {
            *place = *text;
            self.end += bytes.min(N);
        }
    }

    /// A text.
    #[inline]
    pub fn text(&mut self, text: &str) {
        self.quoted(text, b',');
    }

    fn quoted(&mut self, text: &str, behind: u8) {
        let source = text.as_bytes();
        let bytes = source.len() + 3;
        if let Some([open, target @ .., close, next]) = self.room(bytes).get_mut(..bytes)
            && copy_plain(source, target)
        {
            (*open, *close, *next) = (b'"', b'"', behind);
            self.end += bytes;
        } else {
            self.escaped(source, behind);
        }
    }

    #[cold]
    fn escaped(&mut self, source: &[u8], behind: u8) {
        self.room(source.len() * LONGEST_ESCAPE + LONGEST_NUMBER);
        self.put(b"\"");
        for byte in source {
            match byte {
                b'"' => self.put(b"\\\""),
                b'\\' => self.put(b"\\\\"),
                b'\n' => self.put(b"\\n"),
                b'\r' => self.put(b"\\r"),
                b'\t' => self.put(b"\\t"),
                0x08 => self.put(b"\\b"),
                0x0c => self.put(b"\\f"),
                0..0x20 => {
                    self.put(b"\\u00");
                    self.put(&[hex_digit(byte >> 4), hex_digit(byte & 15)]);
                }
                _ => self.put(&[*byte]),
            }
        }
        self.put(&[b'"', behind]);
    }

    /// Up to [`LONGEST_NUMBER`] bytes, and the comma.
    #[inline]
    fn put_number(&mut self, digits: &str) {
        let place = self.room(LONGEST_NUMBER + 1);
        put(place, digits.as_bytes());
        if let Some(next) = place.get_mut(digits.len()) {
            *next = b',';
        }
        self.end += digits.len() + 1;
    }

    #[inline]
    fn put<const N: usize>(&mut self, bytes: &[u8; N]) {
        if let Some(place) = self.room(N).first_chunk_mut() {
            *place = *bytes;
            self.end += N;
        }
    }

    /// At least `wanted` bytes behind what is written.
    #[inline]
    fn room(&mut self, wanted: usize) -> &mut [u8] {
        if self.bytes.len() - self.end < wanted {
            self.grow(wanted);
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    #[cold]
    fn grow(&mut self, wanted: usize) {
        self.bytes.resize((self.end + wanted).next_power_of_two().max(LEAST_ROOM), 0);
    }
}

/// Copies a few bytes, without a call where they are at most 32.
#[inline]
fn put(target: &mut [u8], bytes: &[u8]) {
    let Some(place) = target.get_mut(..bytes.len()) else { return };
    match bytes.len() {
        0..4 => copy_three(bytes, place),
        4..8 => copy_ends::<4>(bytes, place),
        8..16 => copy_ends::<8>(bytes, place),
        16..=32 => copy_ends::<16>(bytes, place),
        _ => place.copy_from_slice(bytes),
    }
}

/// Between N and 2 N bytes: the first and the last N, which meet or overlap.
#[inline]
fn copy_ends<const N: usize>(source: &[u8], target: &mut [u8]) {
    if let (Some(first), Some(last)) = (source.first_chunk::<N>(), source.last_chunk::<N>()) {
        ends(target, first, last);
    }
}

/// At most three: the first, the middle one and the last.
#[inline]
fn copy_three(source: &[u8], target: &mut [u8]) {
    let last = source.len().saturating_sub(1);
    for at in [0, source.len() / 2, last] {
        if let (Some(byte), Some(place)) = (source.get(at), target.get_mut(at)) {
            *place = *byte;
        }
    }
}

/// Copies `source`, to a target of its length; false where a byte of it needs an escape.
///
/// In blocks that the compiler keeps in a register each; the last overlaps the one before.
#[inline]
fn copy_plain(source: &[u8], target: &mut [u8]) -> bool {
    if let Some(last) = source.last_chunk::<BLOCK>() {
        let ((blocks, _), (places, _)) = (source.as_chunks(), target.as_chunks_mut());
        let is_plain = blocks.iter().zip(places).all(|(block, place)| {
            *place = *block;
            is_plain_block(*block)
        });
        if let Some(end) = target.last_chunk_mut() {
            *end = *last;
        }
        return is_plain && is_plain_block(*last);
    }
    if let (Some(first), Some(last)) = (source.first_chunk::<8>(), source.last_chunk::<8>()) {
        ends(target, first, last);
        return signs(u64::from_le_bytes(*first)) | signs(u64::from_le_bytes(*last)) == 0;
    }
    if let (Some(first), Some(last)) = (source.first_chunk::<4>(), source.last_chunk::<4>()) {
        ends(target, first, last);
        let half = |bytes: &[u8; 4]| u64::from(u32::from_le_bytes(*bytes));
        return signs(half(first) << 32 | half(last)) == 0;
    }
    copy_three(source, target);
    source.iter().all(|byte| *byte >= b' ' && *byte != b'"' && *byte != b'\\')
}

#[inline]
fn ends<const N: usize>(target: &mut [u8], first: &[u8; N], last: &[u8; N]) {
    if let Some(begin) = target.first_chunk_mut() {
        *begin = *first;
    }
    if let Some(end) = target.last_chunk_mut() {
        *end = *last;
    }
}

/// Whether no byte is a control sign, a quote or a backslash: such a one becomes 0 here.
#[inline]
fn is_plain_block(block: [u8; BLOCK]) -> bool {
    let left = block.map(|byte| (byte ^ b'"').min(byte ^ b'\\').min(byte.saturating_sub(0x1f)));
    left.iter().fold(1, |is_plain, byte| is_plain & u8::from(*byte != 0)) == 1
}

/// The highest bit of each of these among eight bytes: a byte less than n borrows into it when n is taken away. Bytes beyond
/// ASCII, whose highest bit says nothing, are none.
///
/// The borrow goes on to bytes above such a one only, so that 0 is exact for the whole word.
#[inline]
const fn signs(word: u64) -> u64 {
    const fn repeated(byte: u8) -> u64 {
        u64::from_le_bytes([byte; 8])
    }
    let control = word.wrapping_sub(repeated(b' '));
    let quote = (word ^ repeated(b'"')).wrapping_sub(repeated(1));
    let backslash = (word ^ repeated(b'\\')).wrapping_sub(repeated(1));
    (control | quote | backslash) & !word & repeated(0x80)
}

fn hex_digit(half: u8) -> u8 {
    if half < 10 { b'0' + half } else { b'a' + half - 10 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(value: &str) -> String {
        let mut json = JsonText::default();
        json.text(value);
        json.finish();
        String::from_utf8(json.as_bytes().to_vec()).expect("what is written is UTF-8")
    }

    #[test]
    fn each_byte_is_escaped_wherever_it_stands() {
        for byte in 0..=0x7f_u8 {
            for before in 0..18 {
                for behind in 0..18 {
                    let text = format!("{}{}{}", "x".repeat(before), char::from(byte), "é".repeat(behind));
                    let written = text_of(&text);
                    let escaped = match byte {
                        b'"' => "\\\"".to_owned(),
                        b'\\' => "\\\\".to_owned(),
                        b'\n' => "\\n".to_owned(),
                        b'\r' => "\\r".to_owned(),
                        b'\t' => "\\t".to_owned(),
                        0x08 => "\\b".to_owned(),
                        0x0c => "\\f".to_owned(),
                        0..0x20 => format!("\\u{byte:04x}"),
                        _ => char::from(byte).to_string(),
                    };
                    assert_eq!(written, format!("\"{}{escaped}{}\"", "x".repeat(before), "é".repeat(behind)));
                }
            }
        }
    }

    #[test]
    fn commas_stand_between_values_only() {
        let mut json = JsonText::default();
        json.open(b'{');
        json.key("a");
        json.open(b'[');
        json.close(b']');
        json.key(",");
        json.open(b'[');
        json.integer(-1);
        json.unsigned(u64::MAX);
        json.float(-0.5);
        json.word(b"null,");
        json.text(",");
        json.close(b']');
        json.close(b'}');
        json.finish();
        let written = std::str::from_utf8(json.as_bytes()).expect("UTF-8");
        assert_eq!(written, r#"{"a":[],",":[-1,18446744073709551615,-0.5,null,","]}"#);
        json.empty(usize::MAX);
        assert!(json.as_bytes().is_empty());
    }
}
