//! docs/format.md against the code: every byte table, every code, flag and limit.

use _core::{
    config,
    format::{
        self, Codec, INLINE, Identity, Kind, NewEvent, SchemaCheck,
        blob::Blob,
        commit_word,
        meta::{self, Mark, Meta},
        names,
        segment::{self, Entry, SegmentHeader, Watermark},
        split_commit_word,
    },
};

use crate::{
    page::{Layout, Page, number},
    support::forge,
};

pub const IDENTITY: Identity = Identity {
    seq: 42,
    ts_ns: 1_723_161_255_123_456_789,
    aggregate_prev: Some(40),
    aggregate_version: 2,
    epoch: 3,
};
pub const LOG_ID: [u8; 16] = *b"\x5c\x0e\x8a\x11\x9b\x3f\x4d\x52\x8e\x67\x01\x23\x45\x67\x89\xab";
pub const EVENT_ID: &str = "0191348f-8d93-7c21-9b04-6d1f2a3b4c5d";

/// Holds each field of a structure's table against the bytes that the code wrote; together they cover them all.
pub fn assert_fields(layout: &Layout, bytes: &[u8], expected: &[(&str, &[u8])]) {
    assert_eq!(layout.bytes(), bytes.len());
    for (field, (name, value)) in layout.0.iter().zip(expected) {
        assert_eq!(field.name, *name);
        let found = layout.slice(bytes, name);
        assert_eq!(found[..value.len()], **value, "{name}");
        assert!(found[value.len()..].iter().all(|byte| *byte == 0), "{name}");
    }
    assert_eq!(layout.0.len(), expected.len());
}

#[test]
fn the_table_of_meta_is_true() {
    let meta = Meta {
        log_id: LOG_ID,
        generation: 10,
        first_seq: 11,
        first_segment: 12,
        newest_segment: 13,
        highest_segment: 14,
        epoch: 15,
        clean: Some(Mark { segment: 16, offset: 17, next_seq: 18 }),
        cut: Some(Mark { segment: 19, offset: 20, next_seq: 21 }),
        created_ns: 22,
    };
    let bytes = meta.encode();
    let sum = format::checksum(&bytes[..252]).to_le_bytes();
    let numbered = [
        "generation",
        "first_seq",
        "first_segment",
        "newest_segment",
        "highest_segment",
        "epoch",
        "is_clean",
        "clean_segment",
        "clean_offset",
        "clean_next_seq",
        "cut_segment",
        "cut_offset",
        "cut_next_seq",
        "created_ns",
    ];
    let values = [10, 11, 12, 13, 14, 15, 1, 16, 17, 18, 19, 20, 21, 22_u8].map(|value| [value]);
    let mut expected: Vec<(&str, &[u8])> = vec![
        ("magic", b"AresMeta"),
        ("version", &[1]),
        ("reserved", &[]),
        ("log_id", &LOG_ID),
        ("incompatible", &[]),
        ("compatible", &[]),
    ];
    expected.extend(numbered.into_iter().zip(values.iter().map(<[u8; 1]>::as_slice)));
    expected.extend([("unused", &[][..]), ("checksum", &sum)]);
    assert_fields(&Page::read().layout("META copy"), &bytes, &expected);
}

#[test]
fn the_tables_of_a_segments_first_pages_are_true() {
    let page = Page::read();
    let header = SegmentHeader { log_id: LOG_ID, number: 7, epoch: 3, file_bytes: 200, created_ns: 99 };
    let bytes = header.encode();
    let sum = format::checksum(&bytes[..124]).to_le_bytes();
    let expected: [(&str, &[u8]); 11] = [
        ("magic", b"AresSeg\0"),
        ("version", &[1]),
        ("epoch", &[3]),
        ("log_id", &LOG_ID),
        ("incompatible", &[]),
        ("compatible", &[]),
        ("number", &[7]),
        ("file_bytes", &[200]),
        ("created_ns", &[99]),
        ("unused", &[]),
        ("checksum", &sum),
    ];
    assert_fields(&page.layout("Segment header"), &bytes, &expected);

    let bytes = Entry { first_seq: 4, entered_ns: 5, prev_segment: 6, prev_end: 7 }.encode(3);
    let entered = 0x5EAC_ED17_u32;
    assert!(page.section("Entry").contains("0x5EACED17"));
    let sum = format::record_checksum(3, entered, &bytes[8..]).to_le_bytes();
    let entered = entered.to_le_bytes();
    let expected: [(&str, &[u8]); 7] = [
        ("commit", &entered),
        ("checksum", &sum),
        ("first_seq", &[4]),
        ("entered_ns", &[5]),
        ("prev_segment", &[6]),
        ("prev_end", &[7]),
        ("unused", &[]),
    ];
    assert_fields(&page.layout("Entry"), &bytes, &expected);

    let mark = Watermark { generation: 8, epoch: 3, segment: 7, durable_seq: Some(9), durable_offset: 10 };
    let bytes = mark.encode();
    let sum = format::checksum(&bytes[..60]).to_le_bytes();
    let expected: [(&str, &[u8]); 9] = [
        ("magic", b"AresWmk\0"),
        ("generation", &[8]),
        ("epoch", &[3]),
        ("reserved", &[]),
        ("durable_seq", &[9]),
        ("durable_offset", &[10]),
        ("segment", &[7]),
        ("unused", &[]),
        ("checksum", &sum),
    ];
    assert_fields(&page.layout("Watermark"), &bytes, &expected);
    let none = Watermark { durable_seq: None, ..mark }.encode();
    assert_eq!(page.layout("Watermark").integer(&none, "durable_seq"), u64::MAX);

    let places: Vec<_> = page.table("Segment").iter().map(|row| number(&row[0])).collect();
    let [even, odd] = [2, 3].map(segment::watermark_offset);
    assert_eq!(places, [0, even, odd, segment::RECORDS_OFFSET]);
}

