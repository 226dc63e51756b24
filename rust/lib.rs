//! The engine of aresbus: an event log in memory-mapped segments.
//!
//! Read the modules in this order; each knows only those before it:
//! `error`, `config`, `clock`, `threads`, `planted`, `histogram`, `heads` · `format` (bytes) · `evidence` (hashes) · `map`, `vfs`
//! (files) · `control` (waiting beside other processes) · `segment` (one file) · `place`, `shelf` (one directory) · `tail` (write) · `recovery` (opening) · `scan` (read) · `log` (policy,
//! the face) · `verify`, `excerpt`, `salvage`, `repair`, `digest` (whole logs as files) ·
//! `python` (the binding).
//! docs/format.md is the contract on disk, ARCHITECTURE.md the reasons.

pub mod clock;
pub mod config;
pub mod control;
pub mod digest;
pub mod error;
pub mod evidence;
pub mod excerpt;
pub mod format;
pub mod heads;
pub mod histogram;
pub mod json;
pub mod log;
pub mod map;
pub mod place;
pub mod planted;
pub mod recovery;
pub mod repair;
pub mod salvage;
pub mod scan;
pub mod segment;
pub mod shelf;
pub mod tail;
pub mod threads;
pub mod verify;
pub mod vfs;

#[cfg(feature = "python")]
mod python;
