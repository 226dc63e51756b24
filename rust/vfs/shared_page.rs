//! A page in /dev/shm that processes of one host share under a name: made by the first, removed by the last to leave.
//!
//! Owns the system calls, and what is refused: anything but a plain file of our own with one name and the right size. Whoever
//! uses a page holds a shared `flock` on it, which dies with its process; who leaves and gets it alone removes the file. A page
//! whose users were all killed stays until the next of them leaves, at the latest until the next boot. Knows no content.

use std::{
    fs::{self, File},
    io,
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    process,
};

use rustix::{
    fs::{FallocateFlags, FlockOperation, Mode, OFlags, fallocate, flock, open},
    process::geteuid,
};

use crate::map::{Memory, SharedWords};

const FOLDER: &str = "/dev/shm";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A page that this process has joined.
#[derive(Debug)]
pub struct SharedPage {
    words: SharedWords,
    file: File,
    path: PathBuf,
    /// A forked child has the same descriptor: its leaving is not ours.
    process: u32,
}

impl SharedPage {
    /// Joins the page of this name, if there is a usable one.
    ///
    /// # Errors
    /// Why there is none: of the system, or `InvalidData` for a file that is not what it should be.
    pub fn join(name: &str, bytes: usize) -> io::Result<Self> {
        Self::open(Path::new(FOLDER).join(name), bytes, OFlags::empty())
    }

    /// The page of this name: the one there is, or a new one. An unusable file of ours gives way.
    ///
    /// # Errors
    /// As [`SharedPage::join`].
    pub fn make(name: &str, bytes: usize) -> io::Result<Self> {
        let path = Path::new(FOLDER).join(name);
        Self::open(path.clone(), bytes, OFlags::CREATE).or_else(|_unusable| {
            fs::remove_file(&path)?;
            Self::open(path, bytes, OFlags::CREATE | OFlags::EXCL)
        })
    }

    /// The words in it.
    #[must_use]
    pub fn words(&self) -> &SharedWords {
        &self.words
    }

    fn open(path: PathBuf, bytes: usize, how: OFlags) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | how;
        let file = File::from(open(&path, flags, Mode::RUSR | Mode::WUSR)?);
        // ORDER: the lock first. Who holds it may not remove the file, and who did has taken its name by now.
        flock(&file, FlockOperation::NonBlockingLockShared)?;
        let size = bytes as u64;
        if how.contains(OFlags::CREATE) && file.metadata()?.len() == 0 {
            // Room now, or a full tmpfs would answer the first store with a SIGBUS.
            fallocate(&file, FallocateFlags::empty(), 0, size)?;
        }
        let found = file.metadata()?;
        let is_ours = found.is_file() && found.uid() == geteuid().as_raw() && found.nlink() == 1;
        if !is_ours || found.len() != size {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let words = SharedWords::new(Memory::of_file(file.as_fd(), bytes, true)?);
        Ok(Self { words, file, path, process: process::id() })
    }
}

impl Drop for SharedPage {
    fn drop(&mut self) {
        let is_alone = self.process == process::id()
            && flock(&self.file, FlockOperation::NonBlockingLockExclusive).is_ok();
        let is_this = |named: fs::Metadata| {
            self.file.metadata().is_ok_and(|ours| (ours.dev(), ours.ino()) == (named.dev(), named.ino()))
        };
        if is_alone && fs::symlink_metadata(&self.path).is_ok_and(is_this) {
            let _stays_until_the_next_boot = fs::remove_file(&self.path);
        }
    }
}

/// This boot of the machine, as 128 bits.
pub(super) fn boot_id() -> Option<u128> {
    let text = fs::read_to_string(BOOT_ID).ok()?;
    u128::from_str_radix(&text.trim().replace('-', ""), 16).ok()
}
