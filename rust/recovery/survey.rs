//! Finding out what a log holds, changing nothing.
//!
//! Owns the question that a checksum cannot answer: is a bad record a torn tail or damage? A durable watermark answers it
//! (R16). Below it anything wrong is [`Error::Corrupt`]; at or above it the log ends there. Readers and writers, and
//! repeated openings after further crashes, come to the same answer.

use std::{io::ErrorKind, path::PathBuf, sync::Arc};

use super::tail::pass_tail;
use crate::{
    error::{Error, Result},
    format::{
        RECORD_FIXED_BYTES, RecordFault,
        closing_index::ClosingIndex,
        meta::{Mark, Meta},
    },
    heads::Heads,
    place::{Listing, OpenedSegment, Place, durable_marks, highest_watermark},
    planted::{Bug, is_planted},
    segment::{Position, Sealed, Segment, Step, note_head, note_mark},
};

/// What a log holds.
pub struct Survey {
    /// META.
    pub meta: Meta,
    /// The segments that count, oldest first.
    pub segments: Vec<Arc<Segment>>,
    /// The aggregates.
    pub heads: Heads,
    /// Where the records end: in the last segment, if there is one.
    pub end: Position,
    /// Why they end there; `None`: the rest was never written.
    pub fault: Option<String>,
    /// The segment that the last record names, if that is an end record.
    pub named_next: Option<u64>,
    /// Segments behind a torn tail; none of their events can be served.
    pub cut_off: Vec<u64>,
    /// Those of them that had been entered.
    pub stranded: Vec<u64>,
    /// Prepared segments that nobody entered.
    pub spares: Vec<u64>,
    /// Left-overs and files that are none of ours.
    pub listing: Listing,
    /// Everything below is known to be durable.
    pub watermark: Option<Mark>,
    /// Events found.
    pub event_count: u64,
    /// Sealed segments whose index had to be done without.
    pub unindexed: Vec<u64>,
}

impl Survey {
    /// Number of the last segment that counts; 0 for none.
    #[must_use]
    pub fn last_segment(&self) -> u64 {
        self.segments.last().map_or(0, |segment| segment.header.number)
    }

    /// Whether a clean close ended the log exactly here.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let here = Mark {
            segment: self.last_segment(),
            offset: self.end.offset as u64,
            next_seq: self.end.next_seq,
        };
        let is_whole = self.fault.is_none() && self.named_next.is_none() && self.cut_off.is_empty();
        // A writer always leaves room for an end record, and needs it to go on.
        let has_room = |last: &Arc<Segment>| {
            here.offset + RECORD_FIXED_BYTES as u64 <= last.header.file_bytes && last.as_sealed().is_none()
        };
        is_whole && self.segments.last().is_some_and(has_room) && self.meta.clean == Some(here)
    }
}

/// Surveys the log at `place`; `None` where there is none.
///
/// # Errors
/// [`Error::Corrupt`] for damage below the watermark, [`Error::Version`], [`Error::Io`].
pub fn survey(place: &Place) -> Result<Option<Survey>> {
    let Some(mut meta) = place.read_meta()? else {
        return match place.list() {
            Ok(listing) if !listing.segments.is_empty() => {
                Err(Error::corrupt(place.meta_path(), 0, "META is missing, but there are segments"))
            }
            // A directory that cannot be listed is not an empty one: nothing may be made in it.
            Err(Error::Io { source, .. })
                if !matches!(source.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                Err(Error::io(&place.path, "list", source))
            }
            _ => Ok(None),
        };
    };
    let mut listing = place.list()?;
    listing.forget_before(meta.first_segment);
    let heads = place.read_heads(meta.log_id, meta.first_seq)?;
    let index = place.closing_index(&meta);
    let opened = open_all(place, &meta, &listing, index.as_ref())?;
    let marks = durable_marks(&meta, &opened);
    let watermark = highest_watermark(&marks);
    let mut spares = Vec::new();
    let mut cut_off = Vec::new();
    let mut chain = Vec::new();
    for segment in opened {
        let (number, is_spare) = (segment.header.number, segment.is_spare);
        match segment.into_segment() {
            Some(segment) => chain.push(segment),
            None if is_spare => spares.push(number),
            None => cut_off.push(number),
        }
    }
    check_chain(place, &meta, &listing, &chain)?;
    // A spare that was prepared just before a crash may not be in META yet: its number is taken all the same.
    meta.highest_segment = meta.highest_segment.max(listing.segments.last().copied().unwrap_or(0));
    let mut survey = Survey {
        end: Position { offset: 0, next_seq: meta.first_seq, names: Arc::default() },
        meta,
        segments: Vec::new(),
        heads,
        fault: None,
        named_next: None,
        cut_off,
        stranded: Vec::new(),
        spares,
        listing,
        watermark,
        event_count: 0,
        unindexed: Vec::new(),
    };
    survey.walk_chain(place, chain, index)?;
    survey.check_marks(place, &marks)?;
    Ok(Some(survey))
}

