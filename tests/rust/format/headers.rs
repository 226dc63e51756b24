//! META, segment headers, entries, watermarks and blobs: what was encoded comes back, and nothing else passes for them.

use _core::format::{
    blob::Blob,
    meta::{META_BYTES, Mark, Meta},
    segment::{
        ENTRY_BYTES, Entry, HEADER_BYTES, HeaderFault, SegmentHeader, WATERMARK_BYTES, Watermark,
        watermark_offset,
    },
};
use proptest::{array::uniform, collection::vec, option, prelude::*};

use crate::{allocation::allocating_nothing, cases, support::forge::reseal_last};

fn mark() -> impl Strategy<Value = Mark> {
    let parts = (1..u64::MAX, any::<u64>(), any::<u64>());
    parts.prop_map(|(segment, offset, next_seq)| Mark { segment, offset, next_seq })
}

fn meta() -> impl Strategy<Value = Meta> {
    let parts = (
        any::<[u8; 16]>(),
        any::<[u64; 5]>(),
        any::<u32>(),
        option::of(mark()),
        option::of(mark()),
        any::<i64>(),
    );
    parts.prop_map(|(log_id, numbers, epoch, clean, cut, created_ns)| {
        let [generation, first_seq, first_segment, newest_segment, highest_segment] = numbers;
        Meta {
            log_id,
            generation,
            first_seq,
            first_segment,
            newest_segment,
            highest_segment,
            epoch,
            clean,
            cut,
            created_ns,
        }
    })
}

fn header() -> impl Strategy<Value = SegmentHeader> {
    let parts = (any::<[u8; 16]>(), any::<u64>(), any::<u32>(), any::<u64>(), any::<i64>());
    parts.prop_map(|(log_id, number, epoch, file_bytes, created_ns)| SegmentHeader {
        log_id,
        number,
        epoch,
        file_bytes,
        created_ns,
    })
}

fn entry() -> impl Strategy<Value = Entry> {
    let parts = (any::<u64>(), any::<i64>(), any::<u64>(), any::<u64>());
    parts.prop_map(|(first_seq, entered_ns, prev_segment, prev_end)| Entry {
        first_seq,
        entered_ns,
        prev_segment,
        prev_end,
    })
}

fn watermark() -> impl Strategy<Value = Watermark> {
    let parts = (any::<u64>(), any::<u32>(), any::<u64>(), option::of(0..u64::MAX), any::<u64>());
    parts.prop_map(|(generation, epoch, segment, durable_seq, durable_offset)| Watermark {
        generation,
        epoch,
        segment,
        durable_seq,
        durable_offset,
    })
}

/// Hands `check` the bytes once for each bit, with that bit flipped.
fn each_flip<const N: usize>(bytes: [u8; N], check: impl Fn(usize, &[u8; N])) {
    for bit in 0..N * 8 {
        let mut flipped = bytes;
        flipped[bit / 8] ^= 1 << (bit % 8);
        check(bit, &flipped);
    }
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn meta_comes_back_and_any_flipped_bit_is_noticed(meta in meta()) {
        let bytes = meta.encode();
        prop_assert_eq!(allocating_nothing(|| Meta::decode(&bytes)), Ok(meta));
        each_flip(bytes, |bit, flipped| assert!(Meta::decode(flipped).is_err(), "bit {bit}"));
    }

    #[test]
    fn a_header_comes_back_and_any_flipped_bit_is_noticed(header in header()) {
        let bytes = header.encode();
        prop_assert_eq!(allocating_nothing(|| SegmentHeader::decode(&bytes)), Ok(header));
        each_flip(bytes, |bit, flipped| assert!(SegmentHeader::decode(flipped).is_err(), "bit {bit}"));
    }

    #[test]
    fn an_entry_comes_back_and_any_flipped_bit_is_noticed(entry in entry(), epoch: u32, other: u32) {
        let bytes = entry.encode(epoch);
        prop_assert_eq!(allocating_nothing(|| Entry::decode(&bytes, epoch)), Ok(Some(entry)));
        each_flip(bytes, |bit, flipped| assert!(Entry::decode(flipped, epoch).is_err(), "bit {bit}"));
        prop_assert!(other == epoch || Entry::decode(&bytes, other).is_err());
    }

    #[test]
    fn a_watermark_comes_back_and_any_flipped_bit_is_noticed(watermark in watermark()) {
        let bytes = watermark.encode();
        prop_assert_eq!(allocating_nothing(|| Watermark::decode(&bytes)), Some(watermark));
        each_flip(bytes, |bit, flipped| assert!(Watermark::decode(flipped).is_none(), "bit {bit}"));
    }

    #[test]
    fn a_blob_comes_back_and_any_flipped_bit_or_lost_byte_is_noticed(
        log_id: [u8; 16], seq: u64, key in "\\PC{0,40}", payload in vec(any::<u8>(), 0..200),
    ) {
        let blob = Blob { log_id, seq, key: &key, payload: &payload };
        let mut bytes = blob.encode();
        prop_assert_eq!(allocating_nothing(|| Blob::decode(&bytes)), Some(blob));
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Blob::decode(&bytes).is_none(), "bit {}", bit);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        for kept in 0..bytes.len() {
            prop_assert!(Blob::decode(&bytes[..kept]).is_none(), "cut at {}", kept);
        }
    }
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn noise_is_none_of_them(bytes in vec(any::<u8>(), META_BYTES), epoch: u32) {
        prop_assert!(Meta::decode(bytes.first_chunk().unwrap()).is_err());
        prop_assert!(SegmentHeader::decode(bytes.first_chunk().unwrap()).is_err());
        prop_assert!(Entry::decode(bytes.first_chunk().unwrap(), epoch).is_err());
        prop_assert!(Watermark::decode(bytes.first_chunk().unwrap()).is_none());
        prop_assert!(Blob::decode(&bytes).is_none());
    }

    /// With a checksum that fits, any content decodes to itself or is refused; nothing panics, nothing is allocated.
    #[test]
    fn forged_ones_are_decoded_or_refused(
        meta in meta(), header in header(), mark in watermark(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        fn forge<const N: usize>(mut bytes: [u8; N], changes: &[(prop::sample::Index, u8)]) -> [u8; N] {
            for (at, byte) in changes {
                bytes[at.index(N)] = *byte;
            }
            reseal_last(&mut bytes);
            bytes
        }
        let meta: [u8; META_BYTES] = forge(meta.encode(), &changes);
        let header: [u8; HEADER_BYTES] = forge(header.encode(), &changes);
        let mark: [u8; WATERMARK_BYTES] = forge(mark.encode(), &changes);
        let _decoded = allocating_nothing(|| Meta::decode(&meta).is_ok());
        let _decoded = allocating_nothing(|| SegmentHeader::decode(&header).is_ok());
        let _decoded = allocating_nothing(|| Watermark::decode(&mark).is_some());
    }

    /// The lengths in a blob's header are the file's word, not the truth.
    #[test]
    fn a_blob_of_forged_lengths_is_absent(key_bytes: u64, payload_bytes: u64, content in vec(any::<u8>(), 0..100)) {
        prop_assume!(key_bytes.checked_add(payload_bytes) != Some(content.len() as u64));
        let mut bytes = Blob { log_id: [1; 16], seq: 0, key: "", payload: &content }.encode();
        bytes[40..48].copy_from_slice(&key_bytes.to_le_bytes());
        bytes[48..56].copy_from_slice(&payload_bytes.to_le_bytes());
        bytes[12..16].fill(0);
        let sum = _core::format::checksum(&bytes).to_le_bytes();
        bytes[12..16].copy_from_slice(&sum);
        prop_assert!(allocating_nothing(|| Blob::decode(&bytes)).is_none());
    }

    #[test]
    fn only_zero_is_an_entry_not_made(word in prop_oneof![Just(0), any::<u32>()], rest in uniform::<_, 60>(any::<u8>())) {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..4].copy_from_slice(&word.to_le_bytes());
        bytes[4..].copy_from_slice(&rest);
        prop_assert_eq!(Entry::decode(&bytes, 1) == Ok(None), word == 0);
    }
}

