//! Lives of a log on a simulated machine. Random ones: appended to, read, followed, broken, killed, switched off, rolled back,
//! damaged by a bit; and after each end held against a plain list of what was promised. A life is a seed: the same seed is
//! the same life. And one fixed life, ended at every point there is.
//!
//! `make torture SEED=n` tells one life in full, `make torture MINUTES=n` goes on with new ones for as long as told.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that breaks off has failed, which is what it is for"
)]

#[path = "torture/campaign.rs"]
mod campaign;
#[path = "torture/enumeration.rs"]
mod enumeration;
#[path = "torture/flips.rs"]
mod flips;
#[path = "torture/found.rs"]
mod found;
#[path = "torture/life.rs"]
mod life;
#[path = "torture/model.rs"]
mod model;
#[path = "torture/rescue.rs"]
mod rescue;
#[path = "torture/retries.rs"]
mod retries;
#[path = "torture/steps.rs"]
mod steps;
#[path = "torture/world.rs"]
mod world;

use campaign::{Limit, campaign, setting};

/// Lives that `make test` tries; `make torture` goes on for as long as told.
const SEEDS_IN_TEST: u64 = 20_000;

#[test]
fn nothing_promised_is_lost_and_nothing_false_is_served() {
    if let Some(seed) = setting("TORTURE_SEED") {
        return campaign::tell(seed);
    }
    let limit = match (setting("TORTURE_MINUTES"), setting("TORTURE_SEEDS")) {
        (Some(minutes), _) => Limit::Minutes(minutes),
        (None, seeds) => Limit::Seeds(seeds.unwrap_or(SEEDS_IN_TEST)),
    };
    campaign(limit, setting("TORTURE_FIRST_SEED").unwrap_or(0));
}
