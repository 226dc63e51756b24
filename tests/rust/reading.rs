//! Reading in both directions, through every filter: against filtering by hand, over rolls, batches, deaths and dropped fronts.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that breaks off has failed, which is what it is for"
)]

#[path = "reading/passing.rs"]
mod passing;
mod support;

use std::{collections::HashMap, path::Path, sync::Arc};

use _core::{
    clock::Clock,
    config::{Keeper, Mode, Options, Patience},
    error::Error,
    format::{Codec, NewEvent},
    log::{Location, Log},
    scan::{Direction, Query, StoredEvent, TimeOf},
};
use fastrand::Rng;
use support::{
    Dir, append, clock, drain, forge, open, payloads, ram::Ram, read_all, reading, seqs, small, tick,
};

const ROOT: &str = "/log";
const SEEDS: u64 = 12;

fn backward(query: Query) -> Query {
    Query { direction: Direction::Backward, ..query }
}

/// An event as any might be: few texts, so that every filter finds some.
fn append_some(log: &Log, dice: &mut Rng, count: usize) {
    let offers: Vec<_> = (0..count)
        .map(|_| {
            let size = if dice.u8(..30) == 0 { dice.usize(..5_000) } else { dice.usize(..60) };
            let texts = [
                ["order_filled", "order_placed", "order", "order_*", "trade"][dice.usize(..5)],
                ["", "desk", "feed"][dice.usize(..3)],
            ];
            let aggregate = (dice.u8(..4) > 0).then(|| format!("agg-{}", dice.u32(..40).min(dice.u32(..40))));
            let uuid = format!("018f3c9e-1111-7abc-8def-0123456789a{}", dice.u8(..4));
            let correlation = [None, Some(uuid), Some("talk".to_owned())][dice.usize(..3)].clone();
            let own_time = dice.bool().then(|| 1_723_161_255_000_000_000 + dice.i64(-500..3_000));
            let tags = [
                &[][..],
                &[("desk", "a")],
                &[("desk", "b"), ("venue", "x")],
                &[("desk", "a"), ("desk", "b")],
            ];
            (vec![b'x'; size], texts, aggregate, correlation, own_time, tags[dice.usize(..4)])
        })
        .collect();
    let events: Vec<NewEvent<'_>> = offers
        .iter()
        .map(|(payload, [event_type, source], aggregate, correlation, own_time, tags)| NewEvent {
            source,
            aggregate_id: aggregate.as_deref(),
            correlation_id: correlation.as_deref(),
            event_time_ns: *own_time,
            tags,
            ..NewEvent::new(event_type, payload, Codec::Bytes)
        })
        .collect();
    match &events[..] {
        [event] => drop(log.append(event, Patience::Wait).unwrap()),
        events => drop(log.append_many(events, Patience::Wait).unwrap()),
    }
}

fn any_query(dice: &mut Rng, first: u64, count: u64, now: i64) -> Query {
    let pick = |dice: &mut Rng, texts: &[&str]| texts[dice.usize(..texts.len())].to_owned();
    let types = ["order", "order_*", "order_filled", "ord*", "*", "trade", "none*", "t**"];
    let seq = |dice: &mut Rng| first + dice.u64(..=count - first);
    Query {
        after: dice.bool().then(|| seq(dice)),
        up_to: dice.bool().then(|| seq(dice)),
        since: (dice.u8(..4) == 0).then(|| now - dice.i64(0..2_000)),
        until: (dice.u8(..4) == 0).then(|| now - dice.i64(0..2_000)),
        time: [TimeOf::Append, TimeOf::Event][dice.usize(..2)],
        limit: (dice.u8(..3) == 0).then(|| dice.u64(..40)),
        types: (dice.u8(..3) == 0).then(|| (0..dice.usize(..3)).map(|_| pick(dice, &types)).collect()),
        aggregate_id: (dice.u8(..4) == 0).then(|| format!("agg-{}", dice.u32(..41))),
        correlation_id: (dice.u8(..4) == 0)
            .then(|| pick(dice, &["talk", "018f3c9e-1111-7abc-8def-0123456789a1", "nobody's"])),
        source: (dice.u8(..4) == 0).then(|| pick(dice, &["", "desk", "nobody"])),
        tags: match dice.u8(..8) {
            0 => vec![("desk".to_owned(), pick(dice, &["a", "b"]))],
            1 => vec![("desk".to_owned(), "b".to_owned()), ("venue".to_owned(), "x".to_owned())],
            2 => vec![("none".to_owned(), String::new())],
            _ => Vec::new(),
        },
        ..Query::default()
    }
}

