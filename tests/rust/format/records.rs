//! Records: what was encoded comes back, and nothing else passes for a record.

use _core::format::{
    Codec, Fixed, INLINE, Identity, Kind, Names, NewEvent, RecordFault, RecordView, SchemaCheck,
    dictionary_record, dictionary_record_bytes, dictionary_text, split_commit_word,
};
use proptest::{collection::vec, option, prelude::*};

use crate::{
    allocation::allocating_nothing,
    cases,
    given::{Given, given, small},
    support::forge::{event, reseal},
};

/// What a reader makes of the bytes at a place where a record may begin.
fn read(bytes: &[u8], epoch: u32) -> Result<Option<Fixed>, RecordFault> {
    let word = u32::from_le_bytes(bytes[..4].try_into().unwrap());
    if word == 0 {
        return Ok(None);
    }
    let (_, length) = split_commit_word(word);
    let record = bytes.get(..length).ok_or(RecordFault::Length(length))?;
    allocating_nothing(|| Fixed::check(record, epoch)).map(Some)
}

fn assert_round_trip(given: &Given) {
    let (record, names) = given.encode();
    let fixed = read(&record, given.identity.epoch).unwrap().unwrap();
    assert_eq!((fixed.kind, fixed.length), (Kind::Event, record.len()));
    given.assert_is(&allocating_nothing(|| RecordView::parse(&record, fixed, &names)).unwrap());
}

/// Every length at its limit, every text inline.
fn largest() -> Given {
    let text = |sign: &str, bytes: usize| sign.repeat(bytes / sign.len()) + &"x".repeat(bytes % sign.len());
    Given {
        event_type: text("é", 255),
        event_id: text("日", 1024),
        is_caller_id: true,
        ids: [Some(text("a", 1024)), Some(text("🦀", 1024)), Some(text("c", 1024))],
        source: text("s", 255),
        schema_version: Some(text("1", 255)),
        event_time_ns: Some(i64::MIN),
        tags: (0..1024).map(|number| (format!("{number:0255}"), text("v", 65_535))).collect(),
        payload: vec![0xFF; 1_000_001],
        codec: Codec::Bytes,
        lossy: true,
        schema: SchemaCheck::Breach,
        identity: Identity {
            seq: u64::MAX - 1,
            ts_ns: i64::MAX,
            aggregate_prev: Some(u64::MAX - 2),
            aggregate_version: u32::MAX,
            epoch: u32::MAX,
        },
        numbered: 0,
    }
}

#[test]
fn the_largest_and_the_smallest_event_come_back() {
    let largest = largest();
    assert_round_trip(&largest);
    assert_round_trip(&Given { numbered: u64::MAX, ..largest });
    let smallest = Given {
        event_type: "t".to_owned(),
        event_id: "i".to_owned(),
        is_caller_id: false,
        ids: [None, None, None],
        source: String::new(),
        schema_version: None,
        event_time_ns: None,
        tags: Vec::new(),
        payload: Vec::new(),
        codec: Codec::Json,
        lossy: false,
        schema: SchemaCheck::Unchecked,
        identity: Identity { seq: 0, ts_ns: 0, aggregate_prev: None, aggregate_version: 0, epoch: 0 },
        numbered: 0,
    };
    assert_round_trip(&smallest);
    assert_round_trip(&Given {
        schema_version: Some(String::new()),
        ids: [None, None, Some(String::new())],
        ..smallest
    });
}

/// Whether decoded texts keep the format's limits; those from the dictionary are the dictionary's own business.
fn assert_within_limits(view: &RecordView<'_>) {
    let ids = [Some(view.event_id), view.aggregate_id, view.correlation_id, view.causation_id];
    assert!(ids.iter().flatten().all(|id| id.to_string().len() <= 1024));
    let names = [view.event_type, view.source, view.schema_version.unwrap_or("")];
    assert!(names.iter().all(|name| name.len() <= 255));
    assert!(view.tags().count() <= 1024 && view.tags().all(|(key, _)| key.len() <= 255));
}

fn any_fixed() -> impl Strategy<Value = Fixed> {
    let kind = prop_oneof![
        Just(Kind::Event),
        Just(Kind::BatchHead),
        Just(Kind::End),
        Just(Kind::Dictionary),
        (8..16_u8).prop_map(Kind::Ignorable),
    ];
    let number = prop_oneof![Just(INLINE), Just(0), any::<u32>()];
    let parts =
        (kind, any::<usize>(), any::<u64>(), any::<i64>(), option::of(any::<u64>()), any::<u32>(), number);
    parts.prop_map(|(kind, length, seq, ts_ns, aggregate_prev, aggregate_version, number)| Fixed {
        kind,
        length,
        seq,
        ts_ns,
        aggregate_prev,
        aggregate_version,
        number,
    })
}

