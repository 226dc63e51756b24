//! What is done through an open file and its mappings: each of it a point of the machine's life, and a place for a fault.

use std::{
    fmt, io,
    sync::{Arc, Weak},
};

use super::{
    cache::CachedFile,
    faults::Operation,
    machine::{InFlight, Machine, lock},
    survival::Taste,
};
use crate::{map::Memory, threads::watched::Watch, vfs::File};

pub(super) struct OpenFile {
    pub machine: Arc<Machine>,
    pub file: Arc<CachedFile>,
}

impl OpenFile {
    fn sync(&self) -> io::Result<()> {
        match self.machine.begin(Operation::Sync)? {
            None => self.file.sync(),
            Some(fault) => {
                self.file.fail_sync(&mut Taste::of(fault.leaves));
                return Err(fault.error());
            }
        }
        Ok(())
    }
}

impl File for OpenFile {
    fn bytes(&self) -> io::Result<u64> {
        self.machine.attempt(Operation::Read)?;
        Ok(self.file.bytes() as u64)
    }

    fn read_at(&self, offset: u64, target: &mut [u8]) -> io::Result<()> {
        self.machine.attempt(Operation::Read)?;
        self.file.read(offset, target)
    }

    fn write_at(&self, offset: u64, source: &[u8]) -> io::Result<()> {
        match self.machine.begin(Operation::Write)? {
            None => self.file.write(offset, source),
            Some(fault) => {
                // A short write, and no more.
                self.file.write(offset, source.get(..source.len() / 2).unwrap_or_default())?;
                Err(fault.error())
            }
        }
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.machine.attempt(Operation::Allocate)?;
        self.file.allocate(bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }

    fn forget_cached(&self) -> io::Result<()> {
        Ok(())
    }

    fn map(&self, bytes: usize, writable: bool) -> io::Result<Arc<Memory>> {
        self.machine.attempt(Operation::Read)?;
        let memory = self.file.memory(bytes)?;
        if writable {
            let (machine, file) = (Arc::downgrade(&self.machine), Arc::downgrade(&self.file));
            memory.cells().by(Box::new(Watcher { machine, file }));
        }
        Ok(memory)
    }
}

/// Makes each store of the appending thread a point.
struct Watcher {
    machine: Weak<Machine>,
    file: Weak<CachedFile>,
}

impl fmt::Debug for Watcher {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Watcher")
    }
}

impl Watch for Watcher {
    fn before_fill(&self, offset: usize, bytes: usize) {
        let (Some(machine), Some(file)) = (self.machine.upgrade(), self.file.upgrade()) else { return };
        if machine.pass().is_err() {
            return; // The machine is off: what is stored from now on is seen by nobody.
        }
        let mut before = vec![0; bytes];
        if file.read(offset as u64, &mut before).is_ok() {
            lock(&machine.life).in_flight = Some(InFlight { file: self.file.clone(), offset, before });
        }
    }

    fn before_commit(&self) {
        if let Some(machine) = self.machine.upgrade() {
            let _off_or_on = machine.pass();
        }
    }
}
