//! Rows of pixels from blocks of samples: chroma is brought to the size of luma as libjpeg does it ("fancy").
//!
//! Samples are kept for two rows of MCUs only, so that a large photograph takes little more memory than its pixels.

use super::{JpegError, color, color::Coding, component::Component};
use crate::{Pixels, limits::TooLarge};

/// How samples become as many as there are pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upsampling {
    /// They are.
    None,
    /// Twice as many columns.
    Columns,
    /// Twice as many rows.
    Rows,
    /// Twice as many of both.
    Both,
    /// This many times as many columns and rows, repeated.
    Repeat(usize, usize),
}

impl Upsampling {
    fn of(component: &Component, (across, down): (usize, usize)) -> Self {
        match (across / component.h, down / component.v, component.width) {
            (1, 1, _) => Self::None,
            (1, 2, _) => Self::Rows,
            (2, 1, 3..) => Self::Columns,
            (2, 2, 3..) => Self::Both,
            (columns, rows, _) => Self::Repeat(columns, rows),
        }
    }
}

/// The last samples of a component.
#[derive(Debug)]
struct Plane {
    /// Two rows of MCUs, by turns.
    samples: Vec<u8>,
    stride: usize,
    /// Rows in `samples`.
    ring: usize,
    height: usize,
    width: usize,
    down: usize,
    upsampling: Upsampling,
    /// One upsampled row, and sums on the way to it.
    row: Vec<u8>,
    sums: Vec<u16>,
}

impl Plane {
    /// Row `y` of the component; beyond its borders, the one there.
    fn row(&self, y: isize) -> &[u8] {
        let y = y.clamp(0, self.height as isize - 1) as usize % self.ring;
        &self.samples[y * self.stride..][..self.width]
    }

    /// Which rows pixel row `y` needs: the nearest, and for some upsampling the next nearest.
    fn sources(&self, y: usize) -> (isize, isize) {
        let near = (y / self.down) as isize;
        match self.upsampling {
            Upsampling::Rows | Upsampling::Both => (near, if y.is_multiple_of(2) { near - 1 } else { near + 1 }),
            _ => (near, near),
        }
    }

    /// Whether the last row of samples waits for the next one.
    fn needs_more(&self) -> bool {
        matches!(self.upsampling, Upsampling::Rows | Upsampling::Both)
    }

    /// Makes `self.row`, unless the samples serve as they are.
    fn upsample(&mut self, y: usize) {
        let (near, far) = self.sources(y);
        let (mut row, mut sums) = (std::mem::take(&mut self.row), std::mem::take(&mut self.sums));
        let (near, far) = (self.row(near), self.row(far));
        match self.upsampling {
            Upsampling::None => {}
            Upsampling::Columns => columns(near, &mut row),
            Upsampling::Rows => {
                let bias = if y.is_multiple_of(2) { 1 } else { 2 };
                for ((out, near), far) in row.iter_mut().zip(near).zip(far) {
                    *out = ((3 * u16::from(*near) + u16::from(*far) + bias) >> 2) as u8;
                }
            }
            Upsampling::Both => {
                for ((sum, near), far) in sums.iter_mut().zip(near).zip(far) {
                    *sum = 3 * u16::from(*near) + u16::from(*far);
                }
                both(&sums, &mut row);
            }
            Upsampling::Repeat(times, _) => {
                for (out, sample) in row.chunks_mut(times).zip(near) {
                    out.fill(*sample);
                }
            }
        }
        (self.row, self.sums) = (row, sums);
    }

    /// The samples of pixel row `y`, after [`Self::upsample`].
    fn pixels(&self, y: usize) -> &[u8] {
        if self.upsampling == Upsampling::None { self.row(y as isize) } else { &self.row }
    }
}

/// Twice as many columns, each three quarters the nearer sample and one the farther.
fn columns(samples: &[u8], out: &mut [u8]) {
    let (pairs, end) = (out.as_chunks_mut::<2>().0, samples.len() - 1);
    let mix = |near: u8, far: u8, bias: u16| ((3 * u16::from(near) + u16::from(far) + bias) >> 2) as u8;
    for (pair, window) in pairs[1..].iter_mut().zip(samples.windows(3)) {
        *pair = [mix(window[1], window[0], 1), mix(window[1], window[2], 2)];
    }
    pairs[0] = [samples[0], mix(samples[0], samples[1], 2)];
    pairs[end] = [mix(samples[end], samples[end - 1], 1), samples[end]];
}

