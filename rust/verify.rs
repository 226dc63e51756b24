//! All that is wrong with a log, not just the first thing.
//!
//! Owns the findings. Works on files that an opening would refuse, changes nothing, and checks what an opening has no time
//! for: each aggregate's [`chains`], the trees of sealed segments ([`grown`]), heads that were kept elsewhere ([`against`]).

mod against;
mod chains;
mod grown;

use std::{path::Path, sync::Arc};

use against::Against;
use chains::Chains;
use grown::Grown;

use crate::{
    error::{Error, Result},
    evidence::{TreeHead, leaf},
    format::meta::Meta,
    place::Place,
    recovery::survey_beside_a_writer,
    segment::{Segment, Step, Walk},
    vfs::disk::Disk,
};

/// Kind of the finding that is no damage: what a crash left unfinished.
const TORN_TAIL: &str = "torn tail";

const EVENTS_BETWEEN_PROGRESS: u64 = 65_536;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Something durable is not what it was.
    Error,
    /// Worth knowing; nothing durable is affected.
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What kind of thing, in a word.
    pub kind: &'static str,
    /// The file.
    pub path: String,
    /// Where in it.
    pub offset: u64,
    /// First event that may be affected.
    pub first_seq: Option<u64>,
    /// Last event that may be affected.
    pub last_seq: Option<u64>,
    /// One sentence.
    pub message: String,
}

/// What a verification saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verification {
    /// Everything found, in the order of the log.
    pub findings: Vec<Finding>,
    /// Segments read.
    pub segments: u64,
    /// Records of every kind.
    pub records: u64,
    /// Events.
    pub events: u64,
    /// Bytes of headers and records.
    pub bytes: u64,
    /// Ignorable records of kinds this build does not know.
    pub skipped_records: u64,
    /// Heads that were compared.
    pub heads: u64,
    /// Findings from before the walks.
    known_before: Option<usize>,
}

/// What to verify beyond checksums, positions and chains. By default nothing.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Heads that were kept elsewhere, in any order, also of other logs.
    pub against: Vec<TreeHead>,
    /// Segments that were full before this time, ns since 1970 UTC, are not walked. Not together with heads, which speak of
    /// every event.
    pub since: Option<i64>,
}

/// Verifies the log in the directory `path`; its writer may be at work.
///
/// # Errors
/// [`Error::Missing`], and [`Error::Io`] where files cannot be read at all.
pub fn verify(path: &Path) -> Result<Verification> {
    verify_place(&Place { vfs: Arc::new(Disk), path: path.to_owned() })
}

/// As [`verify`], on any file system.
///
/// # Errors
/// As [`verify`].
pub fn verify_place(place: &Place) -> Result<Verification> {
    verify_wanted(place, &Wanted::default(), &mut |_| ())
}

/// As [`verify_place`], and what is `wanted`. `progress` is told now and then how many bytes were walked.
///
/// # Errors
/// As [`verify`]; [`Error::Config`].
pub fn verify_wanted(place: &Place, wanted: &Wanted, progress: &mut dyn FnMut(u64)) -> Result<Verification> {
    if wanted.since.is_some() && !wanted.against.is_empty() {
        let problem = "verify: a head speaks of every event, so no time can say where to begin";
        return Err(Error::Config { problems: vec![problem.to_owned()] });
    }
    let mut verification = Verification::default();
    let meta = match place.read_meta() {
        Ok(meta) => meta,
        Err(error) => {
            verification.note_error("meta", error)?;
            None
        }
    };
    let segments = verification.look(place, meta.as_ref())?;
    verification.known_before = Some(verification.findings.len());
    verification.walk_all(place, meta.as_ref(), &segments, wanted, progress)?;
    Ok(verification)
}

/// What goes along with the walks.
struct Course<'a> {
    chains: Chains,
    against: Against,
    grown: Grown,
    progress: &'a mut dyn FnMut(u64),
}