#[test]
fn the_table_of_a_blob_is_true() {
    let blob = Blob { log_id: LOG_ID, seq: 5, key: "order-17", payload: b"state" };
    let mut bytes = blob.encode();
    let sum: [u8; 4] = bytes[12..16].try_into().unwrap();
    let expected: [(&str, &[u8]); 8] = [
        ("magic", b"AresBlob"),
        ("version", &[1]),
        ("checksum", &sum),
        ("log_id", &LOG_ID),
        ("seq", &[5]),
        ("key_bytes", &[8]),
        ("payload_bytes", &[5]),
        ("unused", &[]),
    ];
    let layout = Page::read().layout("Blob header");
    assert_fields(&layout, &bytes[..layout.bytes()], &expected);
    assert_eq!(&bytes[layout.bytes()..], b"order-17state");
    bytes[12..16].fill(0);
    assert_eq!(format::checksum(&bytes).to_le_bytes(), sum);
}

#[test]
fn checksum_and_hash_are_the_ones_named() {
    let page = Page::read();
    assert!(page.section("Checksum and hash").contains("0xE3069283"));
    assert_eq!(format::checksum(b"123456789"), 0xE306_9283);
    let rest = b"everything behind the checksum";
    let covered = [&3_u32.to_le_bytes()[..], &0x1000_0070_u32.to_le_bytes(), rest].concat();
    assert_eq!(format::record_checksum(3, 0x1000_0070, rest), format::checksum(&covered));
    let hash = blake3::hash(b"order-17").to_hex();
    assert_eq!(names::snapshot("order-17", 5), format!("{hash:.32}-0000000000000005.snap"));
    assert_eq!(names::segment(7), "0000000000000007.log");
    assert_eq!(names::quarantined_tail(7, 12_288, 0), "0000000000000007-12288.0.tail");
}

#[test]
fn kinds_codecs_flags_and_forms_are_the_ones_named() {
    let page = Page::read();
    let fixed = page.layout("Fixed part");
    assert_eq!(fixed.bytes(), format::RECORD_FIXED_BYTES);
    let codes = kinds(&page);
    for (name, kind) in [
        ("event", Kind::Event),
        ("batch head", Kind::BatchHead),
        ("end", Kind::End),
        ("dictionary", Kind::Dictionary),
        ("ignorable", Kind::Ignorable(8)),
    ] {
        let code = split_commit_word(commit_word(kind, 48)).0.to_string();
        assert!(
            codes.iter().any(|row| row.0 == name && row.1.split(' ').next() == Some(&code)),
            "{name} {code}"
        );
    }
    let plain = NewEvent::new("t", b"p", Codec::Json);
    let encode = |event: &NewEvent<'_>| forge::event(event, "id", &IDENTITY);
    for (row, codec) in page.table("Codecs").iter().zip([Codec::Json, Codec::JsonGiven, Codec::Bytes]) {
        let record = encode(&NewEvent { codec, ..plain });
        assert_eq!(fixed.integer(&record, "codec"), number(&row[0]) as u64, "{row:?}");
    }
    let flagged = [
        ("source", NewEvent { source: "s", ..plain }),
        ("schema version", NewEvent { schema_version: Some("v"), ..plain }),
        ("event time", NewEvent { event_time_ns: Some(1), ..plain }),
        ("tags", NewEvent { tags: &[("k", "v")], ..plain }),
        ("caller", NewEvent { event_id: Some("id"), ..plain }),
        ("lossy", NewEvent { lossy: true, ..plain }),
        ("checked", NewEvent { schema: SchemaCheck::Valid, ..plain }),
        ("stored all the same", NewEvent { schema: SchemaCheck::Breach, ..plain }),
    ];
    let rows = page.table("Flags");
    assert_eq!(rows.len(), flagged.len());
    for (row, (word, event)) in rows.iter().zip(&flagged) {
        assert!(row[1].contains(word), "{row:?}");
        let also = if *word == "stored all the same" { 1 << 6 } else { 0 };
        assert_eq!(fixed.integer(&encode(event), "flags"), also | (1 << number(&row[0])), "{row:?}");
    }
    let ids = NewEvent { aggregate_id: Some(EVENT_ID), causation_id: Some("text"), ..plain };
    let [absent, uuid, text] = [0, 1, 2].map(|row| number(&page.table("Forms of ids")[row][0]) as u64);
    let forms = text | (uuid << 2) | (absent << 4) | (text << 6);
    assert_eq!(fixed.integer(&encode(&ids), "forms"), forms);
}

