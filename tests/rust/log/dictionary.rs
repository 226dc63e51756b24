//! Which texts get a number, and that those without one are counted and come back all the same (R4).

use _core::{
    config::{Options, Patience},
    format::{Codec, MAX_DICTIONARY_ENTRIES, NewEvent},
    scan::Query,
};

use crate::support::{Dir, open, read_all, small};

#[test]
fn texts_beyond_the_limit_of_a_dictionary_stand_inline() {
    let dir = Dir::new();
    let log = open(&dir, Options { segment_bytes: 1 << 22, ..small() });
    for number in 0..4200 {
        let event_type = format!("type-{number:04}");
        let event = NewEvent { tags: &[(&event_type, "v")], ..NewEvent::new(&event_type, b"1", Codec::Json) };
        log.append(&event, Patience::Wait).unwrap();
    }
    let events = read_all(&log, Query::default());
    for (event, number) in events.iter().zip(0..) {
        let view = event.view().unwrap();
        assert_eq!(view.event_type, format!("type-{number:04}"));
        assert_eq!(view.tags().next().unwrap().0, format!("type-{number:04}"));
    }
    assert_eq!((events.len(), log.stats().unwrap().segments.len()), (4200, 1));
    assert_eq!(events[4199].names.count(), MAX_DICTIONARY_ENTRIES);
    // Fixed part, id, payload; type and tag stand as numbers, or inline.
    let numbered = (48 + 16 + 1 + (2 + 4 + 2 + 1_usize)).next_multiple_of(8);
    let inline = (48 + 16 + 1 + (2 + 9) + (2 + 4 + 2 + 9 + 2 + 1_usize)).next_multiple_of(8);
    let bytes = |at: usize| events[at].bytes.len();
    assert_eq!([0, 4095, 4096, 4199].map(bytes), [numbered, numbered, inline, inline]);
}

#[test]
fn long_texts_stand_inline_and_are_counted_before_they_are_written() {
    let dir = Dir::new();
    let log = open(&dir, small());
    let text = "l".repeat(255);
    let event = NewEvent {
        source: &text,
        schema_version: Some(&text),
        tags: &[(&text, "v")],
        ..NewEvent::new(&text, b"1", Codec::Json)
    };
    for number in 0..200 {
        if number % 3 == 0 {
            log.append_many(&[event; 2], Patience::Wait).unwrap();
        }
        log.append(&event, Patience::Wait).unwrap();
    }
    let events = read_all(&log, Query::default());
    assert_eq!(events.len(), 200 + 2 * 67);
    for event in &events {
        let view = event.view().unwrap();
        assert_eq!((view.event_type, view.source, view.schema_version), (&*text, &*text, Some(&*text)));
        assert_eq!((view.tags().collect::<Vec<_>>(), event.names.count()), (vec![(&*text, "v")], 0));
    }
}