/// As [`columns`], from sums of two rows: sixteenths in all.
fn both(sums: &[u16], out: &mut [u8]) {
    let (pairs, end) = (out.as_chunks_mut::<2>().0, sums.len() - 1);
    let mix = |near: u16, far: u16, bias: u16| ((3 * near + far + bias) >> 4) as u8;
    for (pair, window) in pairs[1..].iter_mut().zip(sums.windows(3)) {
        *pair = [mix(window[1], window[0], 8), mix(window[1], window[2], 7)];
    }
    pairs[0] = [mix(sums[0], sums[0], 8), mix(sums[0], sums[1], 7)];
    pairs[end] = [mix(sums[end], sums[end - 1], 8), mix(sums[end], sums[end], 7)];
}

/// All components' samples, and the pixels that they have become.
#[derive(Debug)]
pub(super) struct Rows {
    planes: Vec<Plane>,
    coding: Coding,
    height: usize,
    width: usize,
    /// Rows of MCUs that are complete.
    complete: usize,
    /// Rows of pixels that are made.
    made: usize,
    data: Vec<u8>,
}

impl Rows {
    /// `across` and `down`: the most blocks in an MCU.
    ///
    /// # Errors
    /// If there is not enough memory.
    pub(super) fn new(
        components: &[Component],
        (height, width): (usize, usize),
        (across, down): (usize, usize),
        coding: Coding,
    ) -> Result<Self, JpegError> {
        let plane = |component: &Component| {
            let (stride, ring) = (width.div_ceil(8 * across) * component.h * 8, 2 * component.v * 8);
            let upsampling = Upsampling::of(component, (across, down));
            let row = if upsampling == Upsampling::None { 0 } else { across / component.h * component.width };
            let sums = if upsampling == Upsampling::Both { component.width } else { 0 };
            Plane {
                samples: vec![0; stride * ring],
                stride,
                ring,
                height: component.height,
                width: component.width,
                down: down / component.v,
                upsampling,
                row: vec![0; row],
                sums: vec![0; sums],
            }
        };
        let mut data = Vec::new();
        let bytes = height * width * coding.channels() + color::SLACK;
        data.try_reserve_exact(bytes).map_err(|_| TooLarge::Memory)?;
        let planes = components.iter().map(plane).collect();
        Ok(Self { planes, coding, height, width, complete: 0, made: 0, data })
    }

    /// Where the samples of a component's block go, with the distance of their rows.
    #[inline(always)]
    pub(super) fn block(&mut self, component: usize, row: usize, column: usize) -> (&mut [u8], usize) {
        let plane = &mut self.planes[component];
        let at = row * 8 % plane.ring * plane.stride + column * 8;
        (plane.samples.get_mut(at..).unwrap_or_default(), plane.stride)
    }

    /// One more row of MCUs is complete: makes the pixels that need no more, all of them after the last.
    pub(super) fn emit(&mut self, last: bool) {
        self.complete += 1;
        let ready =
            |plane: &Plane| (self.complete * plane.ring / 2).saturating_sub(plane.needs_more().into()) * plane.down;
        let ready = self.planes.iter().map(ready).min().unwrap_or(0);
        let until = if last { self.height } else { ready.min(self.height) };
        let length = self.width * self.coding.channels();
        self.data.resize(until * length + color::SLACK, 0);
        for y in self.made..until {
            for plane in &mut self.planes {
                plane.upsample(y);
            }
            let mut rows = [&[][..]; 4];
            for (row, plane) in rows.iter_mut().zip(&self.planes) {
                *row = &plane.pixels(y)[..self.width];
            }
            color::interleave(self.coding, &rows[..self.planes.len()], &mut self.data[y * length..]);
        }
        self.made = self.made.max(until);
    }

    /// The pixels.
    pub(super) fn finish(mut self) -> Pixels {
        self.data.truncate(self.height * self.width * self.coding.channels());
        Pixels { height: self.height, width: self.width, channels: self.coding.channels(), data: self.data }
    }
}
