//! The ways back from damage, ended at every point there is, and again in the attempt after that: a loss that is accepted, a META
//! that is made anew. Salvage has no points, since it changes nothing; here it says what a crash has left readable.
//!
//! Owns the damaged logs and what each end may leave of them. What a log must hold once it opens is [`super::world`]'s.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use _core::{
    config::Mode,
    error::Error,
    format::segment::RECORDS_OFFSET,
    repair::repair,
    salvage::Salvage,
    vfs::{
        Vfs,
        simulated::{Crash, Image, Loss, SimulatedDisk},
    },
};

use super::{
    campaign::setting,
    enumeration::{for_each, live_on},
    life,
    world::{ROOT, World, read_all},
};

/// One in so many ends of a second attempt is tried, and one in so many logs takes and keeps more; `EVERY_CRASH=1` does all.
const STRIDE: usize = 31;
const LIVED_ON: usize = 3;

/// An event as it is stored: epoch, position, bytes.
type Found = BTreeSet<(u32, u64, Vec<u8>)>;

/// A damaged log, and how it is helped.
struct Case {
    name: &'static str,
    /// Its model is what must be there in the end.
    world: World,
    run: fn(&World) -> Result<(), Error>,
    /// Files that are on the platter as they are seen, and must be left alone or set aside whole.
    files: Image,
    /// What reads of it at the least.
    readable: Found,
}

impl Case {
    fn of(name: &'static str, world: World, run: fn(&World) -> Result<(), Error>) -> Self {
        let [seen, kept] = [Loss::KeepAll, Loss::DropAll].map(|loss| world.fork(Crash::Power(loss)));
        let (mut files, on_platter) = (seen.disk.image(), kept.disk.image());
        // A META that reads is rewritten, an index made again, a spare removed.
        let is_meta_whole = world.place().read_meta().is_ok_and(|meta| meta.is_some());
        files.retain(|path, bytes| {
            let is_replaced = path.ends_with("META") && is_meta_whole || kind(path) == "idx";
            let is_spare = kind(path) == "log" && bytes[HEADER_END..].iter().all(|byte| *byte == 0);
            !is_replaced && !is_spare && kind(path) != "tmp" && on_platter.get(path) == Some(bytes)
        });
        let mut readable = salvaged(&kept);
        readable.retain(|(_, seq, _)| *seq >= world.model.dropped as u64);
        Self { name, world, run, files, readable }
    }

    /// The machine as a crash at point `at` of an attempt on `world` leaves it; `None` where the attempt has fewer.
    fn broken_off(&self, world: &World, at: usize) -> Option<World> {
        let dead = world.fork(Crash::Kill);
        dead.disk.crash_after(at, None);
        let _outcome = (self.run)(&dead);
        dead.disk.is_off().then_some(dead)
    }

    fn points(&self, world: &World) -> usize {
        let whole = world.fork(Crash::Kill);
        (self.run)(&whole).unwrap_or_else(|error| panic!("{}: {error:?}", self.name));
        whole.disk.points()
    }

    /// What a crash has left is refused or whole, and everything is still there; after one more attempt it is a log, one that goes on
    /// if told so.
    fn judge(&self, mut left: World, goes_on: bool) {
        let name = self.name;
        self.refused_or_whole(&left);
        let missing: Vec<_> = self.readable.difference(&salvaged(&left)).map(|(_, seq, _)| *seq).collect();
        assert!(missing.is_empty(), "{name}: events {missing:?} do not read any more");
        let aside = self.set_aside(&left);
        (self.run)(&left).unwrap_or_else(|error| panic!("{name}, once more: {error:?}"));
        let still = self.set_aside(&left);
        assert!(aside.iter().all(|one| still.get(one.0) == Some(one.1)), "{name}: quarantine lost a file");
        if goes_on {
            live_on(&mut left);
        } else {
            left.open_and_judge();
        }
    }

    fn refused_or_whole(&self, left: &World) {
        match left.open_on(&left.disk, Mode::Read).and_then(|reader| read_all(&reader)) {
            Err(Error::Corrupt { .. }) => {}
            Err(error) => panic!("{}: {error:?}", self.name),
            Ok(events) => {
                assert_eq!(left.model.fault_of(&events), None, "{}", self.name);
                assert!(left.model.dropped + events.len() >= left.least, "{}: events are gone", self.name);
            }
        }
    }

