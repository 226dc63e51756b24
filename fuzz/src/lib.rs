//! What is fuzzed: one module for each thing that the engine decodes from bytes which it did not write.
//!
//! Each owns a function `run`, which makes stored bytes of the fuzzer's input, has the engine decode them, and holds the
//! outcome against what must be true of any bytes: a value or a typed error, no panic, no endless loop, and no more
//! memory than the size class that the module states. tests/rust/fuzz.rs runs the corpus through the same functions
//! with nothing but a stable toolchain.

#[path = "../../tests/rust/format/allocation.rs"]
#[allow(dead_code, reason = "shared with the format's tests")]
pub mod allocation;
pub mod control;
pub mod image;
pub mod input;
pub mod json;
pub mod log;
pub mod meta;
#[path = "../../tests/rust/support/ram.rs"]
#[allow(dead_code, reason = "shared with the engine's tests")]
pub mod ram;
pub mod records;
pub mod seal;
pub mod sealed;
pub mod segment_head;
pub mod snapshot;
