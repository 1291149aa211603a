//! The frame: its components, and how blocks become rows of pixels.

use super::{
    JpegError,
    bits::Bits,
    color::Coding,
    header::ZIGZAG,
    idct,
    rows::Rows,
    scan::{Restarts, Scan, block},
};
use crate::{Pixels, limits};

/// One component.
#[derive(Debug)]
pub(super) struct Component {
    pub(super) id: u8,
    /// Blocks in an MCU, across and down.
    pub(super) h: usize,
    pub(super) v: usize,
    /// Of the quantisation table, and that table as it was in the first scan, in zigzag order.
    pub(super) slot: usize,
    pub(super) quant: Option<[i32; 64]>,
    /// Samples.
    pub(super) height: usize,
    pub(super) width: usize,
    /// Rows and columns of blocks, padded to whole MCUs.
    rows: usize,
    columns: usize,
    /// Of all blocks, in zigzag order; empty where they are not kept.
    coefficients: Vec<[i16; 64]>,
    /// By zigzag index: the lowest bit that has come; 255 for none.
    known: [u8; 64],
}

impl Component {
    /// From a frame header.
    ///
    /// # Errors
    /// If its sampling factors are none.
    pub(super) fn new(id: u8, sampling: u8, slot: u8) -> Result<Self, JpegError> {
        let (h, v) = (usize::from(sampling >> 4), usize::from(sampling & 15));
        if !(1..=4).contains(&h) || !(1..=4).contains(&v) {
            return Err(JpegError::Damaged("its sampling makes no sense"));
        }
        let (height, width, rows, columns) = (0, 0, 0, 0);
        let (coefficients, known) = (Vec::new(), [255; 64]);
        Ok(Self { id, h, v, slot: slot.into(), quant: None, height, width, rows, columns, coefficients, known })
    }

    /// Rows and columns of its blocks, without padding.
    pub(super) fn blocks(&self) -> (usize, usize) {
        (self.height.div_ceil(8), self.width.div_ceil(8))
    }

    /// The coefficients of the block at a row and a column.
    pub(super) fn block_mut(&mut self, (row, column): (usize, usize)) -> Result<&mut [i16; 64], JpegError> {
        let block = self.coefficients.get_mut(row * self.columns + column);
        block.ok_or(JpegError::Damaged("a block lies outside"))
    }

    /// Notes what a scan brings, and makes room for it.
    ///
    /// # Errors
    /// If that came before, or refines what has not come.
    pub(super) fn begin(&mut self, scan: &Scan, progressive: bool) -> Result<(), JpegError> {
        if self.coefficients.is_empty() {
            let count = self.rows * self.columns;
            limits::check_bytes((count * size_of::<[i16; 64]>()) as u64)?;
            self.coefficients.try_reserve_exact(count).map_err(|_| limits::TooLarge::Memory)?;
            // Zeros that the system gives take no memory until they are written to.
            self.coefficients = vec![[0; 64]; count];
        }
        let ((start, end), (before, low)) = (scan.band, scan.bits);
        for known in &mut self.known[start..=end] {
            let expected = if before == 0 { 255 } else { before as u8 };
            if *known != expected {
                return Err(JpegError::Damaged("its scans are out of order"));
            }
            *known = low as u8;
        }
        if progressive && start > 0 && self.known[0] == 255 {
            return Err(JpegError::Damaged("its scans are out of order"));
        }
        Ok(())
    }
}

/// The frame.
#[derive(Debug)]
pub(super) struct Frame {
    height: usize,
    width: usize,
    pub(super) components: Vec<Component>,
    pub(super) progressive: bool,
    /// The most blocks in an MCU, across and down, of any component.
    across: usize,
    down: usize,
}

impl Frame {
    /// # Errors
    /// If samples of one component do not fit those of another.
    pub(super) fn new(
        height: usize,
        width: usize,
        mut components: Vec<Component>,
        progressive: bool,
    ) -> Result<Self, JpegError> {
        if let [alone] = &mut components[..] {
            (alone.h, alone.v) = (1, 1);
        }
        let across = components.iter().map(|component| component.h).max().unwrap_or(1);
        let down = components.iter().map(|component| component.v).max().unwrap_or(1);
        for component in &mut components {
            let Component { h, v, .. } = *component;
            if !across.is_multiple_of(h) || !down.is_multiple_of(v) {
                return Err(JpegError::Unsupported("it is a JPEG with an unusual sampling of colours"));
            }
            component.height = (height * v).div_ceil(down);
            component.width = (width * h).div_ceil(across);
            component.rows = height.div_ceil(8 * down) * v;
            component.columns = width.div_ceil(8 * across) * h;
        }
        Ok(Self { height, width, components, progressive, across, down })
    }

