//! Opening a log for writing: what a crash left is judged, kept, cut and written down (R16, R17).
//!
//! Owns the order of the steps, each of which may be repeated after another crash. Only a clean close lets the writer go on
//! in the same segment; after any other end it keeps the bytes beyond the last good record, writes the surviving ones once
//! more, and begins a new epoch in a new segment. Nothing is zeroed, shrunk or deleted.

mod loss;
mod securing;
mod survey;
mod tail;

use std::sync::Arc;

pub use loss::{Loss, assess_loss};
use securing::secure;
pub use survey::{Survey, refuse_future, survey, survey_beside_a_writer};

use crate::{
    clock::Clock,
    config::{FIRST_SEGMENT_BYTES, Options, Recover},
    error::{Error, Result},
    format::{
        meta::{Mark, Meta},
        segment::{ENTRY_OFFSET, Entry, RECORDS_OFFSET, SegmentHeader},
    },
    heads::Heads,
    place::Place,
    planted::{Bug, is_planted},
    segment::{Position, Sealed, Segment, compare},
    tail::Start,
    vfs::{Filesystem, Lock},
};

/// Where an opening ended the log, and what lay beyond.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The segment that was cut.
    pub segment: u64,
    /// Offset behind its last good record.
    pub offset: u64,
    /// Position of the next event.
    pub next_seq: u64,
    /// What was found there.
    pub reason: String,
    /// Bytes copied to quarantine.
    pub quarantined_bytes: u64,
    /// Names of the files there.
    pub quarantine_files: Vec<String>,
}

/// What an opening found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The log was made by this opening.
    pub created: bool,
    /// The previous writer had closed it; nothing had to be recovered.
    pub clean: bool,
    /// The epoch from now on.
    pub epoch: u32,
    /// Events found.
    pub events: u64,
    /// Newest event that is known to have been durable.
    pub watermark_seq: Option<u64>,
    /// What was given up, where the opening was told to accept a loss and there was one.
    pub loss: Option<Loss>,
    /// What was cut; events acknowledged after the last stored watermark may be among it.
    pub cut: Option<Cut>,
    /// Segments that were prepared and never used.
    pub removed_spares: Vec<u64>,
    /// Files in the directory that are none of ours; they are left alone.
    pub stray_files: Vec<String>,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

impl Recovery {
    /// What a survey alone can say: a reader's report.
    #[must_use]
    pub fn of(survey: &Survey) -> Self {
        Self {
            clean: survey.is_clean(),
            epoch: survey.meta.epoch,
            events: survey.event_count,
            warnings: survey
                .unindexed
                .iter()
                .map(|number| {
                    format!("sealed segment {number} has no index that can be believed; it was read instead")
                })
                .collect(),
            watermark_seq: survey.watermark.and_then(|mark| mark.next_seq.checked_sub(1)),
            stray_files: survey.listing.stray.clone(),
            ..Self::default()
        }
    }
}

/// Takes the lock, surveys, recovers, and says where to write on.
///
/// # Errors
/// [`Error::Locked`], [`Error::Corrupt`], [`Error::Version`], [`Error::DiskFull`], [`Error::UnsupportedFilesystem`],
/// [`Error::Io`]. Nothing acknowledged is changed by an opening that fails.
pub fn open_for_writing(place: &Place, options: &Options, clock: &dyn Clock) -> Result<(Start, Recovery)> {
    place.create_dirs()?;
    let warnings = check_filesystem(place, options)?;
    let lock = take_lock(place, clock)?;
    let loss = match options.recover {
        Recover::Strict => None,
        Recover::AcceptLoss => loss::accept(place)?,
    };
    let surveyed = survey(place)?;
    if let Some(survey) = &surveyed {
        finish_sealing(place, survey)?;
    }
    let (mut start, mut recovery) = match surveyed {
        None => create(place, options, clock, lock)?,
        Some(survey)
            if survey.is_clean() || survey.last_segment() != 0 && is_planted(Bug::CutSegmentContinued) =>
        {
            resume(place, survey, lock)?
        }
        Some(survey) => recover(place, options, clock, survey, lock)?,
    };
    // ORDER: what META called the first segment may have stood in the cache alone until this opening wrote it once more.
    place.remove_before(start.meta.first_segment)?;
    recovery.epoch = start.meta.epoch;
    recovery.warnings.extend(warnings);
    recovery.loss = loss;
    start.meta.clean = None;
    Ok((start, recovery))
}

