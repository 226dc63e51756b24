//! Counts what a thread allocates: no decoder may allocate from a length that it read (R8), and most need not allocate at all.
//!
//! Owns the allocator of the binaries that include it, which is the system's with counters before it.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

thread_local! {
    static ALLOCATED_BYTES: Cell<usize> = const { Cell::new(0) };
    /// Negative where a thread frees what another one allocated.
    static HELD_BYTES: Cell<isize> = const { Cell::new(0) };
    static MOST_HELD_BYTES: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn note_allocated(layout: Layout) {
    ALLOCATED_BYTES.set(ALLOCATED_BYTES.get().wrapping_add(layout.size()));
    let held = HELD_BYTES.get().wrapping_add_unsigned(layout.size());
    HELD_BYTES.set(held);
    MOST_HELD_BYTES.set(MOST_HELD_BYTES.get().max(held));
}

// SAFETY: every call is handed to the system's allocator as it came; the counters have no destructor and allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note_allocated(layout);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        HELD_BYTES.set(HELD_BYTES.get().wrapping_sub_unsigned(layout.size()));
        // SAFETY: `memory` came from `System` with this layout.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// Does `work`, which must not allocate.
pub fn allocating_nothing<T>(work: impl FnOnce() -> T) -> T {
    let before = ALLOCATED_BYTES.get();
    let outcome = work();
    assert_eq!(ALLOCATED_BYTES.get().wrapping_sub(before), 0, "a decoder allocated");
    outcome
}

/// Does `work`, which may hold at most `limit` bytes at any moment, beyond what was held before.
pub fn allocating_at_most<T>(limit: usize, work: impl FnOnce() -> T) -> T {
    let before = HELD_BYTES.get();
    MOST_HELD_BYTES.set(before);
    let outcome = work();
    let most = usize::try_from(MOST_HELD_BYTES.get().wrapping_sub(before)).unwrap_or(0);
    assert!(most <= limit, "a decoder held {most} bytes, its limit is {limit}");
    outcome
}

#[test]
fn the_counters_count() {
    let before = ALLOCATED_BYTES.get();
    drop(std::hint::black_box(vec![0_u8; 1000]));
    assert!(ALLOCATED_BYTES.get() - before >= 1000);
    let hold_two = |bytes: usize| std::hint::black_box((vec![0_u8; bytes], vec![0_u8; bytes])).0;
    let held = allocating_at_most(2000, || hold_two(1000));
    assert_eq!(allocating_at_most(2000, || hold_two(1000)), held);
    assert!(std::panic::catch_unwind(|| allocating_at_most(1999, || hold_two(1000))).is_err());
}
