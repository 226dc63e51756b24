//! The control page: what the writer of a log tells the readers of this host, and how they call it.
//!
//! Hints alone: whoever believes a wrong one is slower for it, and nothing else. So there is no checksum, and a page that
//! does not decode is done without. Owns the layout and the name; refuses to know who waits for what.

use super::bytes::{Fields, Sink};

/// What a page begins with.
pub const CONTROL_MAGIC: &[u8; 8] = b"AresCtrl";
/// Version of the layout below.
pub const CONTROL_VERSION: u32 = 1;
/// Size of the file.
pub const CONTROL_FILE_BYTES: usize = 4096;
/// The part that the writer stores; the two words behind it belong to both sides.
pub const CONTROL_BYTES: usize = 64;
/// Offset of the word that readers count up before they sleep.
pub const SLEEPERS_OFFSET: usize = 64;
/// Offset of the word that the writer counts up to wake them.
pub const BELL_OFFSET: usize = 68;

/// What a writer says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriterState {
    /// It is there, or died without a word.
    Open,
    /// It closed the log.
    Closed,
    /// It refuses appends after a failed sync.
    Poisoned,
}

/// What stands in a control page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hints {
    /// The log.
    pub log_id: [u8; 16],
    /// A random number of the writer's opening: who it is.
    pub writer: u64,
    /// The epoch it writes.
    pub epoch: u32,
    /// Whether it is there.
    pub state: WriterState,
    /// The segment that it was writing when it looked last.
    pub segment: u64,
    /// Position of the next event at that moment.
    pub next_seq: u64,
}

impl Hints {
    /// The bytes of the writer's part.
    #[must_use]
    pub fn encode(&self) -> [u8; CONTROL_BYTES] {
        let mut bytes = [0; CONTROL_BYTES];
        let mut sink = Sink::new(&mut bytes);
        sink.put(CONTROL_MAGIC);
        sink.u32(CONTROL_VERSION);
        sink.u32(self.epoch);
        sink.put(&self.log_id);
        sink.u64(self.writer);
        sink.u32(match self.state {
            WriterState::Open => 1,
            WriterState::Closed => 2,
            WriterState::Poisoned => 3,
        });
        sink.u32(0);
        sink.u64(self.segment);
        sink.u64(self.next_seq);
        bytes
    }

    /// What any bytes say; `None` where they are no page of a version that this build knows.
    #[must_use]
    pub fn decode(bytes: &[u8; CONTROL_BYTES]) -> Option<Self> {
        let mut fields = Fields::new(bytes);
        let is_ours = fields.take(8)? == CONTROL_MAGIC && fields.u32()? == CONTROL_VERSION;
        let (epoch, log_id, writer) = (fields.u32()?, fields.uuid()?, fields.u64()?);
        let state = match fields.u32()? {
            1 => WriterState::Open,
            2 => WriterState::Closed,
            3 => WriterState::Poisoned,
            _ => return None,
        };
        let _reserved = fields.u32()?;
        let (segment, next_seq) = (fields.u64()?, fields.u64()?);
        is_ours.then_some(Self { log_id, writer, epoch, state, segment, next_seq })
    }
}

/// Name of the page of a log: other boots, logs, and copies of a log have others.
#[must_use]
pub fn control_name(boot_id: u128, log_id: &[u8; 16], device: u64, inode: u64) -> String {
    format!("aresbus-{boot_id:032x}-{:032x}-{device:x}-{inode:x}", u128::from_be_bytes(*log_id))
}