/// A crash between the two leaves a sealed file beside its raw one: the sealed one wins if it holds the same, bit for bit.
fn finish_sealing(place: &Place, survey: &Survey) -> Result<()> {
    let vfs = &*place.vfs;
    if !survey.listing.doubled.is_empty() && !is_planted(Bug::SealedNameBelieved) {
        // ORDER: a sealed file may have its name in the cache alone; without it the raw one is all there is.
        place.sync_names()?;
    }
    for number in &survey.listing.doubled {
        let mut from_here = survey.segments.iter().skip_while(|segment| segment.header.number != *number);
        let (raw, next) = (from_here.next(), from_here.next());
        let sealed = Sealed::open(vfs, place.sealed_path(*number)).ok();
        match (raw, next, sealed) {
            (Some(raw), Some(next), Some(sealed))
                if (sealed.header.header, sealed.header.entry) == (raw.header, raw.entry)
                    && sealed.header.end.offset == next.entry.prev_end
                    && sealed.header.end.next_seq == next.entry.first_seq
                    && compare(&sealed, &mut raw.source(vfs)?, vfs, &mut || true).is_ok() =>
            {
                raw.become_sealed(sealed);
                place.remove_raw(*number)?;
            }
            _ => place.remove_sealed(*number)?,
        }
    }
    Ok(())
}

/// Refuses file systems that cannot keep the promises.
///
/// # Errors
/// [`Error::UnsupportedFilesystem`], [`Error::Io`].
pub fn check_filesystem(place: &Place, options: &Options) -> Result<Vec<String>> {
    let judged = place.vfs.filesystem(&place.path);
    match judged.map_err(|error| Error::io(&place.path, "look at the file system of", error))? {
        Filesystem::Dependable => Ok(Vec::new()),
        Filesystem::Doubtful(caveat) => Ok(vec![format!("{} lies on {caveat}", place.path.display())]),
        Filesystem::Unsupported(kind) if options.force_filesystem => {
            Ok(vec![format!("{} lies on {kind}; its use was forced", place.path.display())])
        }
        Filesystem::Unsupported(kind) => {
            Err(Error::UnsupportedFilesystem { path: place.path.clone(), kind: kind.to_owned() })
        }
    }
}

/// Takes the writer's lock.
///
/// # Errors
/// [`Error::Locked`], [`Error::Io`].
pub fn take_lock(place: &Place, clock: &dyn Clock) -> Result<Box<dyn Lock>> {
    let path = place.lock_path();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let holder = format!("pid={} host={host} started_ns={}", std::process::id(), clock.now_ns());
    let taken = place.vfs.try_lock(&path, &holder).map_err(|error| Error::io(&path, "lock", error))?;
    taken.map_err(|content| {
        let field = |name: &str| {
            let value =
                content.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            value.map(str::to_owned)
        };
        Error::Locked {
            path: place.path.clone(),
            pid: field("pid").and_then(|pid| pid.parse().ok()),
            host: field("host"),
            started: field("started_ns"),
        }
    })
}

fn create(
    place: &Place,
    options: &Options,
    clock: &dyn Clock,
    lock: Box<dyn Lock>,
) -> Result<(Start, Recovery)> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)
        .map_err(|error| Error::io(&place.path, "make an id for", std::io::Error::other(error)))?;
    let mut meta = Meta {
        log_id: uuid::Builder::from_random_bytes(random).into_uuid().into_bytes(),
        generation: 0,
        first_seq: 0,
        first_segment: 0,
        newest_segment: 0,
        highest_segment: 0,
        epoch: 1,
        clean: None,
        cut: None,
        created_ns: clock.now_ns(),
    };
    // ORDER: META makes it a log; by then the way to it is durable.
    place.sync_parents()?;
    place.create_meta(&meta)?;
    let segment = begin_segment(place, options, clock, &mut meta, 0, None)?;
    let start = starting_at(meta, vec![segment], Heads::default(), lock);
    Ok((start, Recovery { created: true, clean: true, ..Recovery::default() }))
}