#[test]
fn another_version_and_unknown_features_are_named() {
    let meta = Meta {
        log_id: [7; 16],
        generation: 1,
        first_seq: 0,
        first_segment: 1,
        newest_segment: 1,
        highest_segment: 1,
        epoch: 1,
        clean: None,
        cut: None,
        created_ns: 0,
    };
    let header = SegmentHeader { log_id: [7; 16], number: 1, epoch: 1, file_bytes: 65_536, created_ns: 0 };
    for version in [0, 2, u32::MAX] {
        let (mut meta, mut header) = (meta.encode(), header.encode());
        meta[8..12].copy_from_slice(&version.to_le_bytes());
        header[8..12].copy_from_slice(&version.to_le_bytes());
        // Even where the checksum does not fit: another version may keep it elsewhere.
        assert_eq!(Meta::decode(&meta), Err(HeaderFault::Version(version)));
        assert_eq!(SegmentHeader::decode(&header), Err(HeaderFault::Version(version)));
    }
    for bit in 0..64 {
        let (mut strange_meta, mut strange_header) = (meta.encode(), header.encode());
        strange_meta[32..40].copy_from_slice(&(1_u64 << bit).to_le_bytes());
        strange_header[32..40].copy_from_slice(&(1_u64 << bit).to_le_bytes());
        reseal_last(&mut strange_meta);
        reseal_last(&mut strange_header);
        assert_eq!(Meta::decode(&strange_meta), Err(HeaderFault::Features(1 << bit)));
        assert_eq!(SegmentHeader::decode(&strange_header), Err(HeaderFault::Features(1 << bit)));
        let (mut compatible_meta, mut compatible_header) = (meta.encode(), header.encode());
        compatible_meta[40..48].copy_from_slice(&(1_u64 << bit).to_le_bytes());
        compatible_header[40..48].copy_from_slice(&(1_u64 << bit).to_le_bytes());
        reseal_last(&mut compatible_meta);
        reseal_last(&mut compatible_header);
        assert_eq!(Meta::decode(&compatible_meta), Ok(meta));
        assert_eq!(SegmentHeader::decode(&compatible_header), Ok(header));
    }
}

/// Under a checksum that fits, too: another build may have written it.
#[test]
fn a_blob_of_another_kind_or_version_is_absent() {
    for (offset, is_fine) in [(0, false), (7, false), (8, false), (11, false), (60, true)] {
        let mut bytes = Blob { log_id: [1; 16], seq: 0, key: "k", payload: b"p" }.encode();
        bytes[offset] ^= 1;
        bytes[12..16].fill(0);
        let sum = _core::format::checksum(&bytes).to_le_bytes();
        bytes[12..16].copy_from_slice(&sum);
        assert_eq!(Blob::decode(&bytes).is_some(), is_fine, "byte {offset}");
    }
}

#[test]
fn watermarks_take_turns() {
    assert_eq!([0, 1, 2, 3].map(watermark_offset), [4096, 8192, 4096, 8192]);
}