/// A survey that a writer disturbed is made again: a roll or an opening meanwhile shows in META or in the listing. What
/// fails, or ends before the last segment, twice on the same files is damage or a torn tail.
///
/// # Errors
/// As [`survey`].
pub fn survey_beside_a_writer(place: &Place) -> Result<Option<Survey>> {
    let mut before = signs_of_change(place);
    loop {
        let outcome = survey(place);
        let now = signs_of_change(place);
        let is_doubtful = match &outcome {
            Ok(found) => found.as_ref().is_some_and(|survey| !survey.cut_off.is_empty()),
            Err(error) => matches!(error, Error::Corrupt { .. } | Error::Io { .. }),
        };
        if !is_doubtful || now == before {
            return outcome;
        }
        before = now;
    }
}

fn signs_of_change(place: &Place) -> Option<(u64, Vec<u64>)> {
    let generation = place.read_meta().ok()??.generation;
    Some((generation, place.list().ok()?.segments))
}

/// Opens every segment file; a file that META or an end record promises and that is gone is corruption.
fn open_all(
    place: &Place,
    meta: &Meta,
    listing: &Listing,
    index: Option<&ClosingIndex>,
) -> Result<Vec<OpenedSegment>> {
    let known = |number: &u64| {
        let header = index?.sealed_header(*number)?;
        listing.sealed.binary_search(number).ok().map(|_| place.known_sealed(header))
    };
    let open = |number: &u64| known(number).map_or_else(|| place.open_segment(*number, &meta.log_id), Ok);
    let opened: Result<Vec<_>> = listing.segments.iter().map(open).collect();
    // What belongs to another log says so, before a file of that one is missed here.
    let opened = opened?;
    let newest = meta.newest_segment;
    if newest != 0 && !listing.segments.contains(&newest) && !place.is_quarantined(newest)? {
        return Err(missing(place.segment_path(newest), "META names it as the newest segment"));
    }
    // A writer would begin an epoch that is not above all that there were, and no reader would find its way there.
    match opened.iter().find(|segment| segment.header.epoch > meta.epoch) {
        Some(newer) => {
            let why =
                format!("META is of epoch {}, segment {} of a later one", meta.epoch, newer.header.number);
            Err(Error::corrupt(place.meta_path(), 88, why))
        }
        None => Ok(opened),
    }
}

fn missing(path: PathBuf, why: &str) -> Error {
    Error::corrupt(path, 0, format!("the file is missing: {why}"))
}

