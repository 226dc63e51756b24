//! JSON text read back, for whoever makes objects of it: the counterpart of [`super::JsonText`].
//!
//! Owns the grammar and the numbers. Knows nobody's objects: [`Objects`] makes them. Reads strict JSON of what programs store, and
//! declines the rest, good or bad, without an opinion of it: texts with escapes, integers of more than 18 digits, what lies too
//! deep. Safe on any bytes. What it does read is what orjson reads: floats are rounded correctly (few digits by one exact
//! division, after Clinger 1990; others by the standard library), the last of equal keys wins.

use super::signs;

/// Deeper values are declined.
const MAX_DEPTH: u32 = 100;
const STEP: usize = 8;
/// As many always fit an i64.
const MOST_DIGITS: usize = 18;
/// Floats have all integers below as they are.
const EXACT_BELOW: u64 = 1 << 53;
/// The powers of ten that are floats exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];
const WHOLE_POWERS: [u64; STEP + 1] =
    [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// Makes the objects. `None` of any call ends the reading.
pub trait Objects {
    /// A value.
    type Object;
    /// An object that is being filled.
    type Dict;

    /// Of bytes that may not be UTF-8, which is then to be declined.
    fn text(&mut self, utf8: &[u8]) -> Option<Self::Object>;
    /// A number without point and exponent.
    fn integer(&mut self, number: i64) -> Option<Self::Object>;
    /// Any other; finite.
    fn float(&mut self, number: f64) -> Option<Self::Object>;
    /// True or false.
    fn truth(&mut self, is_true: bool) -> Option<Self::Object>;
    /// null.
    fn null(&mut self) -> Option<Self::Object>;
    /// A list of what was made before.
    fn list(&mut self, items: std::vec::Drain<'_, Self::Object>) -> Option<Self::Object>;
    /// An empty one.
    fn dict(&mut self) -> Option<Self::Dict>;
    /// Puts a value into it, in the place of one that has the key; of bytes that may not be UTF-8.
    fn put(&mut self, dict: &Self::Dict, key: &[u8], value: Self::Object) -> Option<()>;
    /// It is full.
    fn filled(&mut self, dict: Self::Dict) -> Self::Object;
}

/// The value that `json` is; `None` where it is declined.
pub fn read<O: Objects>(json: &[u8], objects: &mut O) -> Option<O::Object> {
    let mut reader = Reader { objects, items: Vec::new() };
    let (value, rest) = reader.value(json, MAX_DEPTH)?;
    without_space(rest).is_empty().then_some(value)
}

/// What is read, and what comes behind it, which is handed on from step to step.
type Read<'json, T> = Option<(T, &'json [u8])>;

struct Reader<'objects, O: Objects> {
    objects: &'objects mut O,
    /// Of the lists that are not complete yet, the innermost last.
    items: Vec<O::Object>,
}

impl<O: Objects> Reader<'_, O> {
    /// Inlined into the loops over items, most of which need no call.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as the walk that writes: most items are a text or a number")]
    fn value<'json>(&mut self, json: &'json [u8], depth: u32) -> Read<'json, O::Object> {
        let json = without_space(json);
        match json.first()? {
            b'"' => {
                let (text, rest) = text(json)?;
                Some((self.objects.text(text)?, rest))
            }
            b'-' | b'0'..=b'9' => {
                let (number, rest) = number(json)?;
                let made = match number {
                    Number::Integer(number) => self.objects.integer(number),
                    Number::Float(number) => self.objects.float(number),
                };
                Some((made?, rest))
            }
            b'{' => self.dict(json, depth.checked_sub(1)?),
            b'[' => self.list(json, depth.checked_sub(1)?),
            b't' => Some((self.objects.truth(true)?, json.strip_prefix(b"true")?)),
            b'f' => Some((self.objects.truth(false)?, json.strip_prefix(b"false")?)),
            b'n' => Some((self.objects.null()?, json.strip_prefix(b"null")?)),
            _ => None,
        }
    }

    #[inline(never)]
    fn dict<'json>(&mut self, json: &'json [u8], depth: u32) -> Read<'json, O::Object> {
        let dict = self.objects.dict()?;
        let mut rest = without_space(json.get(1..)?);
        if let Some(rest) = behind(rest, b'}') {
            return Some((self.objects.filled(dict), rest));
        }
        loop {
            let (key, behind_key) = text(without_space(rest))?;
            let (value, behind_value) = self.value(behind(without_space(behind_key), b':')?, depth)?;
            self.objects.put(&dict, key, value)?;
            rest = without_space(behind_value);
            match behind(rest, b',') {
                Some(next) => rest = next,
                None => return Some((self.objects.filled(dict), behind(rest, b'}')?)),
            }
        }
    }

    #[inline(never)]
    fn list<'json>(&mut self, json: &'json [u8], depth: u32) -> Read<'json, O::Object> {
        let begin = self.items.len();
        let mut rest = without_space(json.get(1..)?);
        if behind(rest, b']').is_none() {
            loop {
                let (item, behind_item) = self.value(rest, depth)?;
                self.items.push(item);
                rest = without_space(behind_item);
                match behind(rest, b',') {
                    Some(next) => rest = next,
                    None => break,
                }
            }
        }
        let rest = behind(rest, b']')?;
        Some((self.objects.list(self.items.drain(begin..))?, rest))
    }
}