/// What `query` means, said once more and simply.
fn is_wanted(query: &Query, event: &StoredEvent) -> bool {
    let view = event.view().unwrap();
    let id = |stored: Option<_>| stored.map(|id: _core::format::IdView<'_>| id.to_string());
    let time = match (query.time, view.event_time_ns) {
        (TimeOf::Event, Some(own)) => own,
        _ => view.fixed.ts_ns,
    };
    let is_type = |wanted: &String| match wanted.strip_suffix('*') {
        Some(beginning) => view.event_type.starts_with(beginning),
        None => view.event_type == wanted,
    };
    let tags: HashMap<&str, &str> = view.tags().collect();
    query.after.is_none_or(|after| view.seq() > after)
        && query.up_to.is_none_or(|up_to| view.seq() <= up_to)
        && query.since.is_none_or(|since| time >= since)
        && query.until.is_none_or(|until| time < until)
        && query.types.as_ref().is_none_or(|types| types.iter().any(is_type))
        && (query.aggregate_id.is_none() || query.aggregate_id == id(view.aggregate_id))
        && (query.correlation_id.is_none() || query.correlation_id == id(view.correlation_id))
        && query.source.as_deref().is_none_or(|source| source == view.source)
        && query.tags.iter().all(|(key, value)| tags.get(key.as_str()) == Some(&value.as_str()))
}

/// Reads in batches of random size, and looks at what the scan says of itself in between. Of an aggregate that was asked for
/// whole and has lost events it takes what is left.
fn read_in_batches(log: &Log, query: Query, dice: &mut Rng) -> Vec<u64> {
    let is_backward = query.direction == Direction::Backward;
    let is_whole = query.aggregate_id.is_some() && query.after.is_none() && query.since.is_none();
    let mut scan = match log.read(query.clone()) {
        Err(Error::Truncated { first_seq }) if is_whole => {
            log.read(Query { after: first_seq.checked_sub(1), ..query }).unwrap()
        }
        scan => scan.unwrap(),
    };
    let mut events = Vec::new();
    loop {
        let before = events.len();
        match scan.next_batch(&mut events, dice.usize(1..100), dice.usize(1..10_000)) {
            Err(Error::Truncated { first_seq }) if is_whole => {
                scan.go_on_from(first_seq);
                continue;
            }
            outcome => outcome.unwrap(),
        }
        if events.len() == before {
            assert!(scan.next_batch(&mut events, 1, 1).is_ok() && events.len() == before);
            return seqs(&events);
        }
        let (last, position) = (events.last().unwrap().fixed.seq, scan.position().unwrap());
        assert!(if is_backward { position <= last } else { position >= last }, "{position}, {last}");
    }
}

/// Any query, in both directions, gives what filtering by hand gives.
fn check_queries(log: &Log, dice: &mut Rng, now: i64, queries: usize) {
    let all = read_all(log, Query::default());
    assert_eq!(
        seqs(&read_all(log, backward(Query::default()))),
        seqs(&all).into_iter().rev().collect::<Vec<_>>()
    );
    let count = all.last().map_or(log.first_seq(), |last| last.fixed.seq + 1);
    for _ in 0..queries {
        let query = any_query(dice, log.first_seq(), count, now);
        let limit = usize::try_from(query.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        let matches: Vec<u64> =
            all.iter().filter(|event| is_wanted(&query, event)).map(|event| event.fixed.seq).collect();
        let forward: Vec<u64> = matches.iter().copied().take(limit).collect();
        let reverse: Vec<u64> = matches.iter().rev().copied().take(limit).collect();
        assert_eq!(read_in_batches(log, query.clone(), dice), forward, "{query:?}");
        assert_eq!(read_in_batches(log, backward(query.clone()), dice), reverse, "backward {query:?}");
    }
}

#[test]
fn both_directions_agree_with_filtering_by_hand_through_a_logs_lives() {
    for seed in 0..SEEDS {
        println!("seed {seed}");
        let (mut dice, ram, time) = (Rng::with_seed(seed), Ram::of(&Vec::new()), clock());
        let options = Options { keeper: Keeper::Manual, ..small() };
        let on =
            |options| Log::open(Location::Elsewhere(ram.clone(), Path::new(ROOT)), options, time.clone());
        for _ in 0..4 {
            let log = on(options.clone()).unwrap();
            for _ in 0..dice.usize(..200) {
                time.advance(dice.i64(-5..20));
                let count = if dice.u8(..5) == 0 { dice.usize(2..40) } else { 1 };
                append_some(&log, &mut dice, count);
                if dice.u8(..20) == 0 {
                    log.keep();
                }
            }
            check_queries(&log, &mut dice, time.now_ns(), 20);
            let reader = on(Options { mode: Mode::Read, ..options.clone() }).unwrap();
            append_some(&log, &mut dice, 1);
            check_queries(&reader, &mut dice, time.now_ns(), 10);
            if dice.bool() { log.close().unwrap() } else { log.abandon() }
        }
    }
}

#[test]
fn both_directions_agree_where_the_front_was_dropped() {
    let options = Options { memory_bytes: 1 << 19, keeper: Keeper::Manual, ..small() };
    let (mut dice, time) = (Rng::with_seed(1), clock());
    let log = Log::open(Location::Memory, options, time.clone()).unwrap();
    while log.first_seq() < 1_000 {
        append_some(&log, &mut dice, 1);
    }
    check_queries(&log, &mut dice, time.now_ns(), 60);
    let refused = log.read(backward(Query { after: Some(3), ..Query::default() }));
    assert!(matches!(refused.err(), Some(Error::Truncated { first_seq }) if first_seq == log.first_seq()));
}

#[test]
fn a_backward_read_that_the_front_overtakes_ends_or_says_so() {
    let options = Options { memory_bytes: 1 << 19, keeper: Keeper::Manual, ..small() };
    let log = Log::open(Location::Memory, options, clock()).unwrap();
    append(&log, "t", Some("a"), "the first of a chain");
    for _ in 0..300 {
        append(&log, "t", None, &"x".repeat(1_000));
    }
    append(&log, "t", Some("a"), "the second");
    let mut free = log.read(backward(Query::default())).unwrap();
    let mut bound = log.read(backward(Query { after: Some(0), ..Query::default() })).unwrap();
    let mut chain = log.read(backward(Query { aggregate_id: Some("a".into()), ..Query::default() })).unwrap();
    let mut seen = Vec::new();
    for scan in [&mut free, &mut bound, &mut chain] {
        scan.next_batch(&mut seen, 1, usize::MAX).unwrap();
    }
    assert_eq!(seqs(&seen), [301, 301, 301]);
    while log.first_seq() < 302 {
        append(&log, "t", None, &"x".repeat(1_000));
    }
    // The segment that a reader stands in stays until it is done.
    seen.clear();
    free.next_batch(&mut seen, usize::MAX, usize::MAX).unwrap();
    assert!(seqs(&seen).iter().rev().is_sorted() && seen[0].fixed.seq == 300 && seen.len() < 300);
    assert_eq!(free.position(), Some(seen.last().unwrap().fixed.seq));
    let outcome = bound.next_batch(&mut seen, usize::MAX, usize::MAX);
    assert!(
        matches!(outcome, Err(Error::Truncated { first_seq }) if first_seq == log.first_seq()),
        "{outcome:?}"
    );
    seen.clear();
    chain.next_batch(&mut seen, usize::MAX, usize::MAX).unwrap();
    assert_eq!(seqs(&seen), [0; 0]);
}

#[test]
fn a_backward_read_sees_what_was_committed_when_it_began() {
    let dir = Dir::new();
    let log = open(&dir, small());
    assert_eq!(seqs(&read_all(&log, backward(Query::default()))), [0; 0]);
    append(&log, "t", None, "0");
    let reader = open(&dir, reading());
    append(&log, "t", None, "1");
    for handle in [&log, &reader] {
        let mut scan = handle.read(backward(Query::default())).unwrap();
        append(&log, "t", None, "later");
        let mut events = Vec::new();
        scan.next_batch(&mut events, 99, usize::MAX).unwrap();
        assert_eq!(events[0].fixed.seq, log.last_seq().unwrap().unwrap() - 1);
        assert!(scan.is_done() && scan.position() == Some(0));
    }
}

#[test]
fn a_backward_read_may_be_asked_for_what_is_durable_alone() {
    let dir = Dir::new();
    let log = open(&dir, Options { keeper: Keeper::Manual, ..small() });
    append(&log, "t", None, "0");
    let durable = || backward(Query { durable: true, ..Query::default() });
    assert_eq!(seqs(&read_all(&log, durable())), [0; 0]);
    log.sync().unwrap();
    append(&log, "t", None, "1");
    assert_eq!(seqs(&read_all(&log, durable())), [0]);
    let narrower = Query { up_to: Some(0), after: Some(0), ..durable() };
    assert_eq!(seqs(&read_all(&log, narrower)), [0; 0]);
}

#[test]
fn events_of_any_size_come_back_backward() {
    let dir = Dir::new();
    let log = open(&dir, Options { segment_bytes: 32 << 20, ..small() });
    let sizes = [10, 300_000, 100_000, 10, 1_000_000, 100_000, 100_000, 100_000, 5].repeat(10);
    for size in &sizes {
        append(&log, "t", None, &"x".repeat(*size));
    }
    let events = read_all(&log, backward(Query::default()));
    assert_eq!(seqs(&events), (0..90).rev().collect::<Vec<_>>());
    assert!(
        events
            .iter()
            .zip(sizes.iter().rev())
            .all(|(event, size)| event.view().unwrap().payload.len() == *size)
    );
}

/// What lies before the place that the segment remembers is not even looked at.
#[test]
fn the_newest_event_costs_no_walk_through_its_segment() {
    let dir = Dir::new();
    let log = open(&dir, Options { segment_bytes: 1 << 20, ..small() });
    for number in 0..1_000 {
        append(&log, "t", (number % 250 == 0).then_some("rare"), &number.to_string());
    }
    log.close().unwrap();
    let reader = open(&dir, reading());
    // All but the last 128 events: as a damaged sector would be, after the survey of the opening.
    let all = read_all(&reader, Query::default());
    let offset = 12_288 + 56;
    let bytes: usize = all[..1_000 - 128].iter().map(|event| event.bytes.len()).sum();
    forge::write_at(&forge::segment_path(dir.path(), 1), offset, &vec![0xff; bytes]);
    let newest = read_all(&reader, backward(Query { limit: Some(40), ..Query::default() }));
    assert_eq!(seqs(&newest), (960..1_000).rev().collect::<Vec<_>>());
    assert!(reader.read(Query::default()).unwrap().next_batch(&mut Vec::new(), 1, 1).is_err());
}

#[test]
fn damage_ends_a_backward_read_where_it_is() {
    let dir = Dir::new();
    let log = open(&dir, Options { keeper: Keeper::Manual, ..small() });
    for number in 0..3_000 {
        append(&log, "t", None, &number.to_string());
    }
    log.sync().unwrap();
    let first_seqs: Vec<u64> = log.stats().unwrap().segments.iter().map(|one| one.first_seq).collect();
    assert!(first_seqs.len() > 3);
    // The first event of the second segment.
    forge::write_at(&forge::segment_path(dir.path(), 2), 12_288 + 56 + 16, &[0xff; 8]);
    let mut scan = log.read(backward(Query::default())).unwrap();
    let mut events = Vec::new();
    for _ in 0..2 {
        let outcome = scan.next_batch(&mut events, usize::MAX, usize::MAX);
        let Err(Error::Corrupt { path, .. }) = outcome else { panic!("{outcome:?}") };
        assert!(path.ends_with("0000000000000002.log"));
    }
    let seen = seqs(&events);
    assert_eq!(seen, (3_000 - seen.len() as u64..3_000).rev().collect::<Vec<_>>());
    assert!(*seen.last().unwrap() <= first_seqs[2], "what is whole was not given out");
}

#[test]
fn following_takes_the_same_filters() {
    let dir = Dir::new();
    let log = open(&dir, small());
    let query = Query {
        types: Some(vec!["order_*".into()]),
        source: Some("desk".into()),
        correlation_id: Some("talk".into()),
        tags: vec![("venue".into(), "x".into())],
        direction: Direction::Backward,
        ..Query::default()
    };
    let mut scan = log.follow(query).unwrap();
    let fitting = NewEvent {
        source: "desk",
        correlation_id: Some("talk"),
        tags: &[("venue", "x"), ("desk", "a")],
        ..NewEvent::new("order_filled", b"yes", Codec::Bytes)
    };
    let misfits = [
        NewEvent { event_type: "orders", ..fitting },
        NewEvent { source: "", ..fitting },
        NewEvent { correlation_id: None, ..fitting },
        NewEvent { tags: &[("venue", "y")], ..fitting },
    ];
    for misfit in &misfits {
        log.append(misfit, Patience::Wait).unwrap();
        log.append(&fitting, Patience::Wait).unwrap();
    }
    let mut seen = Vec::new();
    drain(&mut scan, &mut seen, misfits.len());
    assert_eq!((seqs(&seen), payloads(&seen).concat()), (vec![1, 3, 5, 7], "yes".repeat(4)));
    tick(&log);
}

#[test]
fn threads_may_read_backward_while_others_append() {
    let dir = Dir::new();
    let log = Arc::new(open(&dir, small()));
    append(&log, "t", None, "0");
    let writer = {
        let log = Arc::clone(&log);
        std::thread::spawn(move || {
            (0..3_000).for_each(|number| drop(append(&log, "t", None, &number.to_string())));
        })
    };
    while !writer.is_finished() {
        let newest = read_all(&log, backward(Query { limit: Some(200), ..Query::default() }));
        let first = newest[0].fixed.seq;
        assert!(seqs(&newest).into_iter().eq((0..=first).rev().take(200)), "a gap below {first}");
    }
    writer.join().unwrap();
}
