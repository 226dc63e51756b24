//! The worked examples of docs/format.md: made by the code, shown by the page, decoded from it field by field.

use std::fmt::Write;

use _core::{
    config,
    format::{
        Codec, Fixed, INLINE, IdView, Kind, Names, NewEvent, RecordPlan, RecordView, SchemaCheck,
        segment::{HEADER_BYTES, SegmentHeader},
    },
};

use crate::{
    document::{EVENT_ID, IDENTITY, LOG_ID},
    page::{Layout, Page, hex, hex_block},
};

/// One example as the page must show it: the block, then one row a field.
fn example(bytes: &[u8], fields: &[(usize, &str, String)]) -> String {
    let mut text = hex_block(bytes) + "\n| offset | bytes | field | value |\n| --- | --- | --- | --- |\n";
    let mut offset = 0;
    for (size, name, value) in fields {
        writeln!(text, "| {offset} | `{}` | {name} | {value} |", hex(&bytes[offset..offset + size])).unwrap();
        offset += size;
    }
    assert_eq!(offset, bytes.len(), "the fields cover the example");
    text
}

#[test]
fn the_worked_segment_header_decodes() {
    let page = Page::read();
    let header = SegmentHeader {
        log_id: LOG_ID,
        number: 7,
        epoch: 3,
        file_bytes: config::FIRST_SEGMENT_BYTES,
        created_ns: 1_723_161_000_000_000_000,
    };
    let layout = page.layout("Segment header");
    let bytes = header.encode();
    let fields: Vec<_> = layout
        .0
        .iter()
        .map(|field| {
            let number = || layout.integer(&bytes, &field.name).to_string();
            let value = match field.name.as_str() {
                "magic" => "`AresSeg` and a zero byte".to_owned(),
                "log_id" => uuid::Uuid::from_bytes(LOG_ID).to_string(),
                "checksum" => "of bytes 0 to 124".to_owned(),
                "unused" => String::new(),
                _ => number(),
            };
            (field.bytes, field.name.as_str(), value)
        })
        .collect();
    let shown = example(&bytes, &fields);
    let heading = "A segment header, byte by byte";
    assert!(page.section(heading).contains(&shown), "docs/format.md must show\n{shown}");
    let bytes: [u8; HEADER_BYTES] = page.hex(heading).try_into().unwrap();
    assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
}

#[test]
fn the_worked_record_decodes() {
    let page = Page::read();
    let dictionary: Names = ["trade_executed", "exchange", "venue"].into_iter().collect();
    let number_of = |text: &str| {
        dictionary.iter().zip(0..).find(|(known, _)| *known == text).map_or(INLINE, |(_, number)| number)
    };
    let event = NewEvent {
        aggregate_id: Some("order-17"),
        source: "exchange",
        tags: &[("venue", "spot")],
        ..NewEvent::new("trade_executed", br#"{"price":61250.5}"#, Codec::Json)
    };
    let plan = RecordPlan::new(&event, IdView::of(EVENT_ID), &number_of);
    let mut bytes = vec![0; plan.record_bytes()];
    let word = plan.encode(&mut bytes, &IDENTITY, &number_of);
    bytes[..4].copy_from_slice(&word.to_le_bytes());

    let heading = "A record, byte by byte";
    let layout = page.layout("Fixed part");
    let fields = worked_fields(&layout, &bytes);
    let shown = example(&bytes, &fields);
    assert!(page.section(heading).contains(&shown), "docs/format.md must show\n{shown}");
    let named = page.table("Variable part of an event");
    let named = named.iter().map(|row| row[0].as_str());
    let worked: Vec<_> = fields[layout.0.len()..].iter().map(|(_, name, _)| *name).collect();
    let in_order: Vec<_> = named.filter(|name| worked.contains(name)).collect();
    let parts: Vec<_> = worked.into_iter().filter(|name| !name.starts_with("tag ")).collect();
    assert_eq!(parts, in_order);

    let shown = page.hex(heading);
    let fixed = Fixed::check(&shown, IDENTITY.epoch).unwrap();
    let view = RecordView::parse(&shown, fixed, &dictionary).unwrap();
    assert_eq!((fixed.kind, fixed.length, view.seq()), (Kind::Event, 112, 42));
    assert_eq!((fixed.ts_ns, fixed.aggregate_prev), (IDENTITY.ts_ns, Some(40)));
    assert_eq!((view.event_type, view.source), (event.event_type, event.source));
    assert_eq!((view.event_id.to_string().as_str(), view.is_caller_id), (EVENT_ID, false));
    assert_eq!((view.aggregate_id, view.aggregate_version()), (Some(IdView::Text("order-17")), Some(2)));
    assert_eq!((view.correlation_id, view.causation_id), (None, None));
    assert_eq!((view.schema_version, view.event_time_ns), (None, None));
    assert_eq!(view.tags().collect::<Vec<_>>(), event.tags);
    assert_eq!((view.payload, view.codec), (event.payload, Codec::Json));
    assert_eq!((view.lossy, view.schema), (false, SchemaCheck::Unchecked));
}

fn worked_fields<'n>(fixed: &'n Layout, bytes: &[u8]) -> Vec<(usize, &'n str, String)> {
    let mut fields: Vec<(usize, &str, String)> = Vec::new();
    for field in &fixed.0 {
        let value = match field.name.as_str() {
            "commit" => format!("kind 1 (event), {} bytes", bytes.len()),
            "checksum" => "seeded with epoch 3".to_owned(),
            "event_type" => "0 = `trade_executed`".to_owned(),
            "codec" => "1: JSON written by us".to_owned(),
            "forms" => "event id UUID, aggregate id text, no others".to_owned(),
            "flags" => "bits 0 and 3: source, tags".to_owned(),
            name => fixed.integer(bytes, name).to_string(),
        };
        fields.push((field.bytes, &field.name, value));
    }
    let parts = [
        (16, "event id", EVENT_ID),
        (2 + 8, "aggregate id", "8 bytes, `order-17`"),
        (4, "source", "1 = `exchange`"),
        (2, "tags", "1"),
        (4, "tag key", "2 = `venue`"),
        (2 + 4, "tag value", "4 bytes, `spot`"),
        (17, "payload", "`{\"price\":61250.5}`"),
        (5, "padding", "to 112 bytes"),
    ];
    fields.extend(parts.map(|(size, name, value)| (size, name, value.to_owned())));
    fields
}
