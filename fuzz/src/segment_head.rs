//! The first pages of a segment file: header, entry, two watermarks.
//!
//! Input: switches, then header, entry, both watermarks and the beginning of the first record. Size class: nothing for
//! decoding one of them; 4 KiB for opening the file, which are its path and the texts of its errors.

use std::{path::PathBuf, sync::Arc};

use _core::{
    error::Error,
    format::segment::{
        ENTRY_BYTES, ENTRY_OFFSET, Entry, HEADER_BYTES, PAGE_BYTES, RECORDS_OFFSET, SegmentHeader,
        WATERMARK_BYTES, Watermark,
    },
    place::Place,
    vfs::{Vfs, memory::InMemory},
};

use super::{
    allocation::{allocating_at_most, allocating_nothing},
    input::{Input, Switches},
    seal,
};

/// Checksums are made to fit.
const SEAL: u32 = 0;
/// The header says the true size, number and log.
const IDENTIFY: u32 = 1;
/// The file ends early.
const CUT_OFF: u32 = 2;

const SMALL_BYTES: usize = 4096;
const FILE_BYTES: usize = RECORDS_OFFSET + 4096;
const NUMBER: u64 = 7;
const LOG_ID: [u8; 16] = [7; 16];

pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let switches = Switches(input.u8());
    let mut file = vec![0; FILE_BYTES];
    let parts = [
        (0, HEADER_BYTES),
        (ENTRY_OFFSET, ENTRY_BYTES),
        (PAGE_BYTES, WATERMARK_BYTES),
        (2 * PAGE_BYTES, WATERMARK_BYTES),
        (RECORDS_OFFSET, 8),
    ];
    for (offset, bytes) in parts {
        seal::put(&mut file, offset, input.take(bytes));
    }
    if switches.has(IDENTIFY) {
        seal::put(&mut file, 16, &LOG_ID);
        seal::put(&mut file, 48, &NUMBER.to_le_bytes());
        seal::put(&mut file, 56, &(FILE_BYTES as u64).to_le_bytes());
    }
    if switches.has(SEAL) {
        seal::segment_head(&mut file);
    }
    if switches.has(CUT_OFF) {
        file.truncate(1 + usize::from(input.u16()) % FILE_BYTES);
    }
    decode_each(&file);
    let place = place_of(&file);
    let _any = allocating_at_most(SMALL_BYTES, || place.own_id_of_segment(NUMBER));
    match allocating_at_most(SMALL_BYTES, || place.open_segment(NUMBER, &LOG_ID)) {
        Ok(opened) => {
            assert_eq!((opened.header.number, opened.header.log_id), (NUMBER, LOG_ID));
            assert!(opened.header.file_bytes <= file.len() as u64);
            assert!(!(opened.is_spare && opened.entry.is_some()));
            if let Some(mark) = opened.watermark {
                assert!(mark.durable_offset <= opened.header.file_bytes && mark.segment == NUMBER);
            }
        }
        Err(Error::Corrupt { .. } | Error::Version { .. }) => {}
        Err(other) => panic!("{other:?}"),
    }
}

/// Each structure alone; what decodes comes back.
fn decode_each(file: &[u8]) {
    let at = |offset: usize| file.get(offset..).unwrap_or_default();
    if let Some(bytes) = at(0).first_chunk::<HEADER_BYTES>()
        && let Ok(header) = allocating_nothing(|| SegmentHeader::decode(bytes))
    {
        assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
    }
    let epoch = seal::epoch(file);
    if let Some(bytes) = at(ENTRY_OFFSET).first_chunk::<ENTRY_BYTES>()
        && let Ok(Some(entry)) = allocating_nothing(|| Entry::decode(bytes, epoch))
    {
        assert_eq!(Entry::decode(&entry.encode(epoch), epoch), Ok(Some(entry)));
    }
    for offset in [PAGE_BYTES, 2 * PAGE_BYTES] {
        if let Some(bytes) = at(offset).first_chunk::<WATERMARK_BYTES>()
            && let Some(mark) = allocating_nothing(|| Watermark::decode(bytes))
        {
            assert_eq!(Watermark::decode(&mark.encode()), Some(mark));
        }
    }
}

fn place_of(file: &[u8]) -> Place {
    let vfs = Arc::new(InMemory::default());
    let place = Place { vfs: vfs.clone(), path: PathBuf::from("/log") };
    let stored = vfs.create(&place.segment_path(NUMBER)).unwrap();
    stored.allocate(file.len() as u64).unwrap();
    stored.write_at(0, file).unwrap();
    place
}
