//! META: any bytes as its two copies, each checked alone, and both read as an opening reads them.
//!
//! Input: switches, then the two copies. Size class: nothing for decoding a copy; 4 KiB for the file, which are its path
//! and the texts of its errors, whatever its bytes say.

use std::{path::PathBuf, sync::Arc};

use _core::{
    error::Error,
    format::{
        meta::{META_BYTES, META_FILE_BYTES, Meta},
        segment::PAGE_BYTES,
    },
    place::Place,
    vfs::{Vfs, memory::InMemory},
};

use super::{
    allocation::{allocating_at_most, allocating_nothing},
    input::{Input, Switches},
    seal,
};

/// The file ends within its second copy.
const CUT_OFF: u32 = 2;

const SMALL_BYTES: usize = 4096;

pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let switches = Switches(input.u8());
    let mut file = vec![0; META_FILE_BYTES];
    for (copy, offset) in [0, PAGE_BYTES].into_iter().enumerate() {
        seal::put(&mut file, offset, input.take(META_BYTES));
        // The first two switches: the checksum of a copy is made to fit.
        if switches.has(copy as u32) {
            seal::last_four(&mut file, offset, META_BYTES);
        }
    }
    if switches.has(CUT_OFF) {
        file.truncate(PAGE_BYTES + usize::from(input.u8()));
    }
    let copies = [0, PAGE_BYTES].map(|offset| whole_copy(&file, offset));
    let place = place_of(&file);
    let found = allocating_at_most(SMALL_BYTES, || place.read_meta());
    let damaged = allocating_at_most(SMALL_BYTES, || place.damaged_meta_copies()).unwrap();
    assert_eq!(damaged.len(), copies.iter().filter(|copy| copy.is_none()).count());
    let newest = copies.into_iter().flatten().max_by_key(|meta| meta.generation);
    match found {
        Ok(Some(found)) => {
            assert_eq!(Some(found.generation), newest.map(|meta| meta.generation));
            assert_is_rewritten(&place, found);
        }
        Ok(None) => panic!("META is there"),
        Err(Error::Corrupt { .. } | Error::Version { .. }) => assert_eq!(newest, None),
        Err(other) => panic!("{other:?}"),
    }
}

fn whole_copy(file: &[u8], offset: usize) -> Option<Meta> {
    let bytes = file.get(offset..)?.first_chunk::<META_BYTES>()?;
    let meta = allocating_nothing(|| Meta::decode(bytes)).ok()?;
    assert_eq!(Meta::decode(&meta.encode()), Ok(meta), "what was decoded does not come back");
    Some(meta)
}

/// Whatever was believed can be changed, and is then believed again: or it says why not.
fn assert_is_rewritten(place: &Place, found: Meta) {
    let mut next = found;
    match place.write_meta(&mut next) {
        Ok(()) => {
            assert_eq!(place.read_meta().unwrap(), Some(next));
            assert!(next.generation > found.generation);
        }
        // Cut off in its second copy it has no room for one: what is in the first must then be whole.
        Err(Error::Io { .. }) => assert!(place.read_meta().unwrap().is_some()),
        Err(Error::Corrupt { .. }) => assert_eq!(place.read_meta().unwrap(), Some(found)),
        Err(other) => panic!("{other:?}"),
    }
}

fn place_of(file: &[u8]) -> Place {
    let vfs = InMemory::default();
    let place = Place { vfs: Arc::new(InMemory::default()), path: PathBuf::from("/log") };
    let stored = vfs.create(&place.meta_path()).unwrap();
    stored.allocate(file.len() as u64).unwrap();
    stored.write_at(0, file).unwrap();
    Place { vfs: Arc::new(vfs), ..place }
}
