//! What survives: the choice, made by a seed or by a rule, which pages, sectors and names a crash leaves.
//!
//! A sector that is torn is a mix of its old and its new bytes, never of third ones.

use super::cache::{PAGE_BYTES, SECTOR_BYTES};

/// How a log's life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// The process is gone; what it wrote is in the kernel's cache, and still no more durable than it was.
    Kill,
    /// The machine is off: of what was not synced, this is left.
    Power(Loss),
}

/// What a loss of power leaves of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Nothing.
    DropAll,
    /// Everything.
    KeepAll,
    /// Every second page of each file, and every second change of names.
    AlternatePages,
    /// Everything, but sectors that were being written are torn.
    TornSectors(u64),
    /// All content, and changes of names in any order, some not at all.
    ReorderedNames(u64),
    /// Of pages, sectors and names some, in any order, some sectors torn.
    Some(u64),
    /// Each sector and each change of a name with this chance in percent.
    Share(u8, u64),
}

/// Makes the choices of one [`Loss`], or of one failing sync.
pub(super) struct Taste {
    loss: Loss,
    random: fastrand::Rng,
    turn: usize,
}

impl Taste {
    pub fn of(loss: Loss) -> Self {
        let seed = match loss {
            Loss::TornSectors(seed)
            | Loss::ReorderedNames(seed)
            | Loss::Some(seed)
            | Loss::Share(_, seed) => seed,
            Loss::DropAll | Loss::KeepAll | Loss::AlternatePages => 0,
        };
        Self { loss, random: fastrand::Rng::with_seed(seed), turn: 0 }
    }

    /// Whether a file that was never synced at least has its size.
    pub fn keeps_size(&mut self) -> bool {
        match self.loss {
            Loss::DropAll => false,
            Loss::Some(_) => self.random.bool(),
            Loss::Share(percent, _) => self.random.u8(..100) < percent,
            _ => true,
        }
    }

    /// Whether a page that could not be written is thrown out of the cache.
    pub fn evicts(&mut self) -> bool {
        match self.loss {
            Loss::KeepAll => false,
            Loss::Some(_) => self.random.bool(),
            _ => true,
        }
    }

    /// Whether a change of names survives.
    pub fn keeps_name(&mut self) -> bool {
        self.turn += 1;
        match self.loss {
            Loss::DropAll => false,
            Loss::KeepAll | Loss::TornSectors(_) => true,
            Loss::AlternatePages => self.turn.is_multiple_of(2),
            Loss::ReorderedNames(_) | Loss::Some(_) => self.random.bool(),
            Loss::Share(percent, _) => self.random.u8(..100) < percent,
        }
    }

    /// Puts changes of names into the order in which they reach the disk.
    pub fn order<T>(&mut self, changes: &mut [T]) {
        if matches!(self.loss, Loss::ReorderedNames(_))
            || matches!(self.loss, Loss::Some(_)) && self.random.bool()
        {
            self.random.shuffle(changes);
        }
    }

    /// Brings of `written` what survives into `kept`.
    pub fn page(&mut self, written: &[u8], kept: &mut [u8]) {
        debug_assert!(written.len() <= PAGE_BYTES && written.len() == kept.len(), "a page at a time");
        self.turn += 1;
        match self.loss {
            Loss::DropAll => {}
            Loss::AlternatePages if self.turn.is_multiple_of(2) => {}
            Loss::KeepAll | Loss::ReorderedNames(_) | Loss::AlternatePages => kept.copy_from_slice(written),
            Loss::TornSectors(_) => self.sectors(written, kept, 0, 100),
            Loss::Share(percent, _) => self.sectors(written, kept, 100 - percent.min(100), 0),
            Loss::Some(_) => match self.random.u8(..4) {
                0 => {}
                1 => kept.copy_from_slice(written),
                _ => self.sectors(written, kept, 45, 10),
            },
        }
    }

    /// Each sector that changed is lost, torn or kept, with these chances in percent.
    fn sectors(&mut self, written: &[u8], kept: &mut [u8], lost: u8, torn: u8) {
        let pairs = written.chunks(SECTOR_BYTES).zip(kept.chunks_mut(SECTOR_BYTES));
        for (written, kept) in pairs.filter(|(written, kept)| written != kept) {
            let chance = self.random.u8(..100);
            if chance >= lost.saturating_add(torn) {
                kept.copy_from_slice(written);
            } else if chance >= lost {
                self.tear(written, kept);
            }
        }
    }

    /// Either a part of the new bytes from the front, or of each byte one of the two.
    fn tear(&mut self, written: &[u8], kept: &mut [u8]) {
        let front = self.random.bool();
        let end = self.random.usize(..=written.len());
        for (at, (new, old)) in written.iter().zip(kept).enumerate() {
            if if front { at < end } else { self.random.bool() } {
                *old = *new;
            }
        }
    }
}
