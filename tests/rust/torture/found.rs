//! What the campaigns have found, each as a test that says what it was. A seed is a life as the dice fell when it was found;
//! with another step added it is another life, and these stay.

use std::path::Path;

use _core::{
    config::Mode,
    error::Error,
    vfs::simulated::{Fault, Loss, Operation},
};

use super::{
    life,
    world::{ROOT, World, read_all},
};

/// A copy of META, or a watermark, that could not be read was taken for a damaged one: with the other copy damaged the log
/// was refused as corrupt, with the other copy older a clean mark came back that no longer held.
#[test]
fn what_cannot_be_read_is_neither_damaged_nor_absent() {
    let mut world = World::new(3);
    world.open_and_judge();
    for _ in 0..20 {
        world.append(1);
    }
    world.keep();
    life::close(&mut world);
    for byte in [100, 4096 + 100] {
        let damaged = world.fork(_core::vfs::simulated::Crash::Kill);
        damaged.disk.flip(&Path::new(ROOT).join("META"), byte, 3).unwrap();
        for skip in 0.. {
            damaged.disk.fail(Fault {
                on: Some(Operation::Read),
                skip,
                errno: 5,
                lasts: false,
                leaves: Loss::DropAll,
            });
            let outcome = damaged.open_on(&damaged.disk, Mode::Read).and_then(|log| read_all(&log));
            match outcome.map(|events| events.len()) {
                Ok(count) => assert_eq!(count, world.model.history.len()),
                Err(error) => assert!(matches!(error, Error::Io { .. }), "read {skip}: {error:?}"),
            }
            if damaged.disk.heal().is_empty() {
                break;
            }
        }
    }
}