impl Verification {
    /// What an opening would find, and the segments that there are.
    fn look(&mut self, place: &Place, meta: Option<&Meta>) -> Result<Vec<Segment>> {
        let log_id = meta.map(|meta| meta.log_id);
        let mut listing = place.list().map_err(|_| Error::Missing { path: place.path.clone() })?;
        listing.forget_before(meta.map_or(0, |meta| meta.first_segment));
        if log_id.is_none() && listing.segments.is_empty() && self.findings.is_empty() {
            return Err(Error::Missing { path: place.path.clone() });
        }
        self.note_meta_copies(place)?;
        // The opening's own judgement comes first: missing files, broken order, damage below the watermark.
        match survey_beside_a_writer(place) {
            Ok(Some(found)) => {
                if let (Some(fault), Some(last)) = (&found.fault, found.segments.last()) {
                    self.warn(
                        TORN_TAIL,
                        &last.path(),
                        found.end.offset as u64,
                        Some(found.end.next_seq),
                        fault,
                    );
                }
                for number in &found.cut_off {
                    let path = place.segment_path(*number);
                    self.warn(
                        TORN_TAIL,
                        &path,
                        0,
                        Some(found.end.next_seq),
                        "the segment lies behind the tail",
                    );
                }
            }
            Ok(None) => {
                self.note("meta", &place.meta_path(), 0, "META is missing, but there are segments");
            }
            Err(error) => self.note_error("opening", error)?,
        }
        for name in &listing.stray {
            self.warn("stray file", &place.path.join(name), 0, None, "the file is none of a log's");
        }
        let mut segments = Vec::new();
        for number in listing.segments {
            let Some(log_id) = log_id.or_else(|| place.own_id_of_segment(number)) else { continue };
            match place.open_segment(number, &log_id) {
                Ok(opened) => segments.extend(opened.into_segment()),
                Err(error) => self.note_error("segment", error)?,
            }
        }
        if let Some(meta) = meta
            && let Err(error) = place.read_expired(meta.log_id, meta.first_seq)
        {
            self.note_error("expired", error)?;
        }
        Ok(segments)
    }

    /// Walks every segment that is wanted.
    fn walk_all(
        &mut self,
        place: &Place,
        meta: Option<&Meta>,
        segments: &[Segment],
        wanted: &Wanted,
        progress: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let first = segments.first();
        let log_id = meta.map(|meta| meta.log_id).or(first.map(|segment| segment.header.log_id));
        let first_seq = meta.map(|meta| meta.first_seq).or(first.map(|segment| segment.entry.first_seq));
        let against =
            Against::new(&wanted.against, log_id.unwrap_or_default(), first_seq.unwrap_or_default(), place);
        let mut course = Course { chains: Chains::default(), against, grown: Grown::default(), progress };
        let followers = segments.iter().skip(1).map(Some).chain([None]);
        let mut end = (place.path.clone(), 0);
        for (segment, next) in segments.iter().zip(followers) {
            if wanted.since.is_some_and(|since| next.is_some_and(|next| next.entry.entered_ns < since)) {
                continue;
            }
            end = (segment.path(), self.walk(place, segment, next, &mut course)?);
        }
        let (heads, findings) = course.against.end(&end.0, end.1);
        self.heads = heads;
        self.findings.extend(findings);
        Ok(())
    }

    /// Walks one segment; where its records end.
    fn walk(
        &mut self,
        place: &Place,
        segment: &Segment,
        next: Option<&Segment>,
        course: &mut Course<'_>,
    ) -> Result<u64> {
        let mut walk = match segment.walk(&*place.vfs) {
            Ok(walk) => walk,
            Err(error) => return self.note_error("segment", error).map(|()| 0),
        };
        course.chains.enter(segment);
        course.grown = match Grown::of(segment, &*place.vfs) {
            Ok(grown) => grown,
            Err(error) => self.note_error("tree", error).map(|()| Grown::default())?,
        };
        self.segments += 1;
        let stop = loop {
            let stop = self.walk_on(segment, &mut walk, course);
            let Err(error) = walk.refuse_if_broken(segment) else { break stop };
            let findings = self.findings.len();
            self.note_error("segment", error)?;
            let Some((first, behind)) = walk.pass_broken_block() else {
                return Ok(walk.position.offset as u64);
            };
            if let Some(finding) = self.findings.get_mut(findings) {
                (finding.first_seq, finding.last_seq) = (Some(first), behind.checked_sub(1));
            }
            // Nothing is known any more of the aggregates in it, nor can its tree be made.
            course.grown = Grown::default();
            course.chains = Chains::from(behind);
        };
        course.chains.leave(walk.position.next_seq);
        self.judge(segment, next, &walk, &stop);
        if matches!(stop, Step::End { .. } | Step::Pending)
            && let Some((first, end)) = course.grown.difference()
        {
            let what = "events are not those that the segment was sealed with, though their checksums fit";
            let offset = segment.as_sealed().map_or(0, |sealed| sealed.header.tree.offset);
            let finding = Finding::new(Severity::Error, "tree", &segment.path(), offset, Some(first), what);
            self.push(Finding { last_seq: end.checked_sub(1), ..finding });
        }
        self.records += walk.record_count;
        self.skipped_records += walk.skipped_records;
        self.bytes += walk.position.offset as u64;
        Ok(walk.position.offset as u64)
    }

