//! The bytes of the format: they come back as they went, nothing else is taken for them, and docs/format.md tells the truth.
//!
//! Everything here goes through the crate's public face and needs no file but that page.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that breaks off has failed, which is what it is for"
)]

#[path = "format/allocation.rs"]
mod allocation;
#[path = "format/closing.rs"]
mod closing;
#[path = "format/control.rs"]
mod control;
#[path = "format/dictionary.rs"]
mod dictionary;
#[path = "format/document.rs"]
mod document;
#[path = "format/examples.rs"]
mod examples;
#[path = "format/given.rs"]
mod given;
#[path = "format/headers.rs"]
mod headers;
#[path = "format/names.rs"]
mod names;
#[path = "format/page.rs"]
mod page;
#[path = "format/records.rs"]
mod records;
#[path = "format/sealed.rs"]
mod sealed;
mod support;

use proptest::test_runner::{Config, FileFailurePersistence};

/// A failing case is printed, shrunk, and its seed is kept in the tree, to be tried first from then on.
fn cases(cases: u32) -> Config {
    let seeds = FileFailurePersistence::Direct("tests/rust/format/seeds.txt");
    Config { cases, failure_persistence: Some(Box::new(seeds)), ..Config::default() }
}
