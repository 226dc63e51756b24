//! What was unpacked of sealed segments, for who comes next.
//!
//! One for the process, so that its bound is the process': [`CACHE_BYTES`] of blocks and directories, the least recently used go
//! first. Who reads on holds what they read themselves. Guards nothing: losing an entry costs time alone, so no model
//! checker looks at its lock.

use std::sync::{Arc, Mutex, PoisonError};

use crate::format::sealed::Directory;

/// Most bytes that the cache holds.
pub const CACHE_BYTES: usize = 8 * 1024 * 1024;
/// A block larger than this would throw out everything else.
const MAX_ITEM_BYTES: usize = CACHE_BYTES / 8;

/// A sealed segment as the cache knows it, and which part of it.
pub(super) type Key = (u64, Part);

/// A part of a sealed segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Directory,
    Block(usize),
}

/// What is kept.
#[derive(Clone)]
pub(super) enum Item {
    Directory(Arc<Directory>),
    Block(Arc<[u8]>),
}

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Self::Directory(directory) => 256 + 80 * directory.blocks.len(),
            Self::Block(bytes) => bytes.len(),
        }
    }
}

struct Kept {
    key: Key,
    item: Item,
    used: u64,
}

#[derive(Default)]
struct Cache {
    kept: Vec<Kept>,
    bytes: usize,
    clock: u64,
}

static CACHE: Mutex<Cache> = Mutex::new(Cache { kept: Vec::new(), bytes: 0, clock: 0 });

/// The item, if it is there.
pub(super) fn get(key: Key) -> Option<Item> {
    let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    cache.clock += 1;
    let now = cache.clock;
    let kept = cache.kept.iter_mut().find(|kept| kept.key == key)?;
    kept.used = now;
    Some(kept.item.clone())
}

/// Keeps the item while there is room.
pub(super) fn put(key: Key, item: Item) {
    let bytes = item.bytes();
    if bytes > MAX_ITEM_BYTES {
        return;
    }
    let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    cache.clock += 1;
    let used = cache.clock;
    if cache.kept.iter().any(|kept| kept.key == key) {
        return;
    }
    cache.bytes += bytes;
    while cache.bytes > CACHE_BYTES {
        let oldest = cache.kept.iter().enumerate().min_by_key(|(_, kept)| kept.used).map(|(at, _)| at);
        let Some(oldest) = oldest else { break };
        let gone = cache.kept.swap_remove(oldest);
        cache.bytes -= gone.item.bytes();
    }
    cache.kept.push(Kept { key, item, used });
}
