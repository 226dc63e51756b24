//! One fixed script that touches every path of the engine, ended at every point there is: before each change to a file or a
//! name, between any two stores of the appending thread, and within the bytes of a record; each end in all the ways a process
//! or a machine can end, each opened again and judged.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use _core::{
    config::Mode,
    vfs::simulated::{Crash, Loss},
};

use super::{life, world::World};

/// a: append · b: batch · s: sync · k: the keeper's pass · p: snapshot · q: drop all snapshots · e: what expired goes · r: read ·
/// f: a reader follows · d: the next day ·
/// w: the kernel writes back · c: close and open · x: killed beside its readers, and opened.
const SCRIPT: &str = "aabkas aapbkf arbaswab akfaa d abkaa p c aabf abkaas x abbaf kaa p s abakr pp q p \
    x x aabwak c c abaaf saa d aab k aabbaaf x aas aab aakw p abaafr saabk aabaas c aabaakx abaaf \
    aabbaa kaa d w abaaf sab kaabaaw aabaafkx e abaas abaak e abaar c aabaafe ka e x abraf";
const DAY_NS: i64 = 86_400_000_000_000;

/// The script until its end, or until the machine is off.
fn play(world: &mut World) {
    if !world.open_and_judge() {
        return;
    }
    for step in SCRIPT.chars() {
        match step {
            'a' => world.append(1),
            'b' => world.append(3),
            's' => world.sync(),
            'k' => world.keep(),
            'p' => world.snapshot(),
            'q' => world.drop_snapshots(),
            'e' => world.expire(),
            'r' => world.read(),
            'f' => world.follow(),
            'd' => world.clock.advance(DAY_NS),
            'w' => world.disk.write_back(7),
            'c' => life::close(world),
            'x' => world.drop_log(),
            _ => continue,
        }
        if world.disk.is_off() || world.log.is_none() && !world.open_and_judge() {
            return;
        }
        world.look_around();
    }
    life::close(world);
}

fn played(crash_at: usize, stored_bytes: Option<usize>) -> World {
    let mut world = World::new(1);
    world.disk.crash_after(crash_at, stored_bytes);
    play(&mut world);
    world
}

/// Every way in which a life can end at point `at`.
fn ends(at: usize) -> [Crash; 7] {
    let seed = at as u64;
    [
        Crash::Kill,
        Crash::Power(Loss::DropAll),
        Crash::Power(Loss::KeepAll),
        Crash::Power(Loss::AlternatePages),
        Crash::Power(Loss::TornSectors(seed)),
        Crash::Power(Loss::ReorderedNames(seed)),
        Crash::Power(Loss::Some(seed)),
    ]
}

/// The next opening holds what was promised, and takes, keeps and closes on more.
fn judge(dead: &World, crash: Crash) {
    let mut world = dead.fork(crash);
    live_on(&mut world);
}

/// It opens, holds what was promised, and takes, keeps and closes on more.
pub fn live_on(world: &mut World) {
    world.open_and_judge();
    world.append(1);
    world.append(2);
    world.keep();
    life::close(world);
    world.open_and_judge();
    assert!(world.log().recovery().clean);
    world.verify();
}

fn points() -> usize {
    let world = played(usize::MAX, None);
    assert!(!world.disk.is_off());
    world.disk.points()
}

/// Calls `act` with each number below `count`, on all cores.
pub fn for_each(count: usize, act: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                return;
            }
            act(at);
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
}

#[test]
fn an_end_at_any_point_breaks_no_promise() {
    let points = points();
    let cases = AtomicUsize::new(0);
    let torn = AtomicUsize::new(0);
    for_each(points, |at| {
        let dead = played(at, None);
        assert!(dead.disk.is_off());
        for crash in ends(at) {
            judge(&dead, crash);
            cases.fetch_add(1, Ordering::Relaxed);
        }
        let Some(bytes) = dead.disk.bytes_in_flight() else { return };
        for stored in [0, 4, 8, 44, bytes / 2, bytes - 8] {
            let dead = played(at, Some(stored));
            judge(&dead, Crash::Kill);
            judge(&dead, Crash::Power(Loss::Some(at as u64)));
            torn.fetch_add(2, Ordering::Relaxed);
        }
    });
    println!("{points} points, {cases:?} ends, {torn:?} within a record");
    assert!(points > 1000, "{points}");
    assert!(torn.into_inner() > 1000);
}

#[test]
fn an_end_of_the_opening_after_that_breaks_none_either() {
    // Of a log's first opening, every point: what it leaves is like nothing that comes later.
    const FIRST: usize = 40;
    const STRIDE: usize = 13;
    let cases = AtomicUsize::new(0);
    for_each(FIRST + points() / STRIDE, |index| {
        let at = if index < FIRST { index } else { (index - FIRST) * STRIDE };
        let dead = played(at, None);
        for first in [Crash::Kill, Crash::Power(Loss::Some(at as u64))] {
            for during in 0.. {
                let second = dead.fork(first);
                second.disk.crash_after(during, None);
                if let Ok(log) = second.open_on(&second.disk, Mode::ReadWrite) {
                    log.abandon();
                }
                for crash in [Crash::Kill, Crash::Power(Loss::Some((at + during) as u64))] {
                    judge(&second, crash);
                    cases.fetch_add(1, Ordering::Relaxed);
                }
                if !second.disk.is_off() {
                    break;
                }
            }
        }
    });
    println!("{cases:?} ends of an opening");
    assert!(cases.into_inner() > 2000);
}
