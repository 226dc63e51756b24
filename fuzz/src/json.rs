//! Stored JSON: any bytes, read by the engine's reader, which may decline them, but may not read them otherwise than another
//! reader does: `serde_json`, which refuses all that is no JSON and rounds floats correctly.
//!
//! Input: the text as it stands. Size class: what is made here takes at most as much as the values' own memory: a few dozen bytes
//! for a value of at least two bytes, in vectors that double.

use std::vec::Drain;

use _core::json::reading::{Objects, read};
use serde_json::Value;

use super::allocation::allocating_at_most;

const VALUES_CLASS: usize = 160;
const SMALL_BYTES: usize = 4096;

pub fn run(input: &[u8]) {
    let limit = VALUES_CLASS * input.len() + SMALL_BYTES;
    let Some(made) = allocating_at_most(limit, || read(input, &mut Plain)) else { return };
    let expected: Value = serde_json::from_slice(input).unwrap();
    assert!(is_same(&made, &expected), "{made:?} was read, and {expected:?} is said");
}

/// A value, with equal keys as they came.
#[derive(Debug)]
enum Made {
    Null,
    Truth(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Made>),
    Dict(Vec<(String, Made)>),
}

fn is_same(made: &Made, expected: &Value) -> bool {
    match (made, expected) {
        (Made::Null, Value::Null) => true,
        (Made::Truth(made), Value::Bool(expected)) => made == expected,
        (Made::Text(made), Value::String(expected)) => made == expected,
        (Made::Integer(made), Value::Number(expected)) => expected.as_i64() == Some(*made),
        (Made::Float(made), Value::Number(expected)) => {
            expected.is_f64() && expected.as_f64().map(f64::to_bits) == Some(made.to_bits())
        }
        (Made::List(made), Value::Array(expected)) => {
            made.len() == expected.len() && made.iter().zip(expected).all(|(one, other)| is_same(one, other))
        }
        (Made::Dict(made), Value::Object(expected)) => {
            // Of equal keys the last one counts.
            let last =
                |key: &String| made.iter().rev().find(|(other, _)| other == key).map(|(_, value)| value);
            made.iter().all(|(key, _)| expected.contains_key(key))
                && expected.iter().all(|(key, value)| last(key).is_some_and(|made| is_same(made, value)))
        }
        _ => false,
    }
}

struct Plain;

impl Objects for Plain {
    type Object = Made;
    type Dict = std::cell::RefCell<Vec<(String, Made)>>;

    fn text(&mut self, utf8: &[u8]) -> Option<Made> {
        std::str::from_utf8(utf8).ok().map(|text| Made::Text(text.to_owned()))
    }

    fn integer(&mut self, number: i64) -> Option<Made> {
        Some(Made::Integer(number))
    }

    fn float(&mut self, number: f64) -> Option<Made> {
        assert!(number.is_finite());
        Some(Made::Float(number))
    }

    fn truth(&mut self, is_true: bool) -> Option<Made> {
        Some(Made::Truth(is_true))
    }

    fn null(&mut self) -> Option<Made> {
        Some(Made::Null)
    }

    fn list(&mut self, items: Drain<'_, Made>) -> Option<Made> {
        Some(Made::List(items.collect()))
    }

    fn dict(&mut self) -> Option<Self::Dict> {
        Some(Self::Dict::default())
    }

    fn put(&mut self, dict: &Self::Dict, key: &[u8], value: Made) -> Option<()> {
        dict.borrow_mut().push((std::str::from_utf8(key).ok()?.to_owned(), value));
        Some(())
    }

    fn filled(&mut self, dict: Self::Dict) -> Made {
        Made::Dict(dict.into_inner())
    }
}
