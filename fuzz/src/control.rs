//! The control page: any bytes as its beginning, since any process of the owner may write any at any moment.
//!
//! Input: the page. Size class: nothing.

use _core::format::control::{CONTROL_BYTES, CONTROL_MAGIC, CONTROL_VERSION, Hints};

use super::{allocation::allocating_nothing, input::Input, seal};

/// A reserved field, which a later build may use and this one does not look at.
const RESERVED: std::ops::Range<usize> = 44..48;

pub fn run(input: &[u8]) {
    let mut page = [0; CONTROL_BYTES];
    seal::put(&mut page, 0, Input::new(input).take(CONTROL_BYTES));
    let Some(hints) = allocating_nothing(|| Hints::decode(&page)) else {
        assert!(!is_believable(&page), "a whole page is not believed");
        return;
    };
    assert!(is_believable(&page), "{hints:?} of a page of another kind");
    page[RESERVED].fill(0);
    assert_eq!(hints.encode(), page, "what was decoded does not come back");
}

fn is_believable(page: &[u8]) -> bool {
    page.starts_with(CONTROL_MAGIC)
        && seal::word(page, 8) == CONTROL_VERSION
        && (1..=3).contains(&seal::word(page, 40))
}
