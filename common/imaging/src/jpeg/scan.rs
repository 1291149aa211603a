//! Scans, and the blocks of sequential ones.

use super::{JpegError, bits::Bits, huffman::Table};
use std::rc::Rc;

/// Where the coefficients of a block go, by their order in the file.
pub(super) const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61,
    54, 47, 55, 62, 63,
];

/// One component in a scan.
#[derive(Debug)]
pub(super) struct Part {
    /// Which component of the frame.
    pub(super) index: usize,
    dc_slot: usize,
    ac_slot: usize,
    pub(super) dc: Option<Rc<Table>>,
    pub(super) ac: Option<Rc<Table>>,
}

/// What a scan brings.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) parts: Vec<Part>,
    /// First and last coefficient, by zigzag index.
    pub(super) band: (usize, usize),
    /// The lowest bit before it, 0 before the first scan of a band, and the lowest bit with it.
    pub(super) bits: (u32, u32),
    /// MCUs between restart markers; 0 without.
    pub(super) restart: usize,
}

impl Scan {
    /// All coefficients of components, each with its slots of DC and AC tables.
    pub(super) fn sequential(parts: Vec<(usize, usize, usize)>, restart: usize) -> Self {
        let part = |(index, dc_slot, ac_slot)| Part { index, dc_slot, ac_slot, dc: None, ac: None };
        Self { parts: parts.into_iter().map(part).collect(), band: (0, 63), bits: (0, 0), restart }
    }

    /// Some bits of some coefficients.
    ///
    /// # Errors
    /// If the specification allows no such scan.
    pub(super) fn progressive(
        parts: Vec<(usize, usize, usize)>,
        (start, end): (u8, u8),
        (before, after): (u8, u8),
        restart: usize,
    ) -> Result<Self, JpegError> {
        let alone = parts.len() == 1;
        let band = if start == 0 { end == 0 } else { alone && start <= end && end < 64 };
        if !band || after > 13 || (before != 0 && before != after + 1) {
            return Err(JpegError::Damaged("a progressive scan makes no sense"));
        }
        let scan = Self::sequential(parts, restart);
        Ok(Self { band: (start.into(), end.into()), bits: (before.into(), after.into()), ..scan })
    }

    /// Class (0 DC, 1 AC) and slot of the Huffman tables that it needs.
    pub(super) fn tables(&self) -> Vec<(usize, usize)> {
        let (start, end) = self.band;
        let slots = |part: &Part| {
            let dc = (start == 0 && self.bits.0 == 0).then_some((0, part.dc_slot));
            dc.into_iter().chain((end > 0).then_some((1, part.ac_slot)))
        };
        self.parts.iter().flat_map(slots).collect()
    }

    /// With those tables.
    pub(super) fn with_tables(mut self, tables: &[[Option<Rc<Table>>; 4]; 2]) -> Self {
        for part in &mut self.parts {
            part.dc = tables[0].get(part.dc_slot).cloned().flatten();
            part.ac = tables[1].get(part.ac_slot).cloned().flatten();
        }
        self
    }
}

/// Reads a block of a sequential scan, dequantised and in natural order, into zeros. `quant` is in zigzag order.
/// Returns the zigzag index of the last coefficient that is not 0.
#[inline]
pub(super) fn block(
    bits: &mut Bits<'_>,
    (dc, ac): (&Table, &Table),
    quant: &[i32; 64],
    predicted: &mut i32,
    out: &mut [i16; 64],
) -> Result<usize, JpegError> {
    bits.refill();
    *predicted = predicted.wrapping_add(difference(bits, dc)?);
    out[0] = predicted.wrapping_mul(quant[0]) as i16;
    let (mut at, mut last) = (1, 0);
    while at < 64 {
        bits.refill();
        let symbol = bits.symbol(ac)?;
        let (zeros, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if size == 0 {
            if zeros < 15 {
                break;
            }
            at += 16;
            continue;
        }
        at += zeros;
        let value = bits.signed(size);
        let place = ZIGZAG.get(at).ok_or(JpegError::Damaged("a block has too many coefficients"))?;
        out[usize::from(*place & 63)] = value.wrapping_mul(quant[at & 63]) as i16;
        last = at;
        at += 1;
    }
    bits.check()?;
    Ok(last)
}

/// The difference of a DC coefficient to the one before.
#[inline(always)]
pub(super) fn difference(bits: &mut Bits<'_>, dc: &Table) -> Result<i32, JpegError> {
    match bits.symbol(dc)? {
        size @ 0..=15 => Ok(bits.signed(size.into())),
        _ => Err(JpegError::Damaged("a block's mean is none")),
    }
}

/// Where restarts are due.
#[derive(Debug)]
pub(super) struct Restarts {
    every: usize,
    left: usize,
    seen: usize,
}

impl Restarts {
    pub(super) fn new(every: usize) -> Self {
        Self { every, left: every, seen: 0 }
    }

    /// To be asked before every MCU: whether predictions start anew.
    #[inline(always)]
    pub(super) fn due(&mut self, bits: &mut Bits<'_>) -> Result<bool, JpegError> {
        if self.every == 0 {
            return Ok(false);
        }
        let due = self.left == 0;
        if due {
            bits.restart(self.seen)?;
            (self.left, self.seen) = (self.every, self.seen + 1);
        }
        self.left -= 1;
        Ok(due)
    }
}
