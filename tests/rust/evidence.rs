//! The tree over a log's events: its shape and its proofs, what a log says of itself, and what a hostile edit cannot hide.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that breaks off has failed, which is what it is for"
)]

#[path = "evidence/against.rs"]
mod against;
#[path = "evidence/expired.rs"]
mod expired;
#[path = "evidence/heads.rs"]
mod heads;
#[path = "evidence/sealed.rs"]
mod sealed;
mod support;
#[path = "evidence/tree.rs"]
mod tree;
