//! Colours, as libjpeg computes them in integers.

/// Which colours the components are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// One component.
    Grey,
    /// Three, not converted.
    Rgb,
    /// The usual three.
    YCbCr,
    /// Four, not converted.
    Cmyk,
    /// CMY in the place of RGB, and black.
    Ycck,
}

impl Coding {
    /// Channels of the pixels.
    pub(super) fn channels(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb | Self::YCbCr => 3,
            Self::Cmyk | Self::Ycck => 4,
        }
    }
}

/// Bytes behind a row that [`interleave`] may write.
pub(super) const SLACK: usize = 3 * LANES + 1;

/// Pixels that are converted at once.
const LANES: usize = 16;

/// One row of interleaved pixels from a row of each component, all as long.
pub(super) fn interleave(coding: Coding, rows: &[&[u8]], out: &mut [u8]) {
    match (coding, rows) {
        (Coding::Grey, [grey]) => out[..grey.len()].copy_from_slice(grey),
        (Coding::YCbCr, [y, cb, cr]) => {
            let ((y, y_end), (cb, cb_end), (cr, cr_end)) = (y.as_chunks(), cb.as_chunks(), cr.as_chunks());
            let mut at = 0;
            for ((y, cb), cr) in y.iter().zip(cb).zip(cr) {
                write(&rgb(y, cb, cr), &mut out[at..]);
                at += 3 * LANES;
            }
            if !y_end.is_empty() {
                write(&rgb(&padded(y_end), &padded(cb_end), &padded(cr_end)), &mut out[at..]);
            }
        }
        (Coding::Ycck, [y, cb, cr, k]) => {
            let samples = y.chunks(LANES).zip(cb.chunks(LANES)).zip(cr.chunks(LANES));
            let words = samples.flat_map(|((y, cb), cr)| rgb(&padded(y), &padded(cb), &padded(cr)));
            for ((out, word), k) in out.as_chunks_mut::<4>().0.iter_mut().zip(words).zip(*k) {
                let [r, g, b, _] = word.to_le_bytes();
                *out = [!r, !g, !b, *k];
            }
        }
        (_, rows) => {
            for (channel, row) in rows.iter().enumerate() {
                for (out, sample) in out.iter_mut().skip(channel).step_by(rows.len()).zip(*row) {
                    *out = *sample;
                }
            }
        }
    }
}

fn padded(samples: &[u8]) -> [u8; LANES] {
    let mut lanes = [0; LANES];
    for (lane, sample) in lanes.iter_mut().zip(samples) {
        *lane = *sample;
    }
    lanes
}

/// The conversion of JFIF, in fixed point with 16 bits. Pixels are words of red, green and blue from the lowest byte.
#[inline(always)]
fn rgb(y: &[u8; LANES], cb: &[u8; LANES], cr: &[u8; LANES]) -> [u32; LANES] {
    let mut words = [0; LANES];
    for x in 0..LANES {
        let (y, cb, cr) = (i16::from(y[x]), i16::from(cb[x]) - 128, i16::from(cr[x]) - 128);
        let high = |value: i16, constant: i16| ((i32::from(value) * i32::from(constant)) >> 16) as i16;
        // 1.402 cr, 1.772 cb, and 0.34414 cb + 0.71414 cr, rounded, as sums of whole parts and products of 16 bits.
        let r = y + cr + ((high(2 * cr, 26_345) + 1) >> 1);
        let b = y + 2 * cb + ((high(2 * cb, -14_942) + 1) >> 1);
        let rest = i32::from(cr) * 18_734 - i32::from(cb) * 22_554 + (1 << 15);
        let g = y - cr + (rest >> 16) as i16;
        let byte = |value: i16| u32::from(value.clamp(0, 255) as u8);
        words[x] = byte(r) | byte(g) << 8 | byte(b) << 16;
    }
    words
}

/// Writes pixels of three bytes, and one byte more.
#[inline(always)]
fn write(words: &[u32; LANES], out: &mut [u8]) {
    let Some(out) = out.first_chunk_mut::<SLACK>() else { return };
    for (x, word) in words.iter().enumerate() {
        out[3 * x..3 * x + 4].copy_from_slice(&word.to_le_bytes());
    }
}