/// Every segment names the one before it, which is there; the first is the one META names. Where the one before was
/// prepared and does not say that it was entered, nothing is missing: whether that is damage is for the walk to judge.
fn check_chain(place: &Place, meta: &Meta, listing: &Listing, chain: &[Segment]) -> Result<()> {
    let Some(first) = chain.first() else {
        // A log that has dropped events has kept the segment behind them, unless it was lost and that was accepted.
        if meta.first_seq != 0 && meta.first_segment != 0 {
            let why = format!("it names event {} as the first, and no segment was entered", meta.first_seq);
            return Err(Error::corrupt(place.meta_path(), 56, why));
        }
        return Ok(());
    };
    if first.header.number != meta.first_segment {
        return Err(missing(place.segment_path(meta.first_segment), "META names it as the first segment"));
    }
    if first.entry.first_seq != meta.first_seq {
        return Err(Error::corrupt(first.path(), 0, "its first position is not the one in META"));
    }
    for pair in chain.windows(2) {
        let [before, after] = pair else { continue };
        let named = after.entry.prev_segment;
        if named != before.header.number && !listing.segments.contains(&named) {
            let path = place.segment_path(named);
            return Err(missing(path, &format!("segment {} follows it", after.header.number)));
        }
        if after.header.number > meta.highest_segment {
            return Err(Error::corrupt(place.meta_path(), 0, "META is older than the newest segment"));
        }
    }
    Ok(())
}

impl Survey {
    fn walk_chain(&mut self, place: &Place, chain: Vec<Segment>, index: Option<ClosingIndex>) -> Result<()> {
        let chain: Vec<_> = chain.into_iter().map(Arc::new).collect();
        let sealed: Vec<_> = chain.iter().take_while(|one| one.as_sealed().is_some()).cloned().collect();
        let (indexed, unindexed) = place.heads_of(&sealed)?;
        self.heads.update(indexed);
        self.unindexed = unindexed;
        let known = sealed.len();
        let raw = chain.get(known..).unwrap_or_default().to_vec();
        let mut tail = self
            .watermark
            .filter(|_| self.cut_off.is_empty())
            .and_then(|watermark| pass_tail(place, index?, watermark, &raw));
        let mut chain = chain.into_iter().peekable();
        while let Some(segment) = chain.next() {
            if self.segments.len() == known
                && let Some((heads, end)) = tail.take()
            {
                self.refuse_gap(&segment)?;
                self.heads.update(heads);
                self.event_count += end.next_seq.saturating_sub(segment.entry.first_seq);
                self.end = end;
                self.segments.extend(raw);
                return Ok(());
            }
            let stop = match segment.as_sealed().filter(|_| self.segments.len() < known) {
                Some(sealed) => self.pass_sealed(&segment, &sealed)?,
                None => self.walk_segment(place, &segment)?,
            };
            self.segments.push(Arc::clone(&segment));
            let follower = chain.peek();
            if follower.is_some_and(|next| leads_to(&segment, next, &stop, &self.end)) {
                continue;
            }
            self.judge(&segment, &stop)?;
            match stop {
                Step::End { next_segment } => {
                    let is_there = follower.is_some()
                        || self.spares.contains(&next_segment)
                        || self.cut_off.contains(&next_segment);
                    if !is_there && !place.is_quarantined(next_segment)? {
                        let why = format!("the end record of segment {} names it", segment.header.number);
                        return Err(missing(place.segment_path(next_segment), &why));
                    }
                    self.named_next = Some(next_segment);
                }
                Step::Fault(fault) => self.fault = Some(fault.to_string()),
                _ => {}
            }
            break;
        }
        // ORDER: quarantined from the last to the first, so that an interrupted recovery leaves a whole chain.
        self.stranded = chain.map(|segment| segment.header.number).collect();
        self.cut_off.extend(&self.stranded);
        self.cut_off.sort_unstable_by(|a, b| b.cmp(a));
        Ok(())
    }

    fn walk_segment(&mut self, place: &Place, segment: &Segment) -> Result<Step> {
        self.refuse_gap(segment)?;
        let mut walk = segment.walk(&*place.vfs)?;
        let mut marks = Vec::new();
        let heads = &mut self.heads;
        let stop = loop {
            match walk.step_with(|view| note_head(heads, view)) {
                Step::Event(fixed) => {
                    note_mark(&mut marks, fixed.seq, walk.record_offset);
                    self.event_count += 1;
                }
                stop => break stop,
            }
        };
        // What could not be read looks like zeros, and those like the end of the log.
        walk.refuse_if_broken(segment)?;
        self.end = walk.position.clone();
        segment.learn(&walk.position, marks);
        Ok(stop)
    }

