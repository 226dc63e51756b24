//! One seed's lives of one log, from its making to a last look.

use _core::{
    config::{Durability, Mode},
    error::Error,
    vfs::simulated::Crash,
};

use super::world::World;

/// Lives through `seed`; panics where a promise is broken, with the world as it was then.
pub fn live(world: &mut World) {
    for _ in 0..world.dice.usize(1..5) {
        one_life(world);
    }
    world.heal();
    world.open_and_judge();
    world.verify();
    world.log.take().unwrap().close().unwrap();
    let reader = world.open_on(&world.disk, Mode::Read).unwrap();
    assert!(reader.recovery().clean);
}

fn one_life(world: &mut World) {
    let modes = [Durability::None, Durability::Interval, Durability::Group, Durability::Always];
    world.durability = modes[world.dice.usize(..modes.len())];
    if world.chance(20) {
        open_with_trouble(world);
    }
    world.open_and_judge();
    if world.chance(10) {
        world.verify();
    }
    if world.chance(70) {
        let points = 1 << world.dice.u32(..9);
        let points = world.dice.usize(..points);
        let stored = world.chance(50).then(|| 8 * world.dice.usize(..30));
        world.note(format_args!("to crash after {points} points, {stored:?}"));
        world.disk.crash_after(points, stored);
    }
    for _ in 0..world.dice.usize(..60) {
        if !world.step() {
            break;
        }
    }
    end(world);
    while world.chance(25) {
        crash_while_opening(world);
    }
    if world.chance(40) {
        world.flip_somewhere();
    }
    if world.chance(4) {
        world.roll_back();
    }
}

/// A close, a kill, a loss of power.
fn end(world: &mut World) {
    if world.disk.is_off() {
        let crash = world.any_crash();
        return world.restart(crash);
    }
    if world.chance(50) {
        close(world);
        if world.disk.is_off() || world.chance(30) {
            let crash = world.any_crash();
            return world.restart(crash);
        }
    }
    world.heal();
    world.disk.live_on();
    if world.chance(50) {
        let crash = world.any_crash();
        world.restart(crash);
    } else {
        world.note("killed beside its readers");
        world.drop_log();
    }
}

/// A clean close, which may meet a crash or a fault; the log is closed all the same.
pub fn close(world: &mut World) {
    world.note("close");
    let outcome = world.log().close();
    if world.disk.is_off() {
        return;
    }
    let struck = world.heal();
    match outcome {
        Ok(()) => {
            world.model.durable = world.model.history.len();
            world.least = world.model.durable;
        }
        Err(Error::Poisoned { .. }) => {
            assert!(world.is_poisoned || !struck.is_empty());
            world.is_poisoned = true;
            world.least = world.model.durable;
        }
        Err(Error::Io { .. } | Error::DiskFull { .. }) => assert!(!struck.is_empty()),
        Err(error) => panic!("{error:?}"),
    }
    world.drop_log();
}

/// The machine, or only the process, ends in the middle of an opening.
fn crash_while_opening(world: &mut World) {
    let points = world.dice.usize(..40);
    world.note(format_args!("crash after {points} points of an opening"));
    let before = world.read_beside().map_or(0, |events| events.len());
    world.disk.crash_after(points, None);
    match world.open_on(&world.disk, Mode::ReadWrite) {
        Ok(log) => log.abandon(),
        Err(_) if world.disk.is_off() => {}
        Err(error) => panic!("{error:?}"),
    }
    let crash = world.any_crash();
    world.restart(crash);
    if crash == Crash::Kill {
        let after = world.read_beside().map_or(0, |events| events.len());
        assert_eq!(after, before, "a recovery that is repeated comes to another end");
    }
}

/// An opening that meets faults of the system fails with an error that fits, or succeeds.
fn open_with_trouble(world: &mut World) {
    world.break_something();
    let outcome = world.open_on(&world.disk, Mode::ReadWrite);
    let struck = world.heal();
    world.note(format_args!("opened in trouble: {struck:?}, {:?}", outcome.as_ref().err()));
    match outcome {
        Ok(log) => log.abandon(),
        Err(Error::Io { .. } | Error::DiskFull { .. }) => assert!(!struck.is_empty()),
        Err(error) => panic!("{error:?} after {struck:?}"),
    }
    if !struck.is_empty() {
        // A sync that failed may have thrown out what was committed and not durable, and what readers have seen.
        world.doubt_followers();
        world.least = world.least.min(world.model.durable);
    }
}
