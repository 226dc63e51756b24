//! All that is wrong with a log, not just the first thing.
//!
//! Owns the findings. Works on files that an opening would refuse, changes nothing, and checks what an opening has no time
//! for: each aggregate's chain and versions.

use std::{path::Path, sync::Arc};

use crate::{
    error::{Error, Result},
    format::Fixed,
    place::Place,
    recovery::survey,
    segment::{Segment, Step, Walk},
    tail::{Head, Heads},
    vfs::disk::Disk,
};

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
    let mut verification = Verification::default();
    let log_id = match place.read_meta() {
        Ok(Some(meta)) => Some(meta.log_id),
        Ok(None) => None,
        Err(error) => {
            verification.note_error("meta", error)?;
            None
        }
    };
    let listing = place.list().map_err(|_| Error::Missing { path: place.path.clone() })?;
    if log_id.is_none() && listing.segments.is_empty() && verification.findings.is_empty() {
        return Err(Error::Missing { path: place.path.clone() });
    }
    verification.note_meta_copies(place)?;
    // The opening's own judgement comes first: missing files, broken order, damage below the watermark.
    match survey(place) {
        Ok(Some(found)) => {
            if let (Some(fault), Some(last)) = (&found.fault, found.segments.last()) {
                verification.warn(
                    "torn tail",
                    &last.path,
                    found.end.offset as u64,
                    Some(found.end.next_seq),
                    fault,
                );
            }
            for number in &found.cut_off {
                let path = place.segment_path(*number);
                verification.warn(
                    "torn tail",
                    &path,
                    0,
                    Some(found.end.next_seq),
                    "the segment lies behind the tail",
                );
            }
        }
        Ok(None) => {
            verification.note("meta", &place.meta_path(), 0, "META is missing, but there are segments");
        }
        Err(error) => verification.note_error("opening", error)?,
    }
    for name in &listing.stray {
        verification.warn("stray file", &place.path.join(name), 0, None, "the file is none of a log's");
    }
    let mut chains = Chains::default();
    for number in listing.segments {
        let Some(log_id) = log_id.or_else(|| place.own_id_of_segment(number)) else { continue };
        match place.open_segment(number, &log_id) {
            Ok(opened) => {
                if let Some(entry) = opened.entry {
                    let segment = Segment::new(opened.path, opened.header, entry);
                    verification.walk(place, &segment, &mut chains)?;
                }
            }
            Err(error) => verification.note_error("segment", error)?,
        }
    }
    Ok(verification)
}

/// What the chains should be, as far as the walk got.
#[derive(Default)]
struct Chains {
    heads: Heads,
    next_seq: Option<u64>,
    first_seq: u64,
}

impl Chains {
    /// What is wrong with an event's place in its aggregate.
    fn check(&mut self, walk: &Walk, fixed: Fixed) -> Option<String> {
        let view = walk.view(fixed).ok()?;
        let id = view.aggregate_id?;
        let head = id.with_text(|text| self.heads.get(text));
        let expected = (head.map(|head| head.seq), Head::next_version(head));
        let found = (fixed.aggregate_prev, fixed.aggregate_version);
        let is_beyond_reach =
            head.is_none() && fixed.aggregate_prev.is_some_and(|prev| prev < self.first_seq);
        id.with_text(|text| self.heads.set(text, Head { seq: fixed.seq, version: fixed.aggregate_version }));
        (expected != found && !is_beyond_reach).then(|| {
            format!("the aggregate's version and previous event are {found:?}, expected {expected:?}")
        })
    }
}

impl Verification {
    fn walk(&mut self, place: &Place, segment: &Segment, chains: &mut Chains) -> Result<()> {
        let mut walk = match segment.walk(&*place.vfs) {
            Ok(walk) => walk,
            Err(error) => return self.note_error("segment", error),
        };
        match chains.next_seq {
            None => chains.first_seq = segment.entry.first_seq,
            Some(next) if next != segment.entry.first_seq => {
                let what = format!(
                    "the segment begins at {}, the one before ends at {next}",
                    segment.entry.first_seq
                );
                self.note("position", &segment.path, 0, &what);
            }
            Some(_) => {}
        }
        self.segments += 1;
        while let Step::Event(fixed) = walk.step() {
            self.events += 1;
            if let Some(what) = chains.check(&walk, fixed) {
                self.note_event("chain", &segment.path, walk.record_offset as u64, fixed.seq, &what);
            }
        }
        chains.next_seq = Some(walk.position.next_seq);
        self.records += walk.record_count;
        self.skipped_records += walk.skipped_records;
        self.bytes += walk.position.offset as u64;
        Ok(())
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
        self.push(Severity::Error, kind, path, offset, None, message);
    }

    fn note_event(&mut self, kind: &'static str, path: &Path, offset: u64, seq: u64, message: &str) {
        self.push(Severity::Error, kind, path, offset, Some(seq), message);
    }

    fn warn(&mut self, kind: &'static str, path: &Path, offset: u64, seq: Option<u64>, message: &str) {
        self.push(Severity::Warning, kind, path, offset, seq, message);
    }

    fn push(
        &mut self,
        severity: Severity,
        kind: &'static str,
        path: &Path,
        offset: u64,
        seq: Option<u64>,
        message: &str,
    ) {
        let path = path.display().to_string();
        let message = message.to_owned();
        let is_known =
            |known: &Finding| known.path == path && known.offset == offset && known.message == message;
        if !self.findings.iter().any(is_known) {
            self.findings.push(Finding {
                severity,
                kind,
                path,
                offset,
                first_seq: seq,
                last_seq: seq,
                message,
            });
        }
    }
}
