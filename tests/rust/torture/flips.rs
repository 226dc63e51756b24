//! One bit flips, somewhere: refused with a place and without a change, harmless, or cut at or above the watermark.
//!
//! A flip is tried on copies of the machine; the log lives on without it.

use std::{path::PathBuf, sync::Arc};

use _core::{
    config::Mode,
    error::Error,
    scan::StoredEvent,
    vfs::simulated::{Crash, Fault, Loss, Operation, SimulatedDisk},
};

use super::world::{ROOT, World, read_all};

struct Flip {
    path: PathBuf,
    byte: usize,
    bit: u32,
}

/// What an opening makes of a damaged log.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Serves(usize),
    Refused,
}

/// What the log serves without damage, and how much of it is known to be durable.
struct Sound {
    events: Vec<StoredEvent>,
    durable: usize,
}

impl World {
    /// Flips one bit and lets a reader and a writer judge it, and a reader to whom the system refuses one more thing.
    pub fn flip_somewhere(&mut self) {
        let sound = self.disk.after(Crash::Kill).unwrap();
        let Ok(reader) = self.open_on(&sound, Mode::Read) else { return };
        let durable = reader.recovery().watermark_seq.map_or(0, |seq| seq + 1);
        let durable = usize::try_from(durable.saturating_sub(reader.first_seq())).unwrap();
        let sound = Sound { events: read_all(&reader).unwrap(), durable };
        let flip = self.choose_flip();
        self.note(format_args!("bit {} of byte {} of {} flips", flip.bit, flip.byte, flip.path.display()));
        self.tally.flips += 1;
        let verdict = self.judge_flip(&flip, &sound, Mode::Read);
        self.tally.refused_flips += usize::from(verdict == Verdict::Refused);
        self.judge_flip(&flip, &sound, Mode::ReadWrite);
        self.judge_flip_in_trouble(&flip, &verdict);
    }

    fn choose_flip(&mut self) -> Flip {
        let image = self.disk.image();
        let (path, bytes) = image.iter().nth(self.dice.usize(..image.len())).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
        let byte = self.dice.usize(..bytes.len().clamp(1, used + 64));
        Flip { path: path.clone(), byte, bit: self.dice.u32(..8) }
    }

    fn flipped(&self, flip: &Flip) -> Arc<SimulatedDisk> {
        let damaged = self.disk.after(Crash::Kill).unwrap();
        damaged.flip(&flip.path, flip.byte, flip.bit).unwrap();
        damaged
    }

    fn judge_flip(&self, flip: &Flip, sound: &Sound, mode: Mode) -> Verdict {
        let damaged = self.flipped(flip);
        let before = damaged.image();
        let log = match self.open_on(&damaged, mode) {
            Ok(log) => log,
            Err(Error::Corrupt { path, .. } | Error::Version { path, .. }) => {
                assert!(path.starts_with(ROOT), "{}", path.display());
                assert!(damaged.image() == before, "a refused opening changed something");
                return Verdict::Refused;
            }
            Err(error) => panic!("{error:?}"),
        };
        match read_all(&log) {
            Ok(served) => {
                let bytes =
                    |events: &[StoredEvent]| events.iter().map(|one| one.bytes.clone()).collect::<Vec<_>>();
                assert!(bytes(&sound.events).starts_with(&bytes(&served)), "something else was served");
                let told = (served.len(), sound.durable, log.recovery().clone());
                assert!(served.len() >= sound.durable, "durable events are gone: {told:?}");
                let is_named = mode == Mode::Read || log.recovery().cut.is_some();
                assert!(is_named || served.len() == sound.events.len(), "cut without a word: {told:?}");
                log.abandon();
                Verdict::Serves(served.len())
            }
            // An opening does not read what is sealed, nor what is raw after a clean close: damage there is found by who does.
            Err(Error::Corrupt { path, .. }) => {
                let kind = path.extension().unwrap_or_default();
                let is_unread = kind == "seg" || kind == "log" && log.recovery().clean;
                assert!(is_unread, "{}", path.display());
                log.abandon();
                Verdict::Refused
            }
            Err(error) => panic!("{error:?}"),
        }
    }

    /// What cannot be read withholds the verdict; it never changes it.
    fn judge_flip_in_trouble(&mut self, flip: &Flip, verdict: &Verdict) {
        let damaged = self.flipped(flip);
        let skip = self.dice.usize(..40);
        damaged.fail(Fault {
            on: Some(Operation::Read),
            skip,
            errno: 5,
            lasts: false,
            leaves: Loss::DropAll,
        });
        let outcome = self.open_on(&damaged, Mode::Read).and_then(|log| read_all(&log));
        let in_trouble = match outcome {
            Ok(served) => Verdict::Serves(served.len()),
            Err(Error::Corrupt { .. } | Error::Version { .. }) => Verdict::Refused,
            Err(Error::Io { .. }) if !damaged.heal().is_empty() => return,
            Err(error) => panic!("{error:?}"),
        };
        // Without the closing index or its own a sealed segment is read at the opening, and damage found that nobody else came across.
        let is_sealed = flip.path.extension().is_some_and(|kind| kind == "seg");
        if is_sealed && in_trouble == Verdict::Refused {
            return;
        }
        assert_eq!(&in_trouble, verdict, "read {skip} could not be made, and the verdict is another");
    }
}