    /// A sealed segment was whole when it got its name, and its heads are known: an opening does not read it.
    fn pass_sealed(&mut self, segment: &Segment, sealed: &Sealed) -> Result<Step> {
        self.refuse_gap(segment)?;
        let end = sealed.header.end;
        let offset = usize::try_from(end.offset).unwrap_or(usize::MAX);
        self.end = Position { offset, next_seq: end.next_seq, names: Arc::default() };
        self.event_count += end.next_seq - sealed.header.entry.first_seq;
        Ok(match sealed.header.next_segment {
            0 => Step::Pending,
            next_segment => Step::End { next_segment },
        })
    }

    fn refuse_gap(&self, segment: &Segment) -> Result<()> {
        if segment.entry.first_seq == self.end.next_seq {
            return Ok(());
        }
        let why = "its first position does not follow the segment before";
        Err(Error::corrupt(segment.path(), 0, why))
    }

    /// No mark may know of events that are not there: where its offset fits and its position does not, one of them lies.
    fn check_marks(&self, place: &Place, marks: &[Mark]) -> Result<()> {
        if is_planted(Bug::DamageCutAsTail) {
            return Ok(());
        }
        let Some(mark) = marks.iter().find(|mark| mark.next_seq > self.end.next_seq) else { return Ok(()) };
        let why = format!(
            "event {} is said to be durable, the records end before event {}",
            mark.next_seq - 1,
            self.end.next_seq
        );
        Err(Error::corrupt(place.segment_path(mark.segment), mark.offset, why))
    }

    /// A torn tail is at or above the watermark; everything else is damage.
    fn judge(&self, segment: &Segment, stop: &Step) -> Result<()> {
        let offset = self.end.offset as u64;
        if let Step::Fault(fault) = stop {
            refuse_future(&segment.path(), fault)?;
        }
        if is_planted(Bug::DamageCutAsTail) {
            return Ok(());
        }
        let here = (segment.header.number, offset);
        let Some(mark) = self.watermark.filter(|mark| here < (mark.segment, mark.offset)) else {
            return Ok(());
        };
        let what = match stop {
            Step::Fault(fault) => fault.to_string(),
            Step::Pending => "the records end here".to_owned(),
            Step::End { .. } | Step::Event(_) => "the segment that follows is not the next one".to_owned(),
        };
        let why = format!("{what}, below the watermark (segment {}, byte {})", mark.segment, mark.offset);
        Err(Error::corrupt(segment.path(), offset, why))
    }
}

/// Whether the records of `segment`, which stop at `end`, go on in `next`: behind its end record, or behind the cut of a new
/// epoch.
pub(super) fn leads_to(segment: &Segment, next: &Segment, stop: &Step, end: &Position) -> bool {
    let meets = next.entry.prev_segment == segment.header.number
        && next.entry.prev_end == end.offset as u64
        && next.entry.first_seq == end.next_seq;
    let is_new_epoch = next.header.epoch > segment.header.epoch;
    match stop {
        Step::End { next_segment } => meets && (is_new_epoch || *next_segment == next.header.number),
        _ => meets && is_new_epoch,
    }
}

/// Records of a newer build refuse the log; they are no damage (R2).
///
/// # Errors
/// [`Error::Version`].
pub fn refuse_future(path: &std::path::Path, fault: &RecordFault) -> Result<()> {
    match fault {
        RecordFault::UnknownKind(_) | RecordFault::UnknownFlags(_) => Err(Error::Version {
            path: path.to_owned(),
            found: fault.to_string(),
            supported: "kinds 1 to 4 and the flags of format version 1".to_owned(),
        }),
        _ => Ok(()),
    }
}
