//! The closing index: comes back as it went, is refused unless it is whole, and stands in the page's table.

use _core::{
    format::{
        self, Names,
        closing_index::{CLOSING_INDEX_HEADER_BYTES, ClosingIndex},
        meta::Mark,
    },
    heads::{Head, Heads},
};
use proptest::{collection::vec, prelude::*};

use crate::{
    cases,
    document::LOG_ID,
    sealed::{assert_numbers, sealed_header},
};

fn index() -> ClosingIndex {
    let mut heads = Heads::default();
    heads.set("a", Head { seq: 21, version: 22 });
    ClosingIndex {
        log_id: LOG_ID,
        generation: 10,
        end: Mark { segment: 11, offset: 12, next_seq: 13 },
        sealed: vec![sealed_header()],
        first_seq: 14,
        names: Names::from_iter(["tick", "feed"]),
        marks: vec![(64, 12_300), (128, 14_000), (192, 15_000)],
        heads,
    }
}

/// All of it, in a form that can be compared.
fn told(index: &ClosingIndex) -> String {
    let mut heads = Vec::new();
    index.heads.show(|id, head| heads.push((id.to_owned(), head)));
    format!("{heads:?} {:?}", ClosingIndex { heads: Heads::default(), ..index.clone() })
}

#[test]
fn the_table_of_the_closing_index_is_true() {
    let bytes = index().encode();
    let (header, body) = bytes.split_at(CLOSING_INDEX_HEADER_BYTES);
    assert_eq!(&header[..8], b"AresClos");
    let expected = [
        ("version", 1),
        ("generation", 10),
        ("end_segment", 11),
        ("end_offset", 12),
        ("end_next_seq", 13),
        ("first_seq", 14),
        ("sealed_count", 1),
        ("names_count", 2),
        ("marks_count", 3),
        ("body_bytes", body.len() as u64),
        ("body_checksum", u64::from(format::checksum(body))),
    ];
    assert_numbers("Closing index header", header, &expected);
    let mut expected = sealed_header().encode().to_vec();
    expected.extend_from_slice(b"\x04tick\x04feed");
    for (seq, offset) in [(64_u64, 12_300_u32), (128, 14_000), (192, 15_000)] {
        expected.extend_from_slice(&seq.to_le_bytes());
        expected.extend_from_slice(&offset.to_le_bytes());
    }
    expected.extend_from_slice(&21_u64.to_le_bytes());
    expected.extend_from_slice(&22_u32.to_le_bytes());
    expected.extend_from_slice(b"\x01\0a");
    assert_eq!(body, expected);
    assert_eq!(told(&ClosingIndex::decode(&bytes).unwrap()), told(&index()));
}

#[test]
fn no_part_of_it_and_no_other_bit_is_taken_for_it() {
    let whole = index().encode();
    for end in 0..whole.len() {
        assert!(ClosingIndex::decode(&whole[..end]).is_none(), "the first {end} bytes");
    }
    for at in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[at / 8] ^= 1 << (at % 8);
        assert!(ClosingIndex::decode(&bytes).is_none(), "bit {at}");
    }
}

proptest! {
    #![proptest_config(cases(1_000))]

    /// Checksums made to fit, so that what lies behind them is reached.
    #[test]
    fn any_body_harms_nobody(
        body in vec(any::<u8>(), 0..600),
        counts in (0..3_u32, 0..5_u32, any::<u32>()),
    ) {
        let mut bytes = index().encode()[..CLOSING_INDEX_HEADER_BYTES].to_vec();
        for (at, count) in [(88, counts.0), (92, counts.1), (96, counts.2)] {
            bytes[at..at + 4].copy_from_slice(&count.to_le_bytes());
        }
        bytes[100..108].copy_from_slice(&(body.len() as u64).to_le_bytes());
        bytes[108..112].copy_from_slice(&format::checksum(&body).to_le_bytes());
        let sum = format::checksum(&bytes[..124]).to_le_bytes();
        bytes[124..].copy_from_slice(&sum);
        bytes.extend_from_slice(&body);
        if let Some(index) = ClosingIndex::decode(&bytes) {
            prop_assert!(index.marks.len() * 12 <= body.len());
        }
    }
}
