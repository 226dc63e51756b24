//! A sealed segment: any bytes as header, directory and blocks, read as a scan reads them; and as the parts of an index.
//!
//! Input: switches, form and sizes of a block, where the directory begins, then the file. Size class: 4 MiB, the most that the sizes
//! below can ask for, whatever the bytes say.

use std::{path::Path, sync::Arc};

use _core::{
    config::Compression,
    format::sealed::{
        BlockEntry, Directory, SEALED_HEADER_BYTES, SealedHeader, Stored,
        block::{Contents, Form, unpack},
        index::{IndexHeader, blocks_of, decode_heads},
    },
    format::{
        checksum,
        meta::Mark,
        segment::{Entry, RECORDS_OFFSET, SegmentHeader},
    },
    segment::{Sealed, Segment, Step},
    vfs::{Vfs, memory::InMemory},
};

use super::{
    allocation::allocating_at_most,
    input::{Input, Switches},
};

/// The header and the directory are the engine's own, around a block of the fuzzer's.
const WHOLE: u32 = 0;
const LARGE_BYTES: usize = 4 << 20;

pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let switches = Switches(input.u8());
    let form = Form::of(input.u8() % 6).unwrap_or(Form { is_columns: true, compression: Compression::None });
    let record_bytes = usize::from(input.u8()) * 64;
    let packed_bytes = usize::from(input.u8()) * 64 + usize::from(input.u8());
    let rest = input.rest();
    let contents = Contents { record_bytes, packed_bytes, first_seq: 5, epoch: 1 };
    allocating_at_most(LARGE_BYTES, || {
        for contents in [contents, Contents { packed_bytes: rest.len(), ..contents }] {
            for compression in [form.compression, Compression::None] {
                if let Some(records) = unpack(rest, Form { compression, ..form }, &contents) {
                    assert_eq!(records.len(), record_bytes);
                }
            }
        }
        let _any = (Directory::decode(rest, 20_000), decode_heads(rest), blocks_of(rest, 7));
        if let Some(header) = rest.first_chunk() {
            let _any: Result<IndexHeader, _> = IndexHeader::decode(header);
        }
        if let Some(header) = rest.first_chunk() {
            let _any: Result<SealedHeader, _> = SealedHeader::decode(header);
        }
    });
    let file = if switches.has(WHOLE) { around(rest, form, &contents) } else { rest.to_vec() };
    allocating_at_most(LARGE_BYTES + 2 * file.len(), || walk(&file));
}

/// A sealed segment of one block; what is stored passes for its tree too.
fn around(stored: &[u8], form: Form, contents: &Contents) -> Vec<u8> {
    let word = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    let end = (RECORDS_OFFSET + contents.record_bytes) as u64;
    let directory = Directory {
        blocks: vec![BlockEntry {
            offset: SEALED_HEADER_BYTES as u64,
            stored_bytes: word(stored.len()),
            packed_bytes: word(contents.packed_bytes),
            record_bytes: word(contents.record_bytes),
            record_offset: word(RECORDS_OFFSET),
            first_seq: contents.first_seq,
            types: 0,
            appended_ns: (0, 0),
            event_time_ns: (0, 0),
            checksum: checksum(stored),
            form,
        }],
        ..Directory::default()
    }
    .encode();
    let header = SealedHeader {
        header: SegmentHeader {
            log_id: [1; 16],
            number: 1,
            epoch: contents.epoch,
            file_bytes: 1 << 20,
            created_ns: 0,
        },
        entry: Entry { first_seq: contents.first_seq, entered_ns: 0, prev_segment: 0, prev_end: 0 },
        end: Mark {
            segment: 1,
            offset: end,
            next_seq: contents.first_seq.saturating_add(stored.len() as u64 / 32),
        },
        next_segment: 0,
        directory: Stored {
            offset: (SEALED_HEADER_BYTES + stored.len()) as u64,
            bytes: word(directory.len()),
            checksum: checksum(&directory),
        },
        tree: Stored {
            offset: (SEALED_HEADER_BYTES + stored.len() + directory.len()) as u64,
            bytes: word(stored.len()),
            checksum: checksum(stored),
        },
    };
    [&header.encode()[..], stored, &directory, stored].concat()
}

/// As a scan would: every step is an event, an end or a fault, and none goes back.
fn walk(file: &[u8]) {
    let vfs = Arc::new(InMemory::default());
    let path = Path::new("1.seg");
    let Ok(made) = vfs.create(path) else { return };
    if made.allocate(file.len().max(1) as u64).is_err() || made.write_at(0, file).is_err() {
        return;
    }
    let Ok(sealed) = Sealed::open(&*vfs, path.to_owned()) else { return };
    if let Ok(Some(tree)) = sealed.tree(&*vfs) {
        assert_eq!((tree.first(), tree.end()), (sealed.header.entry.first_seq, sealed.header.end.next_seq));
    }
    let segment = Segment::sealed(sealed);
    let Ok(mut walk) = segment.walk(&*vfs) else { return };
    let mut offset = walk.position.offset;
    while let Step::Event(_) = walk.step() {
        assert!(walk.position.offset > offset);
        offset = walk.position.offset;
    }
    let _judged = walk.refuse_if_broken(&segment);
}