/// Name and code of each kind in the second table under "Fixed part".
fn kinds(page: &Page) -> Vec<(String, String)> {
    let text = page.section("Fixed part").split("| kind | code |").nth(1).unwrap();
    let rows = text.lines().skip(2).take_while(|line| line.starts_with('|'));
    let cell = |line: &str, at: usize| line.split('|').nth(at).unwrap().trim().to_owned();
    rows.map(|line| (cell(line, 1), cell(line, 2))).collect()
}

#[test]
fn other_kinds_use_the_fixed_part_as_named() {
    let fixed = Page::read().layout("Fixed part");
    let mut end = vec![0; 48];
    format::end_record(&mut end, &IDENTITY, 8);
    let mut name = vec![0; format::dictionary_record_bytes("venue")];
    let nobody = Identity { aggregate_prev: None, aggregate_version: 0, ..IDENTITY };
    format::dictionary_record(&mut name, &nobody, 2, "venue");
    let none = (u64::MAX, u64::from(INLINE));
    for (record, prev, version, number, length) in
        [(forge::head(&IDENTITY, 96, 2), 96, 2, none.1, 0), (end, 8, 0, none.1, 0), (name, none.0, 0, 2, 5)]
    {
        let field = |name| fixed.integer(&record, name);
        assert_eq!((field("seq"), field("ts_ns")), (42, 1_723_161_255_123_456_789));
        assert_eq!((field("aggregate_prev"), field("aggregate_version")), (prev, version));
        assert_eq!((field("event_type"), field("payload_bytes")), (number, length));
        assert_eq!((field("codec"), field("forms"), field("flags")), (0, 0, 0));
    }
}

#[test]
fn limits_are_the_ones_named() {
    let narrow = |bytes: u64| usize::try_from(bytes).unwrap();
    let constants = [
        ("FORMAT_VERSION", usize::try_from(format::FORMAT_VERSION).unwrap()),
        ("RECORD_FIXED_BYTES", format::RECORD_FIXED_BYTES),
        ("RECORD_ALIGN", format::RECORD_ALIGN),
        ("MAX_TEXT_BYTES", format::MAX_TEXT_BYTES),
        ("MAX_ID_BYTES", format::MAX_ID_BYTES),
        ("MAX_TAGS", format::MAX_TAGS),
        ("MAX_TAG_VALUE_BYTES", format::MAX_TAG_VALUE_BYTES),
        ("MAX_DICTIONARY_ENTRIES", format::MAX_DICTIONARY_ENTRIES),
        ("MAX_DICTIONARY_TEXT_BYTES", format::MAX_DICTIONARY_TEXT_BYTES),
        ("PAGE_BYTES", segment::PAGE_BYTES),
        ("META_BYTES", meta::META_BYTES),
        ("META_FILE_BYTES", meta::META_FILE_BYTES),
        ("HEADER_BYTES", segment::HEADER_BYTES),
        ("ENTRY_OFFSET", segment::ENTRY_OFFSET),
        ("ENTRY_BYTES", segment::ENTRY_BYTES),
        ("WATERMARK_BYTES", segment::WATERMARK_BYTES),
        ("RECORDS_OFFSET", segment::RECORDS_OFFSET),
        ("FIRST_SEGMENT_BYTES", narrow(config::FIRST_SEGMENT_BYTES)),
        ("MIN_SEGMENT_BYTES", narrow(config::MIN_SEGMENT_BYTES)),
        ("MAX_SEGMENT_BYTES", narrow(config::MAX_SEGMENT_BYTES)),
    ];
    let rows = Page::read().table("Limits");
    let named: Vec<_> = rows.iter().map(|row| (row[0].as_str(), number(&row[1]))).collect();
    assert_eq!(named, constants);
    assert!(rows.iter().all(|row| !row[3].is_empty()), "a limit without a reason");
}
