//! What an append refuses, and that it leaves nothing behind.

use _core::{
    config::{Expected, Keeper, Options, Patience},
    error::Error,
    format::{Codec, NewEvent, names},
    log::Log,
};

use crate::support::{Dir, append, open, small};

type Made<'a> = &'a dyn Fn(usize) -> NewEvent<'a>;

fn refusal(log: &Log, event: &NewEvent<'_>) -> Error {
    let before = log.stats().unwrap().segments[0].used_bytes;
    let alone = log.append(event, Patience::Wait).unwrap_err();
    let sound = NewEvent::new("t", b"1", Codec::Json);
    log.append_many(&[sound, *event], Patience::Wait).unwrap_err();
    assert_eq!((log.last_seq().unwrap(), log.stats().unwrap().segments[0].used_bytes), (Some(0), before));
    alone
}

#[test]
fn an_event_without_type_or_with_an_empty_id_is_refused() {
    let dir = Dir::new();
    let log = open(&dir, small());
    append(&log, "t", None, "1");
    let sound = NewEvent::new("t", b"1", Codec::Json);
    for event in [
        NewEvent { event_type: "", ..sound },
        NewEvent { event_id: Some(""), ..sound },
        NewEvent { expected: Expected::None, ..sound },
    ] {
        let refused = refusal(&log, &event);
        assert!(matches!(refused, Error::Config { .. }), "{refused:?}");
    }
}

#[test]
fn each_text_may_have_its_limit_and_no_byte_more() {
    let texts = "x".repeat(65_536);
    let text = |bytes: usize| texts.get(..bytes).unwrap();
    let many = vec![("k", "v"); 1025];
    let sound = NewEvent::new("t", b"1", Codec::Json);
    let with: [(usize, Made<'_>); 8] = [
        (255, &|bytes| NewEvent { event_type: text(bytes), ..sound }),
        (255, &|bytes| NewEvent { source: text(bytes), ..sound }),
        (255, &|bytes| NewEvent { schema_version: Some(text(bytes)), ..sound }),
        (1024, &|bytes| NewEvent { event_id: Some(text(bytes)), ..sound }),
        (1024, &|bytes| NewEvent { aggregate_id: Some(text(bytes)), ..sound }),
        (1024, &|bytes| NewEvent { correlation_id: Some(text(bytes)), ..sound }),
        (1024, &|bytes| NewEvent { causation_id: Some(text(bytes)), ..sound }),
        (1024, &|count| NewEvent { tags: &many[..count], ..sound }),
    ];
    for (limit, event) in with {
        event(limit).check().unwrap();
        assert!(matches!(event(limit + 1).check(), Err(Error::Limit { got, limit: told, .. })
            if (got, told) == (limit as u64 + 1, limit as u64)));
    }
    for (key_bytes, value_bytes, is_fine) in [(255, 65_535, true), (256, 1, false), (1, 65_536, false)] {
        let tags = [(text(key_bytes), text(value_bytes))];
        assert_eq!(NewEvent { tags: &tags, ..sound }.check().is_ok(), is_fine);
    }
    let dir = Dir::new();
    let log = open(&dir, small());
    append(&log, "t", None, "1");
    assert!(matches!(refusal(&log, &with[0].1(256)), Error::Limit { .. }));
}

/// What went to pages whose file is gone is not acknowledged, and nothing after it.
#[test]
fn a_segment_that_is_cut_off_under_the_writer_poisons() {
    let dir = Dir::new();
    let log = open(&dir, Options { keeper: Keeper::Manual, ..small() });
    append(&log, "t", None, "1");
    let path = dir.path().join("segments").join(names::segment(1));
    std::fs::File::options().write(true).open(path).unwrap().set_len(3 * 4096).unwrap();
    let event = NewEvent::new("t", b"2", Codec::Json);
    for _ in 0..2 {
        let refused = log.append(&event, Patience::Wait);
        assert!(matches!(refused, Err(Error::Poisoned { .. })), "{refused:?}");
        let refused = log.append_many(&[event; 2], Patience::Wait);
        assert!(matches!(refused, Err(Error::Poisoned { .. })), "{refused:?}");
    }
    assert!(log.sync().is_err() && log.close().is_err());
}
