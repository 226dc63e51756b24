//! Sealed segments: blocks come back as they went, no decoder is harmed by any bytes, and the page's tables are true.

use _core::{
    config::Compression,
    format::{
        self,
        meta::Mark,
        sealed::{
            BlockEntry, Directory, SEALED_HEADER_BYTES, SealedHeader, Stored,
            block::{Contents, Form, Packer, unpack},
            index::{
                Conversation, INDEX_HEADER_BYTES, IndexHeader, blocks_of, decode_heads, encode_conversations,
                encode_heads,
            },
        },
        segment::{Entry, RECORDS_OFFSET, SegmentHeader},
    },
    heads::{Head, Heads},
};
use proptest::{collection::vec, prelude::*};

use crate::{cases, document::LOG_ID, page::Page};

pub fn sealed_header() -> SealedHeader {
    SealedHeader {
        header: SegmentHeader { log_id: LOG_ID, number: 7, epoch: 3, file_bytes: 1 << 20, created_ns: 9 },
        entry: Entry { first_seq: 4, entered_ns: 5, prev_segment: 6, prev_end: 8 },
        end: Mark { segment: 7, offset: 20_000, next_seq: 11 },
        next_segment: 12,
        directory: Stored { offset: 300, bytes: 13, checksum: 14 },
        tree: Stored { offset: 313, bytes: 15, checksum: 16 },
    }
}

fn block_entry() -> BlockEntry {
    BlockEntry {
        offset: 256,
        stored_bytes: 1,
        packed_bytes: 2,
        record_bytes: 3,
        record_offset: 4,
        first_seq: 5,
        types: 6,
        appended_ns: (7, 8),
        event_time_ns: (9, 10),
        checksum: 11,
        form: Form { is_columns: true, compression: Compression::Zstd },
    }
}

fn index_header() -> IndexHeader {
    let part = |offset| Stored { offset, bytes: 15, checksum: 16 };
    IndexHeader {
        log_id: LOG_ID,
        number: 7,
        next_seq: 11,
        is_full: true,
        heads_since_full: 12,
        full_bytes: 13,
        heads: part(14),
        conversations: part(17),
    }
}

/// The fields of a table, as numbers.
fn fields(heading: &str, bytes: &[u8]) -> Vec<(String, u64)> {
    let layout = Page::read().layout(heading);
    assert_eq!(layout.bytes(), bytes.len());
    let number = |slice: &[u8]| slice.iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    layout.0.iter().map(|field| (field.name.clone(), number(layout.slice(bytes, &field.name)))).collect()
}

pub fn assert_numbers(heading: &str, bytes: &[u8], expected: &[(&str, u64)]) {
    let found = fields(heading, bytes);
    for (name, value) in expected {
        let field = found.iter().find(|(known, _)| known == name);
        assert_eq!(field.map(|(_, value)| *value), Some(*value), "{heading}: {name}");
    }
    let named = |name: &String| expected.iter().any(|(known, _)| known == name);
    for (name, value) in found.iter().filter(|(name, _)| !named(name)) {
        assert!(["magic", "log_id", "checksum"].contains(&name.as_str()) || *value == 0, "{heading}: {name}");
    }
}

#[test]
fn the_tables_of_sealed_segments_and_indexes_are_true() {
    let bytes = sealed_header().encode();
    assert_eq!(&bytes[..8], b"AresSeal");
    let expected = [
        ("version", 1),
        ("epoch", 3),
        ("number", 7),
        ("file_bytes", 1 << 20),
        ("created_ns", 9),
        ("first_seq", 4),
        ("entered_ns", 5),
        ("prev_segment", 6),
        ("prev_end", 8),
        ("end_offset", 20_000),
        ("next_seq", 11),
        ("next_segment", 12),
        ("directory_offset", 300),
        ("directory_bytes", 13),
        ("directory_checksum", 14),
        ("tree_offset", 313),
        ("tree_bytes", 15),
        ("tree_checksum", 16),
    ];
    assert_numbers("Sealed header", &bytes, &expected);
    assert_eq!(SealedHeader::decode(&bytes), Ok(sealed_header()));

    let directory = Directory { blocks: vec![block_entry()], ..Directory::default() };
    let expected = [
        ("offset", 256),
        ("stored_bytes", 1),
        ("packed_bytes", 2),
        ("record_bytes", 3),
        ("record_offset", 4),
        ("first_seq", 5),
        ("types", 6),
        ("appended_first_ns", 7),
        ("appended_last_ns", 8),
        ("time_first_ns", 9),
        ("time_last_ns", 10),
        ("checksum", 11),
        ("form", 5),
    ];
    assert_numbers("Block entry", &directory.encode()[12..], &expected);

    let bytes = index_header().encode();
    assert_eq!(&bytes[..8], b"AresIdx\0");
    let expected = [
        ("version", 1),
        ("is_full", 1),
        ("number", 7),
        ("next_seq", 11),
        ("heads_since_full", 12),
        ("full_bytes", 13),
        ("heads_offset", 14),
        ("heads_bytes", 15),
        ("heads_checksum", 16),
        ("conversations_offset", 17),
        ("conversations_bytes", 15),
        ("conversations_checksum", 16),
    ];
    assert_numbers("Index header", &bytes, &expected);
    assert_eq!(IndexHeader::decode(&bytes), Ok(index_header()));
}

