//! The corpus of the fuzzer, run through the same functions on a stable toolchain: what was found once stays found.
//!
//! The functions are those of fuzz/src, where each says what must hold; `make fuzz` looks for new inputs.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::missing_panics_doc,
    clippy::print_stdout,
    missing_docs,
    reason = "a test that breaks off has failed, which is what it is for"
)]

#[path = "../../fuzz/src/lib.rs"]
mod decoders;

use std::{
    fs,
    path::{Path, PathBuf},
};

use _core::config::Compression;
use _core::format::control::{Hints, WriterState};
use _core::format::sealed::block::Packer;
use _core::format::{
    Codec, IdView, Identity, NewEvent, RecordPlan, dictionary_record, dictionary_record_bytes,
};
use decoders::{control, json, log, meta, records, sealed, segment_head, snapshot};

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

fn replay(target: &str, run: fn(&[u8])) {
    let folder = corpus(target);
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // The test's output names the input that broke it.
        println!("{}", path.display());
        run(&fs::read(&path).unwrap());
        count += 1;
    }
    assert!(count > 0, "the corpus of {target} is empty");
}

#[test]
fn every_kept_input_still_passes_as_records() {
    replay("records", records::run);
}

#[test]
fn every_kept_input_still_passes_as_meta() {
    replay("meta", meta::run);
}

#[test]
fn every_kept_input_still_passes_as_a_segment_head() {
    replay("segment_head", segment_head::run);
}

#[test]
fn every_kept_input_still_passes_as_a_snapshot() {
    replay("snapshot", snapshot::run);
}

#[test]
fn every_kept_input_still_passes_as_a_sealed_segment() {
    replay("sealed", sealed::run);
}

#[test]
fn every_kept_input_still_passes_as_a_control_page() {
    replay("control", control::run);
}

#[test]
fn every_kept_input_still_passes_as_json() {
    replay("json", json::run);
}

#[test]
fn every_kept_input_still_passes_as_a_log() {
    replay("log", log::run);
}

/// Each event comes with a name of its own, and whoever keeps the events must not keep a dictionary for each of them.
#[test]
fn a_dictionary_that_grows_between_events_is_shared_by_them() {
    let identity = Identity { seq: 0, ts_ns: 0, aggregate_prev: None, aggregate_version: 0, epoch: 1 };
    let mut input = vec![0b11, 1, 0];
    for number in 0..2000 {
        let text = format!("type {number}");
        let mut name = vec![0; dictionary_record_bytes(&text)];
        let word = dictionary_record(&mut name, &identity, number, &text);
        name[..4].copy_from_slice(&word.to_le_bytes());
        let event = NewEvent::new(&text, b"{}", Codec::Json);
        let plan = RecordPlan::new(&event, IdView::of("id"), &|_| number);
        let mut record = vec![0; plan.record_bytes()];
        let word = plan.encode(&mut record, &identity, &|_| number);
        record[..4].copy_from_slice(&word.to_le_bytes());
        input.extend([name, record].concat());
    }
    records::run(&input);
}

/// Inputs to begin with, made of the golden logs: run once when a target is new, then `make fuzz` finds better ones.
#[test]
#[ignore = "writes fuzz/corpus"]
fn make_seeds() {
    let golden = |path: &str| {
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/v1").join(path)).unwrap()
    };
    let keep = |target: &str, name: &str, parts: &[&[u8]]| {
        fs::create_dir_all(corpus(target)).unwrap();
        fs::write(corpus(target).join(name), parts.concat()).unwrap();
    };
    for (log, number) in [("closed", 1), ("closed", 2), ("died", 1), ("died", 3)] {
        let file = golden(&format!("{log}/segments/{number:016}.log"));
        let end = file.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        let (name, epoch, first) = (format!("{log}-{number}"), file[12], usize::from(number > 1));
        keep("records", &name, &[&[0b11, epoch, first as u8], &file[12_288..end]]);
        let pages =
            [&file[..128], &file[512..576], &file[4096..4160], &file[8192..8256], &file[12_288..12_296]];
        keep("segment_head", &name, &[&[0], &pages.concat()]);
        keep("segment_head", &format!("{name}-sealed"), &[&[0b11], &pages.concat()]);
    }
    for log in ["closed", "died"] {
        let file = golden(&format!("{log}/META"));
        keep("meta", log, &[&[0b11], &file[..256], &file[4096..4352]]);
    }
    let snapshot = golden("closed/snapshots/22d2ae0d6844b8f46bd0ac5dd4b18c10-0000000000000005.snap");
    keep("snapshot", "sealed", &[&[0b11, 0], &snapshot]);
    keep("snapshot", "raw", &[&[0, 0], &snapshot]);
    for (log, number, first_seq) in [("closed", 1, 0), ("died", 1, 0)] {
        let file = golden(&format!("{log}/segments/{number:016}.log"));
        let end = file.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        let records = &file[12_288..end.next_multiple_of(8)];
        for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
            let (stored, form, packed) =
                Packer::new(compression).unwrap().pack(records, first_seq, u32::from(file[12])).unwrap();
            let sizes = [records.len().div_ceil(64) as u8, (packed / 64) as u8, (packed % 64) as u8];
            let name = format!("{log}-{compression:?}").to_lowercase();
            keep("sealed", &name, &[&[1, form.code()], &sizes, &stored]);
        }
    }
    for (number, state) in
        [WriterState::Open, WriterState::Closed, WriterState::Poisoned].into_iter().enumerate()
    {
        let hints = Hints { log_id: [7; 16], writer: 11, epoch: 3, state, segment: 5, next_seq: 1000 };
        keep("control", &format!("state-{number}"), &[&hints.encode(), &[1, 0, 0, 0, 9, 0, 0, 0]]);
    }
    keep("control", "cut-off", &[b"AresCtrl"]);
    let texts = [
        r#"{"e":"trade","p":"61234.50","q":0.013,"T":1723075200123,"m":true,"n":null,"o":{}}"#,
        r#"{"bids":[[61234.5,1.25],[61234.4,-0.0]],"asks":[],"a":1,"a":[2, 3]}"#,
        "[0, -1, 999999999999999999, 1e5, 1E-7, 0.1e+3, 123456789.123456789, 5e-324, 1.7976931348623157e308]",
        " [\"é漢😀\", \"\", \"0123456789abcdef\"]\n",
        "9007199254740993.0",
    ];
    for (number, text) in texts.iter().enumerate() {
        keep("json", &format!("text-{number}"), &[text.as_bytes()]);
    }
    for base in 0..4 {
        keep("log", &format!("base-{base}"), &[&[0, base, 0b1111]]);
        keep("log", &format!("base-{base}-marked"), &[&[0b10, base, 0b1_1111]]);
        keep("log", &format!("base-{base}-died"), &[&[0b11, base, 0b1_1111]]);
        let change = [0, 1, 1, 8, 0, 5, 0, 0, 0, 0, 0, 0, 0, 4, 1, 1, 40];
        keep("log", &format!("base-{base}-changed"), &[&[0b10, base, 0b1_1111], &change, &[7; 40]]);
    }
}
