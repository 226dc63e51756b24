//! Floats that are short decimals, as prices and quantities are: their digits by exact integer arithmetic.
//!
//! Owns when a float is one, and its text. With m = a · 10⁸ rounded, a decimal of at most 15 digits (m < 10¹⁵) that reads back
//! as the same float is the shortest that does, since no two of that length read as one float (C's `DBL_DIG`). m and 10⁸ are
//! floats exactly, so that m / 10⁸, rounded correctly, is the float that the decimal reads as.

/// Larger ones have too many digits for eight of them behind the point.
const BELOW: f64 = 1e7;
/// Smaller ones may be written with an exponent.
const FROM: f64 = 1e-5;
/// 2⁵²: more than any m.
const LIFT: f64 = 4_503_599_627_370_496.0;
const FRACTION_DIGITS: usize = 8;
const SCALE: u32 = 100_000_000;
const ZEROS: u64 = u64::from_le_bytes(*b"00000000");

/// What is written needs at most this: a sign, eight digits, a point, eight more, what comes behind; stores are of eight bytes.
pub const MOST_DECIMAL_BYTES: usize = 32;

/// Eight digits before the point and eight behind it.
pub struct Decimal {
    is_negative: bool,
    whole: u32,
    fraction: u32,
}

impl Decimal {
    /// `number` as a decimal, if it is a short one.
    #[inline]
    pub fn of(number: f64) -> Option<Self> {
        let size = number.abs();
        if !(FROM..BELOW).contains(&size) {
            return None;
        }
        // Rounded to a whole number by where it ends up: behind 2⁵² a float has no bits for anything less, and its lowest 52 are
        // the number. Conversions check for what cannot be here.
        let lifted = size * f64::from(SCALE) + LIFT;
        let again = (lifted - LIFT) / f64::from(SCALE);
        let scaled = lifted.to_bits() - LIFT.to_bits();
        let part = |digits: u64| u32::try_from(digits).unwrap_or_default();
        let (whole, fraction) = (scaled / u64::from(SCALE), scaled % u64::from(SCALE));
        (again.to_bits() == size.to_bits()).then(|| Self {
            is_negative: number < 0.0,
            whole: part(whole),
            fraction: part(fraction),
        })
    }

    /// Writes it with `behind` after it; how many bytes that took. Without a branch that depends on its digits.
    #[inline]
    pub fn write(&self, place: &mut [u8; MOST_DECIMAL_BYTES], behind: u8) -> usize {
        let mut put = |at: usize, word: u64| {
            if let Some(place) = place.get_mut(at..at + 8) {
                place.copy_from_slice(&word.to_le_bytes());
            }
        };
        put(0, u64::from(b'-'));
        let mut at = usize::from(self.is_negative);
        let digits = digits(self.whole);
        let leading = (digits.trailing_zeros() / 8).min(7);
        put(at, (digits | ZEROS) >> (8 * leading));
        at += 8 - leading as usize;
        put(at, u64::from(b'.'));
        at += 1;
        let digits = self::digits(self.fraction);
        put(at, digits | ZEROS);
        at += (FRACTION_DIGITS - (digits.leading_zeros() / 8) as usize).max(1);
        put(at, u64::from(behind));
        at + 1
    }
}

/// The eight digits of a number below 10⁸, the first in the lowest byte: halves, then pairs, then digits, side by side in one
/// word. 10486 / 2²⁰ and 103 / 2¹⁰ are 1/100 and 1/10 closely enough for what they divide (below 10⁴ and 100).
#[inline]
fn digits(number: u32) -> u64 {
    let halves = u64::from(number / 10_000) | u64::from(number % 10_000) << 32;
    let hundreds = ((halves * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let pairs = hundreds | (halves - hundreds * 100) << 16;
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | (pairs - tens * 10) << 8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(number: f64) -> Option<String> {
        let mut place = [0; MOST_DECIMAL_BYTES];
        let bytes = Decimal::of(number)?.write(&mut place, b',');
        Some(String::from_utf8(place[..bytes].to_vec()).expect("digits"))
    }

    #[test]
    fn a_short_one_is_what_zmij_writes() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut short = 0;
        for _ in 0..2_000_000 {
            let digits = random.u64(0..=1_000_000_000_000_000) >> random.u32(0..50);
            #[expect(clippy::cast_precision_loss, reason = "below 2⁵³")]
            let number =
                digits as f64 / 10_f64.powi(random.i32(0..10)) * if random.bool() { 1.0 } else { -1.0 };
            let Some(written) = text_of(number) else { continue };
            short += 1;
            assert_eq!(written, format!("{},", zmij::Buffer::new().format_finite(number)));
        }
        assert!(short > 500_000);
    }

    #[test]
    fn others_are_left_to_it() {
        for number in [0.0, -0.0, 1e-6, 0.1 + 0.2, 1e7, f64::MAX, f64::MIN_POSITIVE, f64::NAN, f64::INFINITY]
        {
            assert_eq!(text_of(number), None);
        }
        let last = 9_999_999.999_999_98;
        assert_eq!(text_of(last).as_deref(), Some("9999999.99999998,"));
        assert_eq!(text_of(f64::from_bits(last.to_bits() + 1)), None);
        assert_eq!(text_of(-1.0).as_deref(), Some("-1.0,"));
    }

    #[test]
    fn digits_of_all_kinds_of_numbers() {
        let numbers = (0..100_000).chain((0..1_000).map(|number| 99_999_999 - 99_991 * number));
        for number in numbers {
            let text = (digits(number) | ZEROS).to_le_bytes();
            assert_eq!(text, *format!("{number:08}").as_bytes());
        }
    }
}
