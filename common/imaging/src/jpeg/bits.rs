//! Bits of an entropy-coded segment.

use super::{JpegError, huffman::Table};

/// Reads bits from the left, up to the next marker.
#[derive(Debug)]
pub(super) struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    /// The next bits, left-aligned; zeros behind the last.
    buffer: u64,
    /// How many of them are data. Below 0 once more were taken than there are.
    count: i32,
    ended: bool,
}

impl<'a> Bits<'a> {
    /// Starts at byte `at`.
    pub(super) fn new(data: &'a [u8], at: usize) -> Self {
        Self { data, at, buffer: 0, count: 0, ended: false }
    }

    /// Fills the buffer with 32 bits or more, if there are as many.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        if self.count >= 32 || self.ended {
            return;
        }
        if let Some(bytes) = self.data.get(self.at..).and_then(|rest| rest.first_chunk::<8>()) {
            let word = u64::from_be_bytes(*bytes);
            // No byte of it is 0xFF, which would start a marker or have a zero stuffed behind it.
            if word & (!word).wrapping_sub(0x0101_0101_0101_0101) & 0x8080_8080_8080_8080 == 0 {
                self.buffer |= word >> self.count;
                self.at += (63 - self.count as usize) >> 3;
                self.count |= 56;
                return;
            }
        }
        self.refill_slowly();
    }

    /// Byte by byte. Bits of the next byte that may lie behind `count` are set to the same values again.
    fn refill_slowly(&mut self) {
        while self.count <= 56 {
            let stuffed = match (self.data.get(self.at), self.data.get(self.at + 1)) {
                (Some(0xFF), Some(0)) => 1,
                (Some(0xFF) | None, _) => {
                    self.ended = true;
                    return;
                }
                _ => 0,
            };
            self.buffer |= u64::from(self.data[self.at]) << (56 - self.count);
            self.at += 1 + stuffed;
            self.count += 8;
        }
    }

    /// The next `count` bits (1 to 16), of which [`Self::refill`] has brought enough.
    #[inline(always)]
    pub(super) fn take(&mut self, count: u32) -> i32 {
        let value = (self.buffer >> (64 - count)) as i32;
        self.skip(count);
        value
    }

    #[inline(always)]
    fn skip(&mut self, count: u32) {
        self.buffer <<= count;
        self.count -= count as i32;
    }

    /// One bit.
    #[inline(always)]
    pub(super) fn bit(&mut self) -> bool {
        self.refill();
        self.take(1) == 1
    }

    /// A coefficient of `size` bits (0 to 15), whose sign is its first bit.
    #[inline(always)]
    pub(super) fn signed(&mut self, size: u32) -> i32 {
        if size == 0 {
            return 0;
        }
        let value = self.take(size);
        if value >> (size - 1) == 0 { value + 1 - (1 << size) } else { value }
    }

    /// The next symbol of a Huffman table.
    #[inline(always)]
    pub(super) fn symbol(&mut self, table: &Table) -> Result<u8, JpegError> {
        let (length, symbol) = match table.short(self.buffer) {
            Some(found) => found,
            None => table.long(self.buffer).ok_or_else(|| self.broken())?,
        };
        self.skip(length);
        Ok(symbol)
    }

    /// The reason for a code that is none: zeros behind the end, or damage.
    #[cold]
    fn broken(&self) -> JpegError {
        if self.ended && self.count < 16 { JpegError::Truncated } else { JpegError::Damaged("a code is none") }
    }

    /// Whether all that was taken was there.
    #[inline(always)]
    pub(super) fn check(&self) -> Result<(), JpegError> {
        if self.count < 0 { Err(JpegError::Truncated) } else { Ok(()) }
    }

    /// Drops the rest of the segment and goes on behind restart marker `number` modulo 8.
    ///
    /// # Errors
    /// If another marker comes first.
    pub(super) fn restart(&mut self, number: usize) -> Result<(), JpegError> {
        let at = self.marker();
        match self.data.get(at) {
            Some(marker) if *marker == 0xD0 + (number % 8) as u8 => {
                *self = Self::new(self.data, at + 1);
                Ok(())
            }
            Some(0xD0..=0xD7) => Err(JpegError::Damaged("a part is missing")),
            _ => Err(JpegError::Truncated),
        }
    }

    /// Checks that nothing but a marker follows, or the end: a file whose end was never written may hold zeros, which
    /// are codes, too.
    ///
    /// # Errors
    /// If more follows without a marker behind it.
    pub(super) fn finish(&self) -> Result<(), JpegError> {
        let left = self.data.len().saturating_sub(self.at) + self.count.max(0) as usize / 8;
        if self.marker() == self.data.len() && left > 1 { Err(JpegError::Truncated) } else { Ok(()) }
    }

    /// Where the code of the next marker lies; at the end of the data without one. Bytes before it do not count:
    /// cameras leave some.
    pub(super) fn marker(&self) -> usize {
        // Whole bytes in the buffer may lie behind a marker only if there is none in them.
        let mut at = self.at;
        while let Some(pair) = self.data.get(at..at + 2) {
            if pair[0] == 0xFF && !matches!(pair[1], 0 | 0xFF) {
                return at + 1;
            }
            at += 1;
        }
        self.data.len()
    }
}
