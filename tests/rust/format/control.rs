//! The control page against docs/format.md: its table, its name, and what is refused.

use _core::format::control::{
    BELL_OFFSET, CONTROL_BYTES, CONTROL_FILE_BYTES, Hints, SLEEPERS_OFFSET, WriterState, control_name,
};

use crate::{document::LOG_ID, page::Page};

const HINTS: Hints =
    Hints { log_id: LOG_ID, writer: 11, epoch: 12, state: WriterState::Open, segment: 13, next_seq: 14 };

#[test]
fn the_table_of_the_control_page_is_true() {
    let layout = Page::read().layout("Control page");
    assert_eq!(layout.bytes(), CONTROL_FILE_BYTES);
    let mut page = HINTS.encode().to_vec();
    page.resize(CONTROL_FILE_BYTES, 0);
    page[SLEEPERS_OFFSET] = 15;
    page[BELL_OFFSET] = 16;
    let expected: [(&str, &[u8]); 12] = [
        ("magic", b"AresCtrl"),
        ("version", &[1]),
        ("epoch", &[12]),
        ("log_id", &LOG_ID),
        ("writer", &[11]),
        ("state", &[1]),
        ("reserved", &[]),
        ("segment", &[13]),
        ("next_seq", &[14]),
        ("sleepers", &[15]),
        ("bell", &[16]),
        ("unused", &[]),
    ];
    crate::document::assert_fields(&layout, &page, &expected);
}

#[test]
fn a_page_comes_back_as_it_was_told_and_any_other_is_refused() {
    for (state, code) in [(WriterState::Open, 1), (WriterState::Closed, 2), (WriterState::Poisoned, 3)] {
        let hints = Hints { state, ..HINTS };
        let bytes = hints.encode();
        assert_eq!(bytes[40], code);
        assert_eq!(Hints::decode(&bytes), Some(hints));
    }
    for offset in [0, 7, 8, 11, 40, 43] {
        let mut bytes = HINTS.encode();
        bytes[offset] ^= 0x40;
        assert_eq!(Hints::decode(&bytes), None, "byte {offset}");
    }
    assert_eq!(Hints::decode(&[0; CONTROL_BYTES]), None);
}

#[test]
fn the_name_is_that_of_the_page() {
    let name = control_name(0xAB, &LOG_ID, 0xFE00, 0x1234);
    assert_eq!(name, "aresbus-000000000000000000000000000000ab-5c0e8a119b3f4d528e670123456789ab-fe00-1234");
}
