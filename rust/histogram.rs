//! Counts of nanoseconds in log-linear buckets: eight for each power of two, so a percentile is at most 12.5 % too high.
//!
//! Owns the buckets and nothing else; knows no clock and no event. Invariants: fixed memory; recording neither allocates
//! nor locks, from any thread, and loses no count. Readers beside a recorder may find a latency in the sum and
//! not yet in its bucket.

use crate::threads::atomic::{AtomicU64, Ordering};

const SUB_BITS: u32 = 3;
const SUB_COUNT: u64 = 1 << SUB_BITS;
/// One more than the bucket of the greatest `u64`.
const BUCKETS: usize = 496;

/// How often each latency was recorded, to an eighth.
#[derive(Debug)]
pub struct Histogram {
    counts: Box<[AtomicU64]>,
    total_ns: AtomicU64,
    max_ns: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        let counts = (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        Self { counts, total_ns: AtomicU64::new(0), max_ns: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Counts one latency; a negative one (a clock that stepped) counts as 0.
    pub fn record(&self, ns: i64) {
        let ns = u64::try_from(ns).unwrap_or(0);
        self.total_ns.fetch_add(ns, Ordering::Relaxed);
        if ns > self.max_ns.load(Ordering::Relaxed) {
            self.max_ns.fetch_max(ns, Ordering::Relaxed);
        }
        if let Some(count) = self.counts.get(bucket_of(ns)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The sum of all.
    #[must_use]
    pub fn total_ns(&self) -> u64 {
        self.total_ns.load(Ordering::Relaxed)
    }

    /// The greatest; 0 while nothing was recorded.
    #[must_use]
    pub fn max_ns(&self) -> u64 {
        self.max_ns.load(Ordering::Relaxed)
    }

    /// The greatest ns in it, and the count, of each bucket that counted something, ascending.
    #[must_use]
    pub fn buckets(&self) -> Vec<(u64, u64)> {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        (0..).zip(counts).filter(|(_, count)| *count > 0).map(|(at, count)| (upper_end(at), count)).collect()
    }
}

fn bucket_of(ns: u64) -> usize {
    let Some(shift) = ns.checked_ilog2().and_then(|log| log.checked_sub(SUB_BITS)) else {
        return usize::try_from(ns).unwrap_or(0);
    };
    usize::try_from((u64::from(shift) << SUB_BITS) + (ns >> shift)).unwrap_or(0)
}

fn upper_end(bucket: u64) -> u64 {
    if bucket < SUB_COUNT {
        return bucket;
    }
    let shift = (bucket >> SUB_BITS) - 1;
    let lower = ((bucket & (SUB_COUNT - 1)) + SUB_COUNT) << shift;
    lower + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_ends_where_the_next_begins() {
        let last = bucket_of(u64::MAX);
        assert_eq!(last + 1, BUCKETS);
        for at in 0..last {
            let end = upper_end(at as u64);
            assert_eq!((bucket_of(end), bucket_of(end + 1)), (at, at + 1), "the end {end} of bucket {at}");
        }
        assert_eq!(upper_end(last as u64), u64::MAX);
    }

    #[test]
    fn a_bucket_ends_at_most_an_eighth_above_what_it_counts() {
        for log in 0..63 {
            for ns in [1_u64 << log, (1 << log) + 1, (1 << log) * 3 / 2, (2 << log) - 1] {
                let end = upper_end(bucket_of(ns) as u64);
                assert!(ns <= end && end - ns <= ns / 8, "{ns} counts as {end}");
            }
        }
    }

    #[test]
    fn what_is_recorded_is_counted_and_summed() {
        let histogram = Histogram::default();
        assert_eq!((histogram.buckets(), histogram.max_ns()), (vec![], 0));
        for ns in [-5, 0, 7, 8, i64::MAX] {
            histogram.record(ns);
        }
        let top = i64::MAX.unsigned_abs();
        assert_eq!(histogram.buckets(), [(0, 2), (7, 1), (8, 1), (top, 1)]);
        assert_eq!((histogram.total_ns(), histogram.max_ns()), (15 + top, top));
    }
}