    /// Walks as far as it goes, and notes what is wrong with each event.
    fn walk_on(&mut self, segment: &Segment, walk: &mut Walk, course: &mut Course<'_>) -> Step {
        loop {
            let mut broken = None;
            match walk.step_with(|view| broken = course.chains.check(view)) {
                Step::Event(fixed) => {
                    let offset = walk.record_offset as u64;
                    self.events += 1;
                    if self.events.is_multiple_of(EVENTS_BETWEEN_PROGRESS) {
                        (course.progress)(self.bytes + offset);
                    }
                    if (course.against.wants_more() || course.grown.wants_leaves())
                        && let Ok(view) = walk.view(fixed)
                    {
                        let leaf = leaf(walk.record(), &view);
                        course.against.take(&segment.path(), offset, fixed.seq, leaf);
                        course.grown.push(leaf);
                    }
                    if let Some(what) = broken {
                        self.note_event("chain", &segment.path(), offset, fixed.seq, &what);
                    }
                }
                stop => return stop,
            }
        }
    }

    /// Where a walk may stop: at the end record, at a cut that the next segment names, at the torn tail that the survey
    /// found, and where nothing was written yet.
    fn judge(&mut self, segment: &Segment, next: Option<&Segment>, walk: &Walk, stop: &Step) {
        let offset = walk.position.offset as u64;
        let path = segment.path().display().to_string();
        let is_torn_tail =
            |finding: &Finding| finding.kind == TORN_TAIL && finding.path == path && finding.offset == offset;
        let goes_on = next.is_some_and(|next| {
            next.entry.prev_segment == segment.header.number && next.entry.prev_end == offset
        });
        let what = match stop {
            Step::Fault(fault) if !goes_on && !self.findings.iter().any(is_torn_tail) => fault.to_string(),
            Step::Pending | Step::End { .. } if !goes_on && next.is_some() => {
                "the records end here, the next segment says otherwise".to_owned()
            }
            _ => return,
        };
        let last_seq = next.and_then(|next| next.entry.first_seq.checked_sub(1));
        self.push(Finding {
            severity: Severity::Error,
            kind: "record",
            path,
            offset,
            first_seq: Some(walk.position.next_seq),
            last_seq: last_seq.filter(|last| *last >= walk.position.next_seq),
            message: what,
        });
    }

    fn note_meta_copies(&mut self, place: &Place) -> Result<()> {
        for (offset, error) in place.damaged_meta_copies()? {
            let what = format!("one of the two copies is damaged ({error}); the other one serves");
            self.warn("meta", &place.meta_path(), offset, None, &what);
        }
        Ok(())
    }

    /// Turns an error into a finding; errors of the system stay errors.
    fn note_error(&mut self, kind: &'static str, error: Error) -> Result<()> {
        match &error {
            Error::Corrupt { path, offset, reason } => self.note(kind, path, *offset, reason),
            Error::Version { path, .. } => self.note("version", path, 0, &error.to_string()),
            _ => return Err(error),
        }
        Ok(())
    }

    fn note(&mut self, kind: &'static str, path: &Path, offset: u64, message: &str) {
        self.push(Finding::new(Severity::Error, kind, path, offset, None, message));
    }

    fn note_event(&mut self, kind: &'static str, path: &Path, offset: u64, seq: u64, message: &str) {
        self.push(Finding::new(Severity::Error, kind, path, offset, Some(seq), message));
    }

    fn warn(&mut self, kind: &'static str, path: &Path, offset: u64, seq: Option<u64>, message: &str) {
        self.push(Finding::new(Severity::Warning, kind, path, offset, seq, message));
    }

    /// One place is one finding: what is learnt of it later is added to it. A walk comes to each place once, so what the
    /// walks found is not looked through again: there may be a finding for each record.
    fn push(&mut self, finding: Finding) {
        let before = self.known_before.unwrap_or(self.findings.len());
        let is_same = |known: &&mut Finding| {
            (&known.path, known.offset, known.severity) == (&finding.path, finding.offset, finding.severity)
        };
        match self.findings.iter_mut().take(before).find(is_same) {
            Some(known) => {
                known.first_seq = known.first_seq.or(finding.first_seq);
                known.last_seq = known.last_seq.or(finding.last_seq);
            }
            None => self.findings.push(finding),
        }
    }
}

impl Finding {
    fn new(
        severity: Severity,
        kind: &'static str,
        path: &Path,
        offset: u64,
        seq: Option<u64>,
        message: &str,
    ) -> Self {
        let path = path.display().to_string();
        Self { severity, kind, path, offset, first_seq: seq, last_seq: seq, message: message.to_owned() }
    }
}
