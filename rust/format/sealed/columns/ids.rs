//! The id that a log would have made next, and the ids that a block has seen.

use hashbrown::HashMap;

const NS_PER_MS: i64 = 1_000_000;
/// Behind the 48 bits of milliseconds of a version 7 UUID, and behind its variant.
const COUNTED: u128 = (1 << 62) - 1;

/// How an event id is stored.
pub(super) const AS_EXPECTED: u8 = 0;
pub(super) const OF_ITS_TIME: u8 = 1;
pub(super) const WHOLE: u8 = 2;

/// The milliseconds of `ts_ns` where a version 7 UUID has them.
fn time_bits(ts_ns: i64) -> u128 {
    let milliseconds = u64::try_from(ts_ns.div_euclid(NS_PER_MS)).unwrap_or(0);
    u128::from(milliseconds) << 80
}

/// The id after `before` of an event appended at `ts_ns`, if the log goes on counting.
pub(super) fn expected(before: u128, ts_ns: i64) -> u128 {
    let random = before & (u128::MAX >> 48);
    let counted = random & !COUNTED | random.wrapping_add(1) & COUNTED;
    time_bits(ts_ns) | counted
}

/// The ten bytes behind the time, if the id has that of `ts_ns`.
pub(super) fn behind_time(id: u128, ts_ns: i64) -> Option<[u8; 10]> {
    let is_of_time = id >> 80 == time_bits(ts_ns) >> 80;
    if is_of_time { id.to_be_bytes().last_chunk::<10>().copied() } else { None }
}

/// The reverse of [`behind_time`].
pub(super) fn of_time(ts_ns: i64, behind: [u8; 10]) -> u128 {
    let mut bytes = time_bits(ts_ns).to_be_bytes();
    if let Some(target) = bytes.last_chunk_mut::<10>() {
        *target = behind;
    }
    u128::from_be_bytes(bytes)
}

/// The UUIDs of a block in the order in which they came; what is met again is named by how far back it stands.
#[derive(Default)]
pub(super) struct Seen(Vec<[u8; 16]>);

impl Seen {
    /// One more.
    pub fn add(&mut self, id: [u8; 16]) {
        self.0.push(id);
    }

    /// The id `distance` back, from 1.
    pub fn at(&self, distance: usize) -> Option<[u8; 16]> {
        self.0.get(self.0.len().checked_sub(distance)?).copied()
    }
}

/// Where the UUIDs of a block stand, for who names them; a reader goes by [`Seen`], which hashes nothing.
#[derive(Default)]
pub(super) struct Places {
    count: usize,
    newest: HashMap<[u8; 16], usize>,
}

impl Places {
    /// One more; the newest place of an id counts.
    pub fn add(&mut self, id: [u8; 16]) {
        self.newest.insert(id, self.count);
        self.count += 1;
    }

    /// How far back it stands, from 1.
    pub fn distance(&self, id: &[u8; 16]) -> Option<usize> {
        self.newest.get(id).map(|place| self.count - place)
    }
}
