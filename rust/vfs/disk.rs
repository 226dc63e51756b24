//! The real disk of one Linux host.
//!
//! Owns the system calls: modes 0600 and 0700, fallocate, flock, fdatasync. Interrupted calls are repeated.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io,
    os::{
        fd::AsFd,
        unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use rustix::{
    fs::{
        Advice, AtFlags, FallocateFlags, FlockOperation, StatxFlags, fadvise, fallocate, flock, statfs, statx,
    },
    io::Errno,
};

use super::{
    File, Filesystem, Identity, Join, Lock, Vfs,
    shared_page::{SharedPage, boot_id},
};
use crate::map::Memory;

/// How often, a millisecond apart, a holder that has left no word yet is given another moment.
const HOLDER_ATTEMPTS: u32 = 20;
/// What a holder writes; whatever else is in the file is not its word.
const HOLDER_BYTES: usize = 256;
/// `O_NONBLOCK` of Linux' asm-generic/fcntl.h, which x86-64 and aarch64 share.
const NONBLOCK: i32 = 0o4000;

/// Files as the operating system has them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Vfs for Disk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    fn open(&self, path: &Path, writable: bool) -> io::Result<Arc<dyn File>> {
        // A fifo in the place of a file would make us wait for its other end.
        let file = OpenOptions::new().read(true).write(writable).custom_flags(NONBLOCK).open(path)?;
        match file.metadata()?.file_type() {
            kind if kind.is_file() => {}
            kind if kind.is_dir() => return Err(Errno::ISDIR.into()),
            _ => return Err(Errno::NXIO.into()),
        }
        Ok(Arc::new(DiskFile(file)))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Arc::new(DiskFile(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = fs::read_dir(path)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort_unstable();
        Ok(names)
    }

    fn try_lock(&self, path: &Path, holder: &str) -> io::Result<Result<Box<dyn Lock>, String>> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Ok(Err(word_of_holder(&file)));
            }
            Err(error) => return Err(error.into()),
        }
        // A fixed width overwrites the previous holder in place: a full disk has room for that.
        file.write_all_at(format!("{holder:<255}\n").as_bytes(), 0)?;
        let dir = fs::File::open(dir_of(path))?;
        Ok(Ok(Box::new(DiskLock { file, dir, path: path.to_owned() })))
    }

    fn filesystem(&self, path: &Path) -> io::Result<Filesystem> {
        Ok(judge(statfs(path)?.f_type))
    }

    fn identity(&self, path: &Path) -> Option<Identity> {
        let found = fs::metadata(path).ok()?;
        Some(Identity { boot_id: boot_id()?, device: found.dev(), inode: found.ino() })
    }

    fn shared_page(&self, name: &str, bytes: usize, join: Join) -> Option<SharedPage> {
        let page = match join {
            Join::Make => SharedPage::make(name, bytes),
            Join::Find => SharedPage::join(name, bytes),
        };
        page.ok()
    }

    fn is_durable(&self) -> bool {
        true
    }
}

/// What the holder of a lock left in its file: it takes the lock first and writes then, so an empty file is read again.
fn word_of_holder(file: &fs::File) -> String {
    let mut word = [0; HOLDER_BYTES];
    for _ in 0..HOLDER_ATTEMPTS {
        match file.read_at(&mut word, 0) {
            Ok(0) => thread::sleep(Duration::from_millis(1)),
            Ok(count) => return String::from_utf8_lossy(word.get(..count).unwrap_or_default()).into_owned(),
            Err(_) => break,
        }
    }
    String::new()
}

/// Magic numbers of linux/magic.h and, for ZFS, of its Linux port.
fn judge(magic: i64) -> Filesystem {
    match magic {
        0x6969 => Filesystem::Unsupported("NFS"),
        0x517B | 0xFF53_4D42 | 0xFE53_4D42 => Filesystem::Unsupported("SMB"),
        0x0102_1997 => Filesystem::Unsupported("9p"),
        0x00C3_6400 => Filesystem::Unsupported("Ceph"),
        0x5346_414F => Filesystem::Unsupported("AFS"),
        0x9123_683E => Filesystem::Unsupported("btrfs"),
        0x2FC1_2FC1 => Filesystem::Unsupported("ZFS"),
        0x794C_7630 => {
            Filesystem::Doubtful("overlayfs: a file that was copied up is another file to its readers")
        }
        _ => Filesystem::Dependable,
    }
}

fn dir_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Open here, the number of a file or directory is given to no other one.
struct DiskLock {
    // Closing the descriptor releases the lock; a forked child must close it too (R22).
    file: fs::File,
    dir: fs::File,
    path: PathBuf,
}

impl Lock for DiskLock {
    fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// Looks at the directory too: one that was just made in its place has no LOCK yet.
    fn is_displaced(&self) -> io::Result<bool> {
        Ok(is_another(&self.file, &self.path)? || is_another(&self.dir, dir_of(&self.path))?)
    }
}

/// Whether something else lies at `path`; moved away or removed, there is nothing to be mistaken for.
fn is_another(mine: &fs::File, path: &Path) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(there) => {
            let mine = mine.metadata()?;
            Ok((mine.dev(), mine.ino()) != (there.dev(), there.ino()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

struct DiskFile(fs::File);

impl File for DiskFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.size_and_name()?.0)
    }

    fn read_at(&self, offset: u64, target: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(target, offset)
    }

    fn write_at(&self, offset: u64, source: &[u8]) -> io::Result<()> {
        self.0.write_all_at(source, offset)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        loop {
            match fallocate(&self.0, FallocateFlags::empty(), 0, bytes) {
                Err(Errno::INTR) => {}
                answer => return Ok(answer?),
            }
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    /// Asks for no times: who has been told of a file's makes the next write note its own exactly, a transaction of the file
    /// system's (Linux 6.13 and later; 45 µs a look, on ext4).
    fn size_and_name(&self) -> io::Result<(u64, bool)> {
        match statx(&self.0, "", AtFlags::EMPTY_PATH, StatxFlags::SIZE | StatxFlags::NLINK) {
            Ok(found) => Ok((found.stx_size, found.stx_nlink > 0)),
            // An old kernel's answer, and that of some containers.
            Err(Errno::NOSYS | Errno::PERM) => {
                self.0.metadata().map(|found| (found.len(), found.nlink() > 0))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn forget_cached(&self) -> io::Result<()> {
        Ok(fadvise(&self.0, 0, None, Advice::DontNeed)?)
    }

    fn map(&self, bytes: usize, writable: bool) -> io::Result<Arc<Memory>> {
        Memory::of_file(self.0.as_fd(), bytes, writable)
    }
}
