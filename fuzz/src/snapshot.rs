//! Snapshot files: any bytes under any name in the directory of snapshots.
//!
//! Input: switches, the length of a name, the name, then the file. Size class: nothing for decoding; twice the file and
//! 4 KiB for reading it, which are the file, its payload, and the names in the directory.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use _core::{
    format::{
        blob::Blob,
        names::{self, SnapshotName},
    },
    place::Place,
    vfs::{Vfs, memory::InMemory},
};

use super::{
    allocation::{allocating_at_most, allocating_nothing},
    input::{Input, Switches},
    seal,
};

/// The checksum is made to fit.
const SEAL: u32 = 0;
/// The name is the one that the file's content asks for.
const NAME: u32 = 1;

const SIZE_CLASS: usize = 2;
const SMALL_BYTES: usize = 4096;
const KEY: &str = "order-17";

pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let switches = Switches(input.u8());
    let name_bytes = usize::from(input.u8());
    let name = String::from_utf8_lossy(input.take(name_bytes)).into_owned();
    let mut file = input.rest().to_vec();
    if switches.has(SEAL) && file.len() >= 16 {
        file[12..16].fill(0);
        let sum = _core::format::checksum(&file);
        file[12..16].copy_from_slice(&sum.to_le_bytes());
    }
    let decoded = allocating_nothing(|| Blob::decode(&file));
    if let Some(blob) = decoded {
        assert_eq!(Blob::decode(&blob.encode()), Some(blob), "what was decoded does not come back");
        assert_eq!(blob.key.len() + blob.payload.len(), file.len() - 64);
    }
    let key = decoded.filter(|_| switches.has(NAME)).map_or(KEY, |blob| blob.key);
    let is_named = switches.has(NAME) || name.is_empty();
    let path = Path::new("/log/snapshots").join(if is_named {
        names::snapshot(key, seal::long(&file, 32))
    } else {
        name.replace('/', "_")
    });
    let log_id = decoded.map_or([7; 16], |blob| blob.log_id);
    let place = Place { vfs: vfs_of(&path, &file), path: PathBuf::from("/log") };
    let limit = SIZE_CLASS * file.len() + SMALL_BYTES;
    for name in allocating_at_most(limit, || place.list_snapshots()).unwrap() {
        let found = allocating_at_most(limit, || place.read_snapshot(log_id, name)).unwrap();
        let blob = decoded.filter(|blob| SnapshotName::new(blob.key, blob.seq) == name);
        assert_eq!(found, blob.map(|blob| (blob.key.to_owned(), blob.payload.to_vec())));
    }
}

fn vfs_of(path: &Path, file: &[u8]) -> Arc<dyn Vfs> {
    let vfs = InMemory::default();
    let stored = vfs.create(path).unwrap();
    if !file.is_empty() {
        stored.allocate(file.len() as u64).unwrap();
        stored.write_at(0, file).unwrap();
    }
    Arc::new(vfs)
}
