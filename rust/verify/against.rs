//! Heads that were kept elsewhere, held against the log as it is.
//!
//! Owns the tree that a verification makes again, and what its difference from a head means: which events are not what they
//! were, or not there. Invariant: the range it names begins behind the last head that fits and ends with the first that does
//! not; more cannot be said of hashes.

use std::path::{Path, PathBuf};

use super::{Finding, Severity};
use crate::{
    error::Error,
    evidence::{Hash, Run, TreeHead},
    format::{IdView, UuidBytes},
    place::Place,
};

/// Kind of the findings made here.
const KIND: &str = "anchor";

/// See the module's first paragraph.
#[derive(Default)]
pub(super) struct Against {
    /// Those of this log, by size, that were not reached yet; the next one last.
    ahead: Vec<TreeHead>,
    /// The tree so far; `None` behind a gap, where no root can be told any more.
    run: Option<Run>,
    /// Where what is not vouched for begins.
    doubted: Spot,
    misfit: Option<Misfit>,
    gap: Option<Spot>,
    /// Heads that were compared.
    pub compared: u64,
    /// What can be said before the end.
    pub findings: Vec<Finding>,
}

/// An event and where its record begins.
#[derive(Clone, Default)]
struct Spot {
    seq: u64,
    path: PathBuf,
    offset: u64,
}

/// The first head that does not fit.
struct Misfit {
    head: TreeHead,
    since: Spot,
    /// How many more do not.
    more: u64,
    /// A later one that fits.
    contradicted: Option<TreeHead>,
}

impl Against {
    /// Those of `heads` that speak of this log, whose oldest event is `first_seq`. Without heads nothing is hashed.
    pub fn new(heads: &[TreeHead], log_id: [u8; 16], first_seq: u64, place: &Place) -> Self {
        let mut against = Self {
            ahead: heads.iter().copied().filter(|head| head.log_id == log_id).collect(),
            doubted: Spot { seq: first_seq, path: place.path.clone(), offset: 0 },
            ..Self::default()
        };
        let Some(any) = heads.first() else { return against };
        if against.ahead.is_empty() {
            let (head, log) = (IdView::Uuid(UuidBytes(any.log_id)), IdView::Uuid(UuidBytes(log_id)));
            against.note(
                &Spot::default().at(&place.path),
                None,
                format!("the head is of log {head}, this is log {log}"),
            );
            return against;
        }
        against.ahead.sort_unstable_by_key(|head| std::cmp::Reverse(head.tree_size));
        match place.read_expired(log_id, first_seq) {
            Ok(run) => against.run = Some(run),
            Err(error) => {
                let (path, why) = match error {
                    Error::Corrupt { path, reason, .. } => (path, reason),
                    other => (place.path.clone(), other.to_string()),
                };
                against.gap = Some(against.doubted.clone());
                against.note(&Spot::default().at(&path), None, format!("no head can be compared: {why}"));
            }
        }
        against.pass_expired(first_seq);
        against
    }

    /// Whether any head is still to be reached.
    pub fn wants_more(&self) -> bool {
        self.run.is_some() && !self.ahead.is_empty()
    }

    /// Takes in the leaf of the next event, whose record lies at `offset` of `path`.
    pub fn take(&mut self, path: &Path, offset: u64, seq: u64, leaf: Hash) {
        if !self.wants_more() {
            return;
        }
        let spot = || Spot { seq, path: path.to_owned(), offset };
        if self.run.as_ref().is_some_and(|run| run.end() != seq) {
            self.gap = Some(Spot { seq: self.size(), ..spot() });
            self.run = None;
        }
        if self.doubted.offset == 0 {
            self.doubted = Spot { seq: self.doubted.seq, ..spot() };
        }
        self.compare(spot);
        if let Some(run) = &mut self.run {
            run.push_leaf(leaf);
        }
    }

    /// The log ends at `offset` of `path`: says what became of every head.
    pub fn end(mut self, path: &Path, offset: u64) -> (u64, Vec<Finding>) {
        let end = Spot { seq: self.size(), path: path.to_owned(), offset };
        self.compare(|| end.clone());
        if let Some(Misfit { head, since, more, contradicted }) = self.misfit.take() {
            let size = head.tree_size;
            let more = if more == 0 { String::new() } else { format!(", nor of {more} more") };
            let later = contradicted.map_or_else(String::new, |later| {
                let size = later.tree_size;
                format!("; the head of {size} events fits: made after the change, or this one is of another history")
            });
            let what = format!("the events are not those of the head of {size} events{more}{later}");
            self.note(&since, Some(head.tree_size), what);
        }
        if let (Some(highest), Some(lowest)) = (self.ahead.first().copied(), self.ahead.last()) {
            let what = match &self.gap {
                Some(_) => format!(
                    "heads from {} events on cannot be compared: the events before them cannot be read",
                    lowest.tree_size
                ),
                None => format!(
                    "the log has {} events, a head was made of {}: it was rolled back, or its end was removed",
                    end.seq, highest.tree_size
                ),
            };
            let spot = self.gap.clone().unwrap_or(end);
            self.note(&spot, Some(highest.tree_size), what);
        }
        (self.compared, self.findings)
    }

    /// Compares the heads that end where the tree ends now.
    fn compare(&mut self, here: impl Fn() -> Spot) {
        let Some(run) = &self.run else { return };
        let size = run.end();
        while let Some(head) = self.ahead.pop_if(|head| head.tree_size == size) {
            self.compared += 1;
            if run.root() == head.root {
                match &mut self.misfit {
                    None => self.doubted = here(),
                    Some(misfit) => misfit.contradicted = misfit.contradicted.or(Some(head)),
                }
            } else if let Some(misfit) = &mut self.misfit {
                misfit.more += 1;
            } else {
                self.misfit = Some(Misfit { head, since: self.doubted.clone(), more: 0, contradicted: None });
            }
        }
    }

    /// What ended before the first event that is kept cannot be made again.
    fn pass_expired(&mut self, first_seq: u64) {
        let mut passed = 0_u64;
        while self.ahead.pop_if(|head| head.tree_size < first_seq).is_some() {
            passed += 1;
        }
        if passed > 0 {
            let message =
                format!("{passed} heads speak of events before {first_seq} alone, which are no longer kept");
            let (path, offset) = (self.doubted.path.display().to_string(), 0);
            self.findings.push(Finding {
                severity: Severity::Warning,
                kind: KIND,
                path,
                offset,
                first_seq: None,
                last_seq: None,
                message,
            });
        }
    }

    fn size(&self) -> u64 {
        self.run.as_ref().map_or(0, Run::end)
    }

    /// An error at `spot`; of the events from there to before `end`, where it says so.
    fn note(&mut self, spot: &Spot, end: Option<u64>, message: String) {
        self.findings.push(Finding {
            severity: Severity::Error,
            kind: KIND,
            path: spot.path.display().to_string(),
            offset: spot.offset,
            first_seq: end.map(|_| spot.seq),
            last_seq: end.and_then(|end| end.checked_sub(1)),
            message,
        });
    }
}

impl Spot {
    fn at(mut self, path: &Path) -> Self {
        path.clone_into(&mut self.path);
        self
    }
}
