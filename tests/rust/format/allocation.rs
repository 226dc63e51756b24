//! Counts what a thread allocates: no decoder may allocate from a length that it read (R8), and none needs to allocate at all.
//!
//! Owns this test binary's allocator, which is the system's with a counter before it.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

thread_local! {
    static ALLOCATED_BYTES: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is handed to the system's allocator as it came; the counter has no destructor and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _gone_at_thread_exit =
            ALLOCATED_BYTES.try_with(|bytes| bytes.set(bytes.get().wrapping_add(layout.size())));
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
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

#[test]
fn the_counter_counts() {
    let before = ALLOCATED_BYTES.get();
    drop(std::hint::black_box(vec![0_u8; 1000]));
    assert!(ALLOCATED_BYTES.get() - before >= 1000);
}