    /// Rows and columns of MCUs of all components.
    pub(super) fn mcus(&self) -> (usize, usize) {
        (self.height.div_ceil(8 * self.down), self.width.div_ceil(8 * self.across))
    }

    /// Whether `scan` is all that there is.
    pub(super) fn is_one_scan(&self, scan: &Scan) -> bool {
        !self.progressive && scan.parts.len() == self.components.len()
    }

    /// Decodes a scan that brings the whole image.
    ///
    /// # Errors
    /// If it is damaged or cut off.
    pub(super) fn sequential(
        &self,
        bytes: &[u8],
        at: usize,
        scan: &Scan,
        coding: Coding,
    ) -> Result<Pixels, JpegError> {
        let missing = JpegError::Damaged("a table is missing");
        let (mut bits, mut restarts) = (Bits::new(bytes, at), Restarts::new(scan.restart));
        let mut predicted = [0; 4];
        let mut rows = Rows::new(&self.components, (self.height, self.width), (self.across, self.down), coding)?;
        let mut parts = Vec::new();
        for part in &scan.parts {
            let component = &self.components[part.index];
            let quant = component.quant.as_ref().ok_or(missing)?;
            parts.push((
                part.index,
                component,
                part.dc.as_ref().ok_or(missing)?,
                part.ac.as_ref().ok_or(missing)?,
                quant,
            ));
        }
        let (down, across) = self.mcus();
        for row in 0..down {
            for column in 0..across {
                if restarts.due(&mut bits)? {
                    predicted = [0; 4];
                }
                for ((index, component, dc, ac, quant), predicted) in parts.iter().zip(&mut predicted) {
                    for y in 0..component.v {
                        for x in 0..component.h {
                            let mut coefficients = [0; 64];
                            let last = block(&mut bits, (dc, ac), quant, predicted, &mut coefficients)?;
                            let (out, stride) = rows.block(*index, row * component.v + y, column * component.h + x);
                            idct::transform(&coefficients, last, out, stride)?;
                        }
                    }
                }
            }
            rows.emit(row + 1 == down);
        }
        bits.finish()?;
        Ok(rows.finish())
    }

    /// The image from the coefficients of several scans.
    ///
    /// # Errors
    /// If some have not come: none of a component's, or, without an end marker, any.
    pub(super) fn finish(self, ended: bool, coding: Coding) -> Result<Pixels, JpegError> {
        let whole = |component: &Component| component.known.iter().all(|low| *low == 0);
        let begun = |component: &Component| component.known[0] != 255;
        if !self.components.iter().all(if ended { begun } else { whole }) {
            return Err(JpegError::Truncated);
        }
        let mut rows = Rows::new(&self.components, (self.height, self.width), (self.across, self.down), coding)?;
        let (down, _) = self.mcus();
        for row in 0..down {
            for (index, component) in self.components.iter().enumerate() {
                let quant = component.quant.as_ref().ok_or(JpegError::Damaged("a table is missing"))?;
                for block_row in row * component.v..(row + 1) * component.v {
                    let blocks = &component.coefficients[block_row * component.columns..][..component.columns];
                    for (column, block) in blocks.iter().enumerate() {
                        let (mut coefficients, mut last) = ([0; 64], 0);
                        for (at, (value, quant)) in block.iter().zip(quant).enumerate() {
                            if *value != 0 {
                                coefficients[usize::from(ZIGZAG[at])] = i32::from(*value).wrapping_mul(*quant) as i16;
                                last = at;
                            }
                        }
                        let (out, stride) = rows.block(index, block_row, column);
                        idct::transform(&coefficients, last, out, stride)?;
                    }
                }
            }
            rows.emit(row + 1 == down);
        }
        Ok(rows.finish())
    }
}