    /// The whole files in quarantine. Each file of the log is where it was, or there, as it was.
    fn set_aside(&self, left: &World) -> Image {
        let quarantine = Path::new(ROOT).join("quarantine");
        let image = left.disk.image().into_iter().filter(|(path, _)| kind(path) != "tmp");
        let (aside, log): (Image, Image) = image.partition(|(path, _)| path.starts_with(&quarantine));
        for (path, bytes) in &self.files {
            let is_kept = log.get(path) == Some(bytes) || aside.values().any(|kept| kept == bytes);
            assert!(is_kept, "{}: {} is neither there nor set aside", self.name, path.display());
        }
        aside
    }
}

/// Where a raw segment's header ends.
const HEADER_END: usize = 512;

fn kind(path: &Path) -> &str {
    path.extension().unwrap_or_default().to_str().unwrap()
}

/// Every event that reads, also from quarantine. Changes nothing.
fn salvaged(world: &World) -> Found {
    let points = world.disk.points();
    let mut salvage = Salvage::new(world.place(), true).unwrap();
    let mut found = Found::new();
    while let Some(events) = salvage.next_file().unwrap() {
        found.extend(events.into_iter().map(|one| (one.epoch, one.fixed.seq, one.bytes.to_vec())));
    }
    assert_eq!(world.disk.points(), points, "salvage changed something");
    found
}

/// A kill, and losses of power that keep so much of what was not synced.
fn ends(at: usize) -> Vec<Crash> {
    let seed = at as u64;
    let powers = [0, 15, 50, 85, 100].map(|percent| Crash::Power(Loss::Share(percent, seed)));
    [&[Crash::Kill, Crash::Power(Loss::ReorderedNames(seed))][..], &powers].concat()
}

fn count(world: &World, suffix: &str) -> usize {
    world.disk.image().keys().filter(|path| kind(path) == suffix).count()
}

fn at_work(world: &mut World, act: impl Fn(&mut World)) {
    act(world);
    world.look_around();
}

/// A log of two epochs: its front expired, then sealed segments, then raw ones. Closed, with an index, or killed.
fn lived(is_closed: bool) -> World {
    let mut world = World::new(11);
    world.open_and_judge();
    for least in [4, 3] {
        while count(&world, "seg") < least || world.model.dropped == 0 && least == 3 {
            at_work(&mut world, |world| world.append(1));
            at_work(&mut world, |world| world.append(2));
            at_work(&mut world, World::keep);
        }
        while world.model.dropped == 0 {
            at_work(&mut world, World::expire);
        }
        at_work(&mut world, World::snapshot);
        world.drop_log();
        world.open_and_judge();
    }
    while count(&world, "log") < 4 {
        at_work(&mut world, |world| world.append(1));
    }
    if is_closed {
        life::close(&mut world);
    } else {
        at_work(&mut world, World::sync);
        at_work(&mut world, |world| world.append(2));
        world.drop_log();
    }
    world
}

/// A log whose two oldest segments expired, without META; of their files the power has brought back the first alone.
fn haunted() -> Case {
    let mut world = World::new(13);
    world.open_and_judge();
    while count(&world, "seg") < 5 {
        at_work(&mut world, |world| world.append(2));
        at_work(&mut world, World::keep);
    }
    let before = world.disk.image();
    let [first, second] = [0, 1].map(|at| segment(&before, "seg", at));
    while world.disk.image().contains_key(&second) {
        at_work(&mut world, World::expire);
    }
    life::close(&mut world);
    let world = harmed(&world, |image| {
        image.remove(&Path::new(ROOT).join("META")).unwrap();
        image.insert(first.clone(), before[&first].clone());
    });
    let mut case = of_meta("META gone, one of the expired segments back", world);
    // It is no part of the log.
    case.files.remove(&first).unwrap();
    case
}

/// The same log with its files changed by `harm`.
fn harmed(whole: &World, harm: impl Fn(&mut Image)) -> World {
    let mut world = whole.fork(Crash::Power(Loss::KeepAll));
    let mut image = world.disk.image();
    harm(&mut image);
    world.disk = SimulatedDisk::holding(&image).unwrap();
    world
}

/// The `at`th segment of a kind that holds records, oldest first.
fn segment(image: &Image, suffix: &str, at: usize) -> PathBuf {
    let is_used = |bytes: &[u8]| suffix == "seg" || bytes[RECORDS_OFFSET..].iter().any(|byte| *byte != 0);
    let mut of_kind = image.iter().filter(|(path, bytes)| kind(path) == suffix && is_used(bytes));
    of_kind.nth(at).unwrap().0.clone()
}

fn flip(image: &mut Image, path: &Path, byte: usize) {
    image.get_mut(path).unwrap()[byte] ^= 8;
}

