//! The segments of one log as this process knows them, and how a reader learns of new ones.
//!
//! Owns the list. In the writer's process each roll appends to it; a reader looks at the directory, where an entered
//! segment names the one before it. Refuses to know what is in a segment.

use std::{io::ErrorKind, sync::Arc};

use crate::{
    control::{Control, Link},
    error::{Error, Result},
    place::{OpenedSegment, Place, durable_marks, highest_watermark},
    segment::Segment,
    threads::{PoisonError, RwLock},
    vfs::Join,
};

/// Whether new segments are announced by the writer in this process, or have to be looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// The writer is here.
    Announced,
    /// The writer, if any, is another process.
    LookedFor,
}

/// See the module's first paragraph.
pub struct Shelf {
    /// Where the files lie.
    pub place: Place,
    /// The log's id.
    pub log_id: [u8; 16],
    /// Leads to the control page.
    pub link: Link,
    news: News,
    segments: RwLock<Vec<Arc<Segment>>>,
    /// Numbers of segments behind a torn tail: they are there, entered, and none of their events counts.
    stranded: Vec<u64>,
}

impl Shelf {
    /// A shelf of `segments`, oldest first.
    #[must_use]
    pub fn new(place: Place, log_id: [u8; 16], news: News, segments: Vec<Arc<Segment>>) -> Self {
        let (link, stranded) = (Link::default(), Vec::new());
        Self { place, log_id, link, news, segments: RwLock::new(segments), stranded }
    }

    /// The same, without ever taking the segments `numbers` for new.
    #[must_use]
    pub fn without(mut self, numbers: Vec<u64>) -> Self {
        self.stranded = numbers;
        self
    }

    /// Joins the control page that a writer of this log made; its own page a writer has in the link.
    #[must_use]
    pub fn join_control(&self) -> Option<Control> {
        let is_elsewhere = self.news == News::LookedFor;
        let lock_path = self.place.lock_path();
        is_elsewhere.then(|| Control::join(&*self.place.vfs, &lock_path, self.log_id, Join::Find)).flatten()
    }

