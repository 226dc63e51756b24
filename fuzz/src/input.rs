//! Reading a fuzzer's input front to back: fixed widths first, whatever is left at last.
//!
//! An input that ends early goes on as zeros, so that every input means something and the fuzzer wastes none. Widths do
//! not depend on values where that can be helped: a mutation then changes one thing, not all that follows.

/// What is left of an input.
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// At most `count` bytes.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        head
    }

    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    fn padded<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        let taken = self.take(N);
        bytes[..taken.len()].copy_from_slice(taken);
        bytes
    }

    pub fn u8(&mut self) -> u8 {
        self.padded::<1>()[0]
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.padded())
    }

    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.padded())
    }

    /// One of `choices`, of which there is at least one.
    pub fn choice<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.u8()) % choices.len()]
    }
}

/// Eight switches.
#[derive(Clone, Copy)]
pub struct Switches(pub u8);

impl Switches {
    pub fn has(self, bit: u32) -> bool {
        self.0 & (1 << bit) != 0
    }
}
