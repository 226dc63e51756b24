//! The BLAKE3 of a file, for manifests.
//!
//! Owns the reading in parts, whatever the size. Knows nothing of what the file holds.

use std::path::Path;

use crate::{
    error::{Error, Result},
    vfs::Vfs,
};

const PART_BYTES: usize = 256 * 1024;

/// BLAKE3 of all the bytes of the file at `path`, as 64 hexadecimal digits.
///
/// # Errors
/// [`Error::Io`].
pub fn digest(vfs: &dyn Vfs, path: &Path) -> Result<String> {
    let look = || {
        let file = vfs.open(path, false)?;
        let (size, mut at) = (file.bytes()?, 0);
        let (mut hasher, mut buffer) = (blake3::Hasher::new(), vec![0; PART_BYTES]);
        while at < size {
            let count = usize::try_from(size - at).unwrap_or(PART_BYTES).min(PART_BYTES);
            let part = buffer.get_mut(..count).unwrap_or_default();
            file.read_at(at, part)?;
            hasher.update(part);
            at += count as u64;
        }
        Ok(hasher.finalize().to_hex().to_string())
    };
    look().map_err(|error| Error::io(path, "read", error))
}