    /// All segments, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Segment>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the list; used by the writer, whose lock is taken for moments only.
    pub fn update(&self, change: impl FnOnce(&mut Vec<Arc<Segment>>)) {
        change(&mut self.segments.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Position of the oldest event kept.
    #[must_use]
    pub fn first_seq(&self) -> u64 {
        self.with(|segments| segments.first().map_or(0, |segment| segment.entry.first_seq))
    }

    /// The segment that holds `seq`, or will; the oldest one for anything before it.
    #[must_use]
    pub fn holding(&self, seq: u64) -> Option<Arc<Segment>> {
        self.with(|segments| {
            let behind = segments.partition_point(|segment| segment.entry.first_seq <= seq);
            segments.get(behind.saturating_sub(1)).cloned()
        })
    }

    /// The segment in which the records go on behind `end` of `segment`.
    #[must_use]
    pub fn follower(&self, segment: &Segment, end: usize) -> Option<Arc<Segment>> {
        let follows = |next: &&Arc<Segment>| {
            next.entry.prev_segment == segment.header.number && next.entry.prev_end == end as u64
        };
        self.with(|segments| segments.iter().rev().find(follows).cloned())
    }

    /// The segment that comes next in the log behind `segment`, whether or not its records lead there.
    #[must_use]
    pub fn after(&self, segment: &Segment) -> Option<Arc<Segment>> {
        self.with(|segments| {
            let behind = segments.partition_point(|other| other.header.number <= segment.header.number);
            segments.get(behind).cloned()
        })
    }

    /// Whether `segment` went from the front.
    #[must_use]
    pub fn has_dropped(&self, segment: &Segment) -> bool {
        self.with(|segments| {
            segments.first().is_some_and(|first| first.header.number > segment.header.number)
        })
    }

    fn with<T>(&self, look: impl FnOnce(&[Arc<Segment>]) -> T) -> T {
        look(&self.segments.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at the directory for segments entered since the last look. Nothing to do beside the writer.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`], [`Error::Version`].
    pub fn look_for_news(&self) -> Result<()> {
        if self.news == News::Announced {
            return Ok(());
        }
        let numbers = self.place.list()?.segments;
        let first = self.with(|segments| segments.first().map_or(0, |segment| segment.header.number));
        if numbers.first().is_some_and(|number| *number > first) {
            self.look_at_front()?;
        }
        let newest = self.with(|segments| segments.last().map_or(0, |segment| segment.header.number));
        let is_news = |number: &u64| *number > newest && !self.stranded.contains(number);
        for number in numbers.into_iter().filter(is_news) {
            let opened = match self.place.open_segment(number, &self.log_id) {
                Ok(opened) => opened,
                // A spare of a writer that is gone; the next one removed it under our eyes.
                Err(error) if error.is_missing_file() => continue,
                Err(error) => return Err(error),
            };
            self.accept(opened);
        }
        Ok(())
    }

    /// Forgets the segments before META's first one, which another process has dropped; that one is there then, also where
    /// all that were known have gone.
    fn look_at_front(&self) -> Result<()> {
        let mut found = None;
        loop {
            let Some(meta) = self.place.read_meta()? else { return Ok(()) };
            let first = meta.first_segment;
            if first == 0 {
                return Ok(());
            }
            if found.replace(first) == Some(first) {
                let gone = ErrorKind::NotFound.into();
                return Err(Error::io(self.place.sealed_path(first), "open", gone));
            }
            let is_known =
                self.with(|segments| segments.iter().any(|segment| segment.header.number >= first));
            let mut opened = None;
            if !is_known {
                opened = match self.place.open_segment(first, &self.log_id) {
                    // It has gone meanwhile, too.
                    Err(error) if error.is_missing_file() => continue,
                    opened => opened?.into_segment(),
                };
            }
            self.update(|segments| {
                let is_kept = |segment: &Arc<Segment>| segment.header.number >= first;
                if opened.is_some() || segments.iter().any(is_kept) {
                    segments.retain(is_kept);
                }
                segments.extend(opened.take().filter(|_| segments.is_empty()).map(Arc::new));
            });
            return Ok(());
        }
    }

    fn accept(&self, opened: OpenedSegment) {
        let Some(segment) = opened.into_segment() else { return };
        self.update(|segments| {
            // They were opened one after another, so a later one may be seen entered where an earlier one was not yet:
            // then that one is taken first, at the next look.
            let prev = segment.entry.prev_segment;
            let before = segments.iter().rposition(|known| known.header.number == prev);
            if before.is_some() || segments.is_empty() {
                // What lies between the two was cut off.
                segments.truncate(before.map_or(0, |at| at + 1));
                segments.push(Arc::new(segment));
            }
        });
    }

    /// Whether `offset` of `segment` lies below what is known to be durable: a fault there is damage, never a torn tail.
    /// The same sources as an opening's.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`], [`Error::Version`]: what vouches for it cannot be read.
    pub fn is_below_watermark(&self, segment: &Segment, offset: usize) -> Result<bool> {
        let here = (segment.header.number, offset as u64);
        let numbers = self.list().into_iter().map(|other| other.header.number);
        let mut opened = Vec::new();
        for number in numbers.filter(|number| *number >= here.0) {
            match self.place.open_segment(number, &self.log_id) {
                // The next writer set it aside under our eyes.
                Err(error) if error.is_missing_file() => {}
                one => opened.push(one?),
            }
        }
        let Some(meta) = self.place.read_meta()? else { return Ok(false) };
        Ok(highest_watermark(&durable_marks(&meta, &opened))
            .is_some_and(|mark| (mark.segment, mark.offset) > here))
    }

    /// Newest event that a stored watermark calls durable: a lower bound, so what cannot be read only lowers it.
    #[must_use]
    pub fn watermark_seq(&self) -> Option<u64> {
        let stored = self.list().into_iter().rev().find_map(|segment| {
            if let Some(sealed) = segment.as_sealed() {
                return sealed.header.end.next_seq.checked_sub(1);
            }
            let file = self.place.vfs.open(&segment.path(), false).ok()?;
            self.place.read_watermark(&*file, &segment.header).ok()??.durable_seq
        });
        let meta = self.place.read_meta().ok().flatten();
        let marks = meta.into_iter().flat_map(|meta| [meta.clean, meta.cut]).flatten();
        marks.filter_map(|mark| mark.next_seq.checked_sub(1)).chain(stored).max()
    }
}
