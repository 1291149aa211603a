//! Blocks of scans that are kept as coefficients, in zigzag order.

use super::{
    JpegError,
    bits::Bits,
    huffman::Table,
    scan::{Scan, difference},
};

/// What one block leaves for the next.
#[derive(Debug, Default)]
pub(super) struct State {
    predicted: [i32; 4],
    /// Blocks that end before they begin.
    empty: u32,
}

const MISSING: JpegError = JpegError::Damaged("a Huffman table is missing");

/// Reads what `scan` brings of a block of its component number `index`.
pub(super) fn block(
    bits: &mut Bits<'_>,
    scan: &Scan,
    index: usize,
    block: &mut [i16; 64],
    state: &mut State,
) -> Result<(), JpegError> {
    let part = &scan.parts[index];
    let ((start, end), (before, low)) = (scan.band, scan.bits);
    bits.refill();
    if start == 0 {
        if before == 0 {
            let dc = part.dc.as_ref().ok_or(MISSING)?;
            let predicted = &mut state.predicted[index & 3];
            *predicted = predicted.wrapping_add(difference(bits, dc)?);
            block[0] = (*predicted << low) as i16;
        } else if bits.bit() {
            block[0] |= 1 << low;
        }
    }
    if end > 0 {
        let ac = part.ac.as_ref().ok_or(MISSING)?;
        let band = block.get_mut(start.max(1)..=end).ok_or(MISSING)?;
        if before == 0 {
            first(bits, ac, band, low, &mut state.empty)?;
        } else {
            refine(bits, ac, band, low, &mut state.empty)?;
        }
    }
    bits.check()
}

/// The first bits of a band, from bit `low` up.
fn first(bits: &mut Bits<'_>, ac: &Table, band: &mut [i16], low: u32, empty: &mut u32) -> Result<(), JpegError> {
    if *empty > 0 {
        *empty -= 1;
        return Ok(());
    }
    let mut at = 0;
    while at < band.len() {
        bits.refill();
        let symbol = bits.symbol(ac)?;
        let (zeros, size) = (symbol >> 4, u32::from(symbol & 15));
        match (size, zeros) {
            (0, 15) => at += 16,
            (0, _) => {
                *empty = run(bits, zeros) - 1;
                break;
            }
            _ => {
                at += usize::from(zeros);
                let value = bits.signed(size) << low;
                *band.get_mut(at).ok_or(JpegError::Damaged("a block has too many coefficients"))? = value as i16;
                at += 1;
            }
        }
    }
    Ok(())
}

/// One more bit, `low`, of a band.
fn refine(bits: &mut Bits<'_>, ac: &Table, band: &mut [i16], low: u32, empty: &mut u32) -> Result<(), JpegError> {
    let one = 1_i16 << low;
    let correct = |bits: &mut Bits<'_>, value: &mut i16| {
        if bits.bit() && *value & one == 0 {
            *value = value.wrapping_add(if *value < 0 { -one } else { one });
        }
    };
    let mut at = 0;
    while *empty == 0 && at < band.len() {
        bits.refill();
        let symbol = bits.symbol(ac)?;
        let (mut zeros, size) = (symbol >> 4, symbol & 15);
        let mut new = 0;
        match (size, zeros) {
            (0, 15) => {}
            (0, _) => {
                *empty = run(bits, zeros);
                break;
            }
            _ => new = if bits.bit() { one } else { -one },
        }
        // Over coefficients that are not 0, each with its bit, and as many zeros.
        while let Some(value) = band.get_mut(at) {
            if *value != 0 {
                correct(bits, value);
            } else if zeros == 0 {
                *value = new;
                break;
            } else {
                zeros -= 1;
            }
            at += 1;
        }
        at += 1;
    }
    if *empty > 0 {
        for value in band.iter_mut().skip(at).filter(|value| **value != 0) {
            correct(bits, value);
        }
        *empty -= 1;
    }
    Ok(())
}

/// The length of a run of empty blocks, of class `size`.
fn run(bits: &mut Bits<'_>, size: u8) -> u32 {
    if size == 0 { 1 } else { (1 << size) + bits.take(size.into()) as u32 }
}