/// The bytes between two quotes, none of which needs to be looked at again but for being UTF-8.
#[inline]
fn text(json: &[u8]) -> Read<'_, &[u8]> {
    let text = behind(json, b'"')?;
    let mut left = text;
    let at = loop {
        let Some((word, further)) = left.split_first_chunk::<STEP>() else {
            let is_sign = |byte: &u8| *byte < b' ' || matches!(*byte, b'"' | b'\\');
            break left.iter().position(is_sign)?;
        };
        let found = signs(u64::from_le_bytes(*word));
        if found != 0 {
            break (found.trailing_zeros() / 8) as usize;
        }
        left = further;
    };
    let (text, rest) = text.split_at_checked(text.len() - left.len() + at)?;
    Some((text, behind(rest, b'"')?))
}

enum Number {
    Integer(i64),
    Float(f64),
}

#[inline]
fn number(json: &[u8]) -> Read<'_, Number> {
    let (is_negative, unsigned) = behind(json, b'-').map_or((false, json), |rest| (true, rest));
    let mut number = 0;
    let (whole, rest) = digits(unsigned, &mut number)?;
    if whole == 0 || (whole > 1 && unsigned.first() == Some(&b'0')) {
        return None;
    }
    let Some(fraction) = behind(rest, b'.') else {
        if has_exponent(rest) {
            return any_float(json);
        }
        if is_negative && number == 0 {
            return None; // orjson decides what the integer -0 is
        }
        let number = i64::try_from(number).ok()?;
        return Some((Number::Integer(if is_negative { -number } else { number }), rest));
    };
    if let Some((count @ 1.., rest)) = digits(fraction, &mut number)
        && number < EXACT_BELOW
        && !has_exponent(rest)
        && let Some(power) = POWERS.get(count)
    {
        #[expect(clippy::cast_precision_loss, reason = "below 2⁵³")]
        let size = number as f64 / power;
        return Some((Number::Float(if is_negative { -size } else { size }), rest));
    }
    any_float(json)
}

/// Goes over digits, and adds them to `number` behind those it has; how many these are. `None` for more than fit.
#[inline]
fn digits<'json>(json: &'json [u8], number: &mut u64) -> Read<'json, usize> {
    let mut rest = json;
    loop {
        let word = rest.first_chunk().map_or_else(|| word_of(rest), |word| u64::from_le_bytes(*word));
        let (count, value) = leading_digits(word);
        *number = number.checked_mul(*WHOLE_POWERS.get(count)?)?.checked_add(value)?;
        rest = rest.get(count..)?;
        if count < STEP {
            let count = json.len() - rest.len();
            return (count <= MOST_DIGITS).then_some((count, rest));
        }
    }
}

/// The float at the beginning, checked and rounded by the standard library.
#[cold]
fn any_float(json: &[u8]) -> Read<'_, Number> {
    let is_part = |byte: &u8| matches!(*byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    let bytes = json.iter().position(|byte| !is_part(byte)).unwrap_or(json.len());
    let (text, rest) = json.split_at_checked(bytes)?;
    if !is_float(text) {
        return None;
    }
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    number.is_finite().then_some((Number::Float(number), rest))
}

#[inline]
fn has_exponent(json: &[u8]) -> bool {
    matches!(json.first(), Some(b'e' | b'E'))
}

/// What comes behind `byte`, if that comes next.
#[inline]
fn behind(json: &[u8], byte: u8) -> Option<&[u8]> {
    json.split_first().and_then(|(first, rest)| (*first == byte).then_some(rest))
}

#[inline]
fn without_space(mut json: &[u8]) -> &[u8] {
    while let Some((b' ' | b'\n' | b'\r' | b'\t', rest)) = json.split_first() {
        json = rest;
    }
    json
}

/// The last bytes, where there are not eight.
#[cold]
fn word_of(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// How many of the eight bytes are digits before the first that is none, and what they are: the digits are moved behind zeros,
/// then pairs, fours and the whole are added up side by side in the word.
#[inline]
fn leading_digits(word: u64) -> (usize, u64) {
    let digits = word ^ u64::from_le_bytes([b'0'; STEP]);
    // The highest bit of a byte of more than 9: 0x76 more, it has got there; it was there before, or not.
    let others = (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & 0x8080_8080_8080_8080;
    let count = (others.trailing_zeros() / 8) as usize;
    if count == 0 {
        return (0, 0);
    }
    let digits = digits << (64 - 8 * count);
    let pairs = (digits * 10 + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    (count, (fours * 10_000 + (fours >> 32)) & 0xffff_ffff)
}

/// Whether this is a number of JSON: the standard library reads others too (".5", "+1", "1.").
fn is_float(text: &[u8]) -> bool {
    let unsigned = text.strip_prefix(b"-").unwrap_or(text);
    let (mantissa, exponent) = match unsigned.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (unsigned.get(..at), unsigned.get(at + 1..)),
        None => (Some(unsigned), None),
    };
    let mantissa = mantissa.unwrap_or_default();
    let (whole, fraction) = match mantissa.iter().position(|byte| *byte == b'.') {
        Some(at) => (mantissa.get(..at).unwrap_or_default(), mantissa.get(at + 1..)),
        None => (mantissa, None),
    };
    let is_digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let without_sign = |text: &[u8]| match text.split_first() {
        Some((b'+' | b'-', digits)) => is_digits(digits),
        _ => is_digits(text),
    };
    is_digits(whole)
        && (whole.len() == 1 || whole.first() != Some(&b'0'))
        && fraction.is_none_or(is_digits)
        && exponent.is_none_or(without_sign)
}