/// After a clean close: on in the same segment.
fn resume(place: &Place, survey: Survey, lock: Box<dyn Lock>) -> Result<(Start, Recovery)> {
    let mut recovery = Recovery::of(&survey);
    let mut meta = survey.meta;
    meta.clean = None;
    meta.newest_segment = survey.last_segment();
    // ORDER: the clean mark is gone before the first append, and no spare goes while META still names it.
    place.write_meta(&mut meta)?;
    place.remove_segments(&survey.spares, &survey.listing.prepared)?;
    recovery.removed_spares = survey.spares;
    let start = Start {
        meta,
        segments: survey.segments,
        heads: survey.heads,
        position: survey.end,
        unindexed: survey.unindexed,
        lock,
    };
    Ok((start, recovery))
}

/// After any other end.
fn recover(
    place: &Place,
    options: &Options,
    clock: &dyn Clock,
    mut survey: Survey,
    lock: Box<dyn Lock>,
) -> Result<(Start, Recovery)> {
    let mut recovery = Recovery::of(&survey);
    refuse_worn_out(place, &survey.meta)?;
    let (cut, removed_spares) = secure(place, &mut survey)?;
    let mut meta = survey.meta;
    meta.clean = None;
    meta.epoch += u32::from(!is_planted(Bug::EpochUsedTwice));
    meta.newest_segment = survey.last_segment();
    let end = Mark {
        segment: survey.last_segment(),
        offset: survey.end.offset as u64,
        next_seq: survey.end.next_seq,
    };
    let cut_here = (!survey.segments.is_empty()).then_some(end);
    meta.cut = cut_here;
    // ORDER: the survivors are durable before META says that the log ends behind them.
    place.write_meta(&mut meta)?;
    let segment = begin_segment(place, options, clock, &mut meta, survey.end.next_seq, cut_here)?;
    place.remove_segments(&survey.spares, &[])?;
    recovery.removed_spares = removed_spares;
    recovery.removed_spares.append(&mut survey.spares);
    recovery.cut = cut;
    let mut segments = survey.segments;
    segments.push(segment);
    let heads = if is_planted(Bug::StaleHeads) { Heads::default() } else { survey.heads };
    let start = Start { unindexed: survey.unindexed, ..starting_at(meta, segments, heads, lock) };
    Ok((start, recovery))
}

/// Before anything is changed: recovery raises each number of META, and none that was not forged is at its end.
fn refuse_worn_out(place: &Place, meta: &Meta) -> Result<()> {
    place.next_number(meta)?;
    let refuse = |offset, what| Err(Error::corrupt(place.meta_path(), offset, what));
    if meta.epoch == u32::MAX {
        return refuse(88, "its epoch leaves no higher one");
    }
    if meta.generation > u64::MAX / 2 {
        return refuse(48, "its generation leaves no higher one");
    }
    Ok(())
}

fn starting_at(meta: Meta, segments: Vec<Arc<Segment>>, heads: Heads, lock: Box<dyn Lock>) -> Start {
    let next_seq = segments.last().map_or(0, |segment| segment.entry.first_seq);
    let position = Position { offset: RECORDS_OFFSET, next_seq, names: Arc::default() };
    Start { meta, segments, heads, position, unindexed: Vec::new(), lock }
}

/// Prepares and enters the first segment of an epoch.
fn begin_segment(
    place: &Place,
    options: &Options,
    clock: &dyn Clock,
    meta: &mut Meta,
    first_seq: u64,
    before: Option<Mark>,
) -> Result<Arc<Segment>> {
    let number = place.next_number(meta)?;
    let header = SegmentHeader {
        log_id: meta.log_id,
        number,
        epoch: meta.epoch,
        file_bytes: FIRST_SEGMENT_BYTES.min(options.segment_bytes),
        created_ns: clock.now_ns(),
    };
    let file = place.prepare_segment(&header, || Ok(()))?;
    meta.newest_segment = number;
    meta.highest_segment = number;
    if before.is_none() {
        meta.first_segment = number;
    }
    place.write_meta(meta)?;
    let before = before.unwrap_or_default();
    let entry = Entry {
        first_seq,
        entered_ns: clock.now_ns(),
        prev_segment: before.segment,
        prev_end: before.offset,
    };
    let path = place.segment_path(number);
    file.write_at(ENTRY_OFFSET as u64, &entry.encode(meta.epoch))
        .map_err(|error| Error::io(&path, "write", error))?;
    // A reader of an older epoch finds its way here only by this entry; it is durable before the first append.
    file.sync_data().map_err(|error| Error::io(&path, "sync", error))?;
    Ok(Arc::new(Segment::new(path, header, entry)))
}