/// The case of a loss: what is kept is what is kept where nothing interrupts.
fn of_loss(name: &'static str, whole: &World, harm: impl Fn(&mut Image)) -> Case {
    let accept = |world: &World| world.open_accepting_loss().map(|log| log.abandon());
    let mut world = harmed(whole, harm);
    let log = world.fork(Crash::Kill).open_accepting_loss().unwrap();
    let loss = log.recovery().loss.clone().unwrap_or_else(|| panic!("{name}: nothing is lost"));
    let kept = usize::try_from(loss.first_seq).unwrap();
    assert!(kept > world.model.dropped && kept < world.model.history.len(), "{name}: {loss:?}");
    world.model.accept(kept);
    (world.model.durable, world.least) = (kept, kept);
    Case::of(name, world, accept)
}

fn losses() -> Vec<Case> {
    let whole = lived(true);
    let records = RECORDS_OFFSET;
    let sealed = |image: &Image| segment(image, "seg", 1);
    let (full, newest) = (|image: &Image| segment(image, "log", 1), |image: &Image| segment(image, "log", 2));
    vec![
        of_loss("a block of a sealed segment", &whole, |image| {
            let path = sealed(image);
            let middle = image[&path].len() / 2;
            flip(image, &path, middle);
        }),
        of_loss("a sealed segment that is gone", &whole, |image| {
            image.remove(&sealed(image));
        }),
        of_loss("a full segment's record", &whole, |image| flip(image, &full(image), records + 9_000)),
        of_loss("a full segment's header", &whole, |image| flip(image, &full(image), 20)),
        of_loss("the newest segment's record", &whole, |image| flip(image, &newest(image), records + 3_000)),
    ]
}

fn of_meta(name: &'static str, world: World) -> Case {
    let repaired = |world: &World| {
        repair(&world.place(), &*world.clock)?;
        world.open_on(&world.disk, Mode::ReadWrite).map(|log| log.abandon())
    };
    Case::of(name, world, repaired)
}

fn lost_metas() -> Vec<Case> {
    let (whole, killed) = (lived(true), lived(false));
    let meta = Path::new(ROOT).join("META");
    let heads = Path::new(ROOT).join("heads/expired.heads");
    let older = {
        let (before, mut after) = (whole.disk.image()[&meta].clone(), whole.fork(Crash::Kill));
        after.open_and_judge();
        after.drop_log();
        after.dice = fastrand::Rng::with_seed(12);
        live_on(&mut after);
        after.drop_log();
        harmed(&after, |image| {
            image.insert(meta.clone(), before.clone());
        })
    };
    let in_cache = killed.fork(Crash::Kill);
    in_cache.disk.unlink(&meta).unwrap();
    in_cache.disk.sync_dir(Path::new(ROOT)).unwrap();
    vec![
        of_meta("META gone", harmed(&whole, |image| drop(image.remove(&meta)))),
        of_meta(
            "both copies of META damaged",
            harmed(&whole, |image| [100, 4_196].into_iter().for_each(|byte| flip(image, &meta, byte))),
        ),
        of_meta("META of an earlier epoch", older),
        of_meta("META gone under a writer that was killed", in_cache),
        of_meta(
            "META and the heads of what expired gone",
            harmed(&whole, |image| drop((image.remove(&meta), image.remove(&heads).unwrap()))),
        ),
        haunted(),
    ]
}

/// Ends each case at every point, and at some of the points of the attempt after that.
fn end_everywhere(cases: &[Case]) {
    let (stride, lived_on) = if setting("EVERY_CRASH").is_some() { (1, 1) } else { (STRIDE, LIVED_ON) };
    for case in cases {
        let (first, second) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let points = case.points(&case.world);
        assert!(points > 5, "{}: {points} points", case.name);
        for_each(points, |at| {
            let dead = case.broken_off(&case.world, at).unwrap();
            for (number, crash) in ends(at).into_iter().enumerate() {
                case.judge(dead.fork(crash), (at + number).is_multiple_of(lived_on));
                first.fetch_add(1, Ordering::Relaxed);
            }
            let again = dead.fork(ends(at)[at % 7]);
            for at_again in (at % stride..case.points(&again)).step_by(stride) {
                let dead = case.broken_off(&again, at_again).unwrap();
                for crash in [Crash::Kill, Crash::Power(Loss::Share(50, at_again as u64))] {
                    case.judge(dead.fork(crash), at_again.is_multiple_of(lived_on));
                    second.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        println!("{}: {points} points, {first:?} ends, {second:?} of a second attempt", case.name);
    }
}

#[test]
fn a_loss_that_is_accepted_is_the_same_however_often_it_was_broken_off() {
    end_everywhere(&losses());
}

#[test]
fn a_meta_that_is_made_anew_loses_nothing_wherever_that_was_broken_off() {
    end_everywhere(&lost_metas());
}