#[test]
fn a_header_that_makes_no_sense_is_refused() {
    let odd = [
        SealedHeader {
            end: Mark { offset: RECORDS_OFFSET as u64 - 8, ..sealed_header().end },
            ..sealed_header()
        },
        SealedHeader { end: Mark { offset: 1 << 21, ..sealed_header().end }, ..sealed_header() },
        SealedHeader { end: Mark { next_seq: 3, ..sealed_header().end }, ..sealed_header() },
        SealedHeader { next_segment: 7, ..sealed_header() },
        SealedHeader { entry: Entry { prev_segment: 7, ..sealed_header().entry }, ..sealed_header() },
        SealedHeader { directory: Stored { offset: 255, ..sealed_header().directory }, ..sealed_header() },
        SealedHeader { tree: Stored { offset: 312, ..sealed_header().tree }, ..sealed_header() },
        SealedHeader { tree: Stored { offset: 0, ..sealed_header().tree }, ..sealed_header() },
    ];
    for header in odd {
        assert!(SealedHeader::decode(&header.encode()).is_err(), "{header:?}");
    }
}

fn form() -> impl Strategy<Value = Form> {
    let compressions = [Compression::None, Compression::Lz4, Compression::Zstd];
    (any::<bool>(), 0..3_usize)
        .prop_map(move |(is_columns, at)| Form { is_columns, compression: compressions[at] })
}

proptest! {
    #![proptest_config(cases(1_000))]

    /// Whatever the bytes are: no panic, no more bytes than were asked for.
    #[test]
    fn unpacking_any_bytes_harms_nobody(
        bytes in vec(any::<u8>(), 0..600),
        form in form(),
        record_bytes in 0..5_000_usize,
        packed_bytes in 0..2_000_usize,
        first_seq in any::<u64>(),
    ) {
        let contents = Contents { record_bytes, packed_bytes, first_seq, epoch: 1 };
        if let Some(records) = unpack(&bytes, form, &contents) {
            prop_assert_eq!(records.len(), record_bytes);
        }
        let plain = Form { compression: Compression::None, ..form };
        let contents = Contents { packed_bytes: bytes.len(), ..contents };
        if let Some(records) = unpack(&bytes, plain, &contents) {
            prop_assert_eq!(records.len(), record_bytes);
        }
        let _any = (Directory::decode(&bytes, 20_000), decode_heads(&bytes), blocks_of(&bytes, 7));
        if let Some(header) = bytes.first_chunk::<SEALED_HEADER_BYTES>() {
            prop_assert!(SealedHeader::decode(header).is_err());
        }
        if let Some(header) = bytes.first_chunk::<INDEX_HEADER_BYTES>() {
            prop_assert!(IndexHeader::decode(header).is_err());
        }
    }

    /// What is no run of records is packed as it is, and comes back.
    #[test]
    fn any_bytes_come_back_from_a_block(bytes in vec(any::<u8>(), 1..2_000), at in 0..3_usize) {
        let compression = [Compression::None, Compression::Lz4, Compression::Zstd][at];
        let (stored, form, packed_bytes) = Packer::new(compression).unwrap().pack(&bytes, 5, 1).unwrap();
        let contents = Contents { record_bytes: bytes.len(), packed_bytes, first_seq: 5, epoch: 1 };
        prop_assert_eq!(unpack(&stored, form, &contents), Some(bytes));
    }

    #[test]
    fn heads_and_conversations_come_back(
        heads in proptest::collection::hash_map(".{1,40}", (any::<u64>(), any::<u32>()), 0..40),
        talks in vec((0..9_u32, 0..5_u16), 0..60),
    ) {
        let mut known = Heads::default();
        for (id, (seq, version)) in &heads {
            known.set(id, Head { seq: *seq, version: *version });
        }
        let found = decode_heads(&encode_heads(&known)).unwrap();
        prop_assert_eq!(found.count(), heads.len());
        for (id, (seq, version)) in &heads {
            prop_assert_eq!(found.get(id), Some(Head { seq: *seq, version: *version }));
        }
        let mut talks: Vec<_> =
            talks.into_iter().map(|(fingerprint, block)| Conversation { fingerprint, block }).collect();
        talks.sort_unstable();
        let bytes = encode_conversations(&talks);
        for fingerprint in 0..10 {
            let expected: Vec<u16> =
                talks.iter().filter(|one| one.fingerprint == fingerprint).map(|one| one.block).collect();
            prop_assert_eq!(blocks_of(&bytes, fingerprint), expected);
        }
    }
}

#[test]
fn the_fingerprint_of_the_page_is_the_first_four_bytes_of_blake3() {
    // BLAKE3 of "abc" begins 64 37 b3 ac (the test vectors of its authors).
    assert_eq!(format::sealed::index::fingerprint("abc"), u32::from_le_bytes([0x64, 0x37, 0xb3, 0xac]));
}