fn some_names() -> Names {
    ["trade_executed", "exchange", "", "venue"].into_iter().collect()
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn every_event_comes_back(given in given()) {
        assert_round_trip(&given);
    }

    #[test]
    fn another_epoch_is_refused(given in given(), epoch: u32) {
        let (record, _) = given.encode();
        prop_assume!(epoch != given.identity.epoch);
        prop_assert_eq!(Fixed::check(&record, epoch), Err(RecordFault::Checksum));
    }

    #[test]
    fn a_record_cut_off_anywhere_is_refused(given in small(), kept: prop::sample::Index) {
        let (record, names) = given.encode();
        let cut = &record[..kept.index(record.len())];
        prop_assert!(matches!(Fixed::check(cut, given.identity.epoch), Err(RecordFault::Length(_))));
        // The walk would not ask, yet a parser must not care: without its payload it is no event.
        let fixed = Fixed::check(&record, given.identity.epoch).unwrap();
        let parsed = allocating_nothing(|| RecordView::parse(cut, fixed, &names));
        prop_assert!(parsed.is_err() || record.len() - cut.len() < 8);
    }

    #[test]
    fn noise_is_no_record(mut bytes in vec(any::<u8>(), 48..400), kind in 0..16_u8, epoch: u32, is_length_right: bool) {
        bytes.truncate(bytes.len() / 8 * 8);
        if is_length_right {
            let word = (u32::from(kind) << 28) | u32::try_from(bytes.len()).unwrap();
            bytes[..4].copy_from_slice(&word.to_le_bytes());
        }
        prop_assert!(!matches!(read(&bytes, epoch), Ok(Some(_))));
        prop_assert!(Fixed::check(&bytes, epoch).is_err());
    }

    /// A good checksum is no authentication: what is forged may be nonsense, but is bounded nonsense.
    #[test]
    fn a_forged_record_decodes_within_limits_or_not_at_all(
        given in small(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let (mut record, names) = given.encode();
        for (at, byte) in changes {
            let at = 16 + at.index(record.len() - 16);
            record[at] = byte;
        }
        reseal(&mut record, given.identity.epoch);
        let fixed = Fixed::check(&record, given.identity.epoch).unwrap();
        if let Ok(view) = allocating_nothing(|| RecordView::parse(&record, fixed, &names)) {
            assert_within_limits(&view);
        }
        let _nonsense = allocating_nothing(|| dictionary_text(&record).is_ok());
    }

    #[test]
    fn any_bytes_under_any_fixed_part_decode_within_limits_or_not_at_all(
        bytes in vec(any::<u8>(), 0..300),
        fixed in any_fixed(),
    ) {
        let names = some_names();
        if let Ok(view) = allocating_nothing(|| RecordView::parse(&bytes, fixed, &names)) {
            assert_within_limits(&view);
        }
        let _nonsense = allocating_nothing(|| dictionary_text(&bytes).is_ok());
        let _nonsense = allocating_nothing(|| Fixed::check(&bytes, 1).is_ok());
    }

    #[test]
    fn a_dictionary_text_comes_back(text in "\\PC{0,16}", number: u32, seq in 0..u64::MAX, epoch: u32) {
        let mut record = vec![0xAA; dictionary_record_bytes(&text)];
        let identity = Identity { seq, ts_ns: -1, aggregate_prev: None, aggregate_version: 0, epoch };
        let word = dictionary_record(&mut record, &identity, number, &text);
        record[..4].copy_from_slice(&word.to_le_bytes());
        let fixed = read(&record, epoch).unwrap().unwrap();
        prop_assert_eq!((fixed.kind, fixed.seq, fixed.number), (Kind::Dictionary, seq, number));
        prop_assert_eq!(dictionary_text(&record), Ok(text.as_str()));
    }
}

/// A dictionary record is as long as its text needs, and its text no longer than the limit.
#[test]
fn a_loose_or_long_dictionary_text_is_refused() {
    for (length, is_fine) in [(3, true), (64, true), (65, false), (200, false)] {
        let text = "n".repeat(length);
        let mut record = vec![0; dictionary_record_bytes(&text)];
        let identity = Identity { seq: 1, ts_ns: 1, aggregate_prev: None, aggregate_version: 0, epoch: 1 };
        dictionary_record(&mut record, &identity, 0, &text);
        assert_eq!(dictionary_text(&record).is_ok(), is_fine, "{length} bytes");
        record.extend([0; 8]);
        assert!(dictionary_text(&record).is_err(), "{length} bytes and eight to spare");
    }
}

proptest! {
    #![proptest_config(cases(64))]

    /// In the commit word too: whatever length or kind it then names, the checksum covers both.
    #[test]
    fn any_flipped_bit_is_noticed(given in small(), behind in vec(any::<u8>(), 0..600)) {
        let (record, _) = given.encode();
        let mut bytes = [record.as_slice(), &behind].concat();
        for bit in 0..record.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(read(&bytes, given.identity.epoch).is_err(), "bit {}", bit);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        prop_assert!(read(&bytes, given.identity.epoch).is_ok());
    }
}

/// A forger may seal any length; a record begins and ends on a boundary of eight, and has its fixed part.
#[test]
fn a_sealed_record_of_an_impossible_length_is_refused() {
    for bytes in 8..200 {
        let mut record = vec![0; bytes];
        let word = (1 << 28) | u32::try_from(bytes).unwrap();
        record[..4].copy_from_slice(&word.to_le_bytes());
        reseal(&mut record, 1);
        let is_possible = bytes >= 48 && bytes % 8 == 0;
        let expected = if is_possible { None } else { Some(RecordFault::Length(bytes)) };
        assert_eq!(Fixed::check(&record, 1).err(), expected, "{bytes} bytes");
    }
}

/// An event fills its record: behind it stand zeros, fewer than eight; and it has a type.
#[test]
fn a_sealed_event_that_is_loose_or_has_no_type_is_refused() {
    let identity = Identity { seq: 1, ts_ns: 1, aggregate_prev: None, aggregate_version: 0, epoch: 1 };
    let names = Names::default();
    let parse = |record: &[u8]| RecordView::parse(record, Fixed::check(record, 1).unwrap(), &names).is_ok();
    let sealed = |event_type: &str, padding: &[u8]| {
        // Without padding of its own: 48 fixed, 2 + 2 of the id, 2 of the type's length.
        let payload = vec![b'p'; 8 - (48 + 4 + 2 + event_type.len()) % 8];
        let mut record = event(&NewEvent::new(event_type, &payload, Codec::Bytes), "id", &identity);
        record.extend(padding);
        let word = (1 << 28) | u32::try_from(record.len()).unwrap();
        record[..4].copy_from_slice(&word.to_le_bytes());
        reseal(&mut record, 1);
        record
    };
    assert!(parse(&sealed("t", &[])));
    assert!(!parse(&sealed("t", &[0; 8])), "eight zeros too many");
    assert!(!parse(&sealed("", &[])), "an event without a type");
    let mut padded = event(&NewEvent::new("t", b"", Codec::Bytes), "id", &identity);
    assert!(parse(&padded));
    *padded.last_mut().unwrap() = 1;
    reseal(&mut padded, 1);
    assert!(!parse(&padded), "padding that is not zero");
}

/// The flag of tags and their number say the same, and there are no more than the limit.
#[test]
fn a_sealed_event_without_the_tags_it_announces_or_with_too_many_is_refused() {
    let identity = Identity { seq: 1, ts_ns: 1, aggregate_prev: None, aggregate_version: 0, epoch: 1 };
    let names = Names::default();
    let parse = |record: &[u8]| RecordView::parse(record, Fixed::check(record, 1).unwrap(), &names).is_ok();
    for (count, is_fine) in [(1, true), (1024, true), (1025, false)] {
        let tags = vec![("k", "v"); count];
        let record =
            event(&NewEvent { tags: &tags, ..NewEvent::new("t", b"p", Codec::Bytes) }, "id", &identity);
        assert_eq!(parse(&record), is_fine, "{count} tags");
    }
    // Two zeros of the payload become the number of tags.
    let mut record = event(&NewEvent::new("t", b"\0\0p", Codec::Bytes), "id", &identity);
    assert!(parse(&record));
    (record[42], record[44]) = (record[42] | 1 << 3, 1);
    reseal(&mut record, 1);
    assert!(!parse(&record), "tags announced, none there");
}
