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

/// One row of interleaved pixels from a row of each component.
pub(super) fn interleave(coding: Coding, rows: &[&[u8]], out: &mut [u8]) {
    match (coding, rows) {
        (Coding::Grey, [grey]) => out.copy_from_slice(&grey[..out.len()]),
        (Coding::YCbCr, [y, cb, cr]) => {
            for (((out, y), cb), cr) in out.as_chunks_mut::<3>().0.iter_mut().zip(*y).zip(*cb).zip(*cr) {
                *out = rgb(*y, *cb, *cr);
            }
        }
        (Coding::Ycck, [y, cb, cr, k]) => {
            for ((((out, y), cb), cr), k) in out.as_chunks_mut::<4>().0.iter_mut().zip(*y).zip(*cb).zip(*cr).zip(*k) {
                let [r, g, b] = rgb(*y, *cb, *cr);
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

/// The conversion of JFIF, in fixed point with 16 bits.
#[inline(always)]
fn rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let r = y + ((91_881 * cr + HALF) >> 16);
    let g = y + ((HALF - 22_554 * cb - 46_802 * cr) >> 16);
    let b = y + ((116_130 * cb + HALF) >> 16);
    [r, g, b].map(|value| value.clamp(0, 255) as u8)
}
