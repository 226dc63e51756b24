//! META, made anew from the segments of a log that has lost it.
//!
//! Owns what is derived from what, and that a META which serves is left alone. Holds the writer's lock. The old bytes go to
//! quarantine; segments are only read. Whether the log then opens is not decided here: META is all that this mends, and heads/
//! where it has nothing of a front that is gone.

use crate::{
    clock::Clock,
    error::{Error, Result},
    format::{
        meta::{Mark, Meta},
        segment::Entry,
    },
    place::{OpenedSegment, Place},
    planted::{Bug, is_planted},
    recovery::take_lock,
};

/// What a repair found and did.
#[derive(Debug, Clone)]
pub struct Repair {
    /// What was wrong with META; `None`: nothing, and nothing was done.
    pub damage: Option<String>,
    /// META as it is now.
    pub meta: Meta,
    /// What could not be known, and what was taken instead.
    pub derived: Vec<String>,
    /// Name in quarantine of what was there before.
    pub kept: Option<String>,
}

/// Writes META from the segments of the log at `place`, where it is lost, damaged in both copies, or older than they are.
/// Durable on return.
///
/// # Errors
/// [`Error::Locked`], [`Error::Missing`] where there is no segment either, [`Error::Corrupt`] where no segment says whose they
/// are or two of them disagree, [`Error::Version`], [`Error::DiskFull`], [`Error::Io`].
pub fn repair(place: &Place, clock: &dyn Clock) -> Result<Repair> {
    let listing = place.list().map_err(|_| Error::Missing { path: place.path.clone() })?;
    if listing.segments.is_empty() && place.read_meta().is_ok_and(|meta| meta.is_none()) {
        return Err(Error::Missing { path: place.path.clone() });
    }
    let _lock = take_lock(place, clock)?;
    let found = match place.read_meta() {
        Ok(meta) => meta,
        Err(Error::Corrupt { .. }) => None,
        Err(other) => return Err(other),
    };
    let log_id = id_of_all(place, &listing.segments, found.as_ref())?;
    let mut opened = Vec::new();
    for number in &listing.segments {
        match place.open_segment(*number, &log_id) {
            Ok(one) => opened.push(one),
            // What is damaged is named by who opens the log; its number counts.
            Err(Error::Corrupt { .. }) => {}
            Err(other) => return Err(other),
        }
    }
    let highest = listing.segments.last().copied().unwrap_or(0);
    let epoch = opened.iter().map(|one| one.header.epoch).max().unwrap_or(1);
    let damage = match found {
        Some(meta) if meta.epoch < epoch => {
            Some(format!("META is of epoch {}, a segment of epoch {epoch}", meta.epoch))
        }
        Some(meta) if meta.highest_segment < highest => {
            // A spare that a crash kept out of META is no damage; one with events in it is.
            let is_entered =
                opened.iter().any(|one| one.header.number > meta.highest_segment && one.entry.is_some());
            is_entered.then(|| format!("META knows no segment above {}", meta.highest_segment))
        }
        Some(_) => None,
        None => Some("neither copy of META is whole".to_owned()),
    };
    if let (Some(meta), None) = (found, &damage) {
        return Ok(Repair { damage, meta, derived: Vec::new(), kept: None });
    }
    let mut derived = Vec::new();
    let quarantined = place.quarantined_segments()?.into_iter().map(|(number, ..)| number).max().unwrap_or(0);
    let meta =
        derive(place, log_id, &opened, (epoch, highest.max(quarantined)), found.as_ref(), &mut derived)?;
    if is_planted(Bug::OldMetaNotKept) {
        place.create_meta(&meta)?;
    }
    // ORDER: the old META goes once its bytes are kept, and the new one comes once it has the heads without which it is refused.
    let kept = place.quarantine_meta()?;
    if is_planted(Bug::HeadsAfterMeta) {
        place.create_meta(&meta)?;
    }
    if meta.first_seq > 0 && place.begin_heads(log_id, meta.first_seq)? {
        derived.push(format!(
            "nothing says which aggregates had their last event before event {}: their versions begin anew",
            meta.first_seq
        ));
    }
    place.create_meta(&meta)?;
    Ok(Repair { damage, meta, derived, kept })
}

/// The id that every header that reads has.
fn id_of_all(place: &Place, numbers: &[u64], found: Option<&Meta>) -> Result<[u8; 16]> {
    let mut id = found.map(|meta| meta.log_id);
    for number in numbers {
        let Some(own) = place.own_id_of_segment(*number) else { continue };
        if *id.get_or_insert(own) != own {
            let why = "the segments belong to more than one log: take those of the other one away first";
            return Err(Error::corrupt(place.segment_path(*number), 16, why));
        }
    }
    id.ok_or_else(|| Error::corrupt(place.meta_path(), 0, "no segment says which log it belongs to"))
}

fn derive(
    place: &Place,
    log_id: [u8; 16],
    opened: &[OpenedSegment],
    (epoch, highest): (u32, u64),
    found: Option<&Meta>,
    derived: &mut Vec<String>,
) -> Result<Meta> {
    let entered: Vec<_> = opened.iter().filter_map(|one| Some((one, one.entry?))).collect();
    // Of the files that retention removed last the power may bring back some. What lies before a gap that its heads reach over
    // is no part of the log; a gap behind that is a loss, and named by who opens the log.
    let is_expired = |pair: &[(&OpenedSegment, Entry)]| match pair {
        [(before, _), (_, after)] => {
            after.prev_segment != before.header.number
                && after.first_seq > 0
                && place.read_heads(log_id, after.first_seq).is_ok()
        }
        _ => false,
    };
    let begin = entered.windows(2).rposition(is_expired).map_or(0, |gap| gap + 1);
    let entered = entered.get(begin..).unwrap_or_default();
    let Some((first, first_entry)) = entered.first().copied() else {
        return Err(Error::corrupt(
            place.meta_path(),
            0,
            "no segment was entered: nothing says where the log begins",
        ));
    };
    let first_number = first.header.number;
    if first_entry.prev_segment != 0 {
        derived.push(format!(
            "segment {first_number} follows segment {}, which is not there: the log begins with event {} now; whether \
             retention dropped what came before or it was lost is not known",
            first_entry.prev_segment, first_entry.first_seq
        ));
    }
    // A new epoch begins where a recovery had cut the log.
    let mut cut = None;
    let mut before = first.header.epoch;
    for (one, entry) in entered.iter().skip(1) {
        if one.header.epoch != before {
            cut =
                Some(Mark { segment: entry.prev_segment, offset: entry.prev_end, next_seq: entry.first_seq });
        }
        before = one.header.epoch;
    }
    derived.push(format!("epoch {epoch} and segment {highest} are the highest that the files name"));
    derived.push(format!("the log is taken to have been made when segment {first_number} was prepared"));
    derived.push("no clean close is assumed: the next opening recovers".to_owned());
    let newest = entered.last().map_or(0, |(one, _)| one.header.number);
    Ok(Meta {
        log_id,
        generation: found.map_or(0, |meta| meta.generation) + 1,
        first_seq: first_entry.first_seq,
        first_segment: first_number,
        newest_segment: newest,
        highest_segment: highest,
        epoch,
        clean: None,
        cut,
        created_ns: first.header.created_ns,
    })
}
