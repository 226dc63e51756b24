//! Every order of steps: the engine under loom, which tries all of them, with every value that the orderings allow a load
//! to see, up to a bound of preemptions that each model states. `cargo test --features loom --test loom`.
//!
//! What runs is production's own code on production's own formats (rust/threads says how); a model brings only a disk in
//! memory, the threads, and what must hold. CONTRIBUTING.md says how to read a failure.

#![cfg(all(test, feature = "loom"))]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that breaks off has failed, which is what it is for; it prints how much it explored"
)]

#[path = "loom/bell.rs"]
mod bell;
#[path = "loom/commit.rs"]
mod commit;
#[path = "loom/durability.rs"]
mod durability;
#[path = "loom/position.rs"]
mod position;
#[path = "support/ram.rs"]
#[allow(dead_code, reason = "this test binary uses its own part")]
mod ram;
#[path = "loom/roll.rs"]
mod roll;
#[path = "loom/stage.rs"]
mod stage;
#[path = "loom/takeover.rs"]
mod takeover;
#[path = "support/witness.rs"]
mod witness;
