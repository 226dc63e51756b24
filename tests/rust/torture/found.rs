//! What the campaigns have found, each as a test that says what it was. A seed is a life as the dice fell when it was found;
//! with another step added it is another life, and these stay.

use std::path::Path;

use _core::{
    config::Mode,
    error::Error,
    vfs::{
        Vfs,
        simulated::{Crash, Fault, Loss, Operation},
    },
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
        let damaged = world.fork(Crash::Kill);
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

/// Each change of META began with the first copy, also where the change before had failed at the second one: where it failed
/// too, none was left, and the log was refused for ever.
#[test]
fn a_change_of_meta_that_fails_behind_another_one_leaves_a_whole_copy() {
    for skip in 0..8 {
        for skip_again in 0..3 {
            for on in [Operation::Write, Operation::Sync] {
                let mut world = World::new(3);
                world.open_and_judge();
                world.append(1);
                world.sync();
                let fault =
                    |skip, lasts| Fault { on: Some(on), skip, errno: 5, lasts, leaves: Loss::TornSectors(7) };
                world.disk.fail(fault(skip, false));
                world.keep();
                let _first = world.disk.heal();
                world.drop_log();
                world.disk.fail(fault(skip_again, true));
                let outcome = world.open_on(&world.disk, Mode::ReadWrite);
                let _second = world.disk.heal();
                outcome.map_or_else(|_| (), |log| log.abandon());
                for crash in [Crash::Kill, Crash::Power(Loss::DropAll), Crash::Power(Loss::KeepAll)] {
                    let mut after = world.fork(crash);
                    after.least = 0;
                    after.open_and_judge();
                }
            }
        }
    }
}

/// A writer that was killed between writing the second copy of META and its sync left it in the cache alone. The next one took both
/// copies for durable and began with the first: where the power went then, none was whole, and the log was refused for ever.
#[test]
fn a_change_of_meta_begins_with_the_copy_that_may_be_in_the_cache_alone() {
    for points in 0..30 {
        for points_again in 0..12 {
            let mut world = World::new(3);
            world.open_and_judge();
            world.append(1);
            world.sync();
            world.disk.crash_after(points, None);
            world.keep();
            world.restart(Crash::Kill);
            world.disk.crash_after(points_again, None);
            world.open_on(&world.disk, Mode::ReadWrite).map_or_else(|_| (), |log| log.abandon());
            for seed in 0..8 {
                let mut after = world.fork(Crash::Power(Loss::TornSectors(seed)));
                after.open_and_judge();
            }
        }
    }
}

/// A directory that cannot be listed is no empty one: to a reader its log was missing, and a writer could have begun another.
#[test]
fn what_cannot_be_listed_is_not_taken_for_no_log() {
    let world = World::new(3);
    assert!(matches!(world.open_on(&world.disk, Mode::Read).err(), Some(Error::Missing { .. })));
    world.open_on(&world.disk, Mode::ReadWrite).unwrap().close().unwrap();
    world.disk.unlink(&Path::new(ROOT).join("META")).unwrap();
    for mode in [Mode::Read, Mode::ReadWrite] {
        for skip in 0.. {
            world.disk.fail(Fault {
                on: Some(Operation::Read),
                skip,
                errno: 5,
                lasts: true,
                leaves: Loss::DropAll,
            });
            let refused = world.open_on(&world.disk, mode).err();
            let is_struck = !world.disk.heal().is_empty();
            match refused {
                Some(Error::Io { .. }) => assert!(is_struck),
                Some(Error::Corrupt { .. }) => {}
                other => panic!("read {skip}: {other:?}"),
            }
            if !is_struck {
                break;
            }
        }
    }
}
