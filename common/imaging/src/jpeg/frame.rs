//! The frame: how blocks become rows of pixels.

use super::{
    JpegError,
    bits::Bits,
    color::Coding,
    component::Component,
    idct, progressive,
    rows::Rows,
    scan::{Restarts, Scan, ZIGZAG, block},
};
use crate::Pixels;

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

    /// Reads a scan into the coefficients of the frame. Returns where the bytes behind it begin.
    ///
    /// # Errors
    /// If it is damaged or cut off.
    pub(super) fn coefficients(&mut self, bytes: &[u8], at: usize, scan: &Scan) -> Result<usize, JpegError> {
        for part in &scan.parts {
            self.components[part.index].begin(scan, self.progressive)?;
        }
        let (mut bits, mut restarts) = (Bits::new(bytes, at), Restarts::new(scan.restart));
        let mut state = progressive::State::default();
        if let [part] = &scan.parts[..] {
            // Alone, a component's MCU is one block, and padding is left out.
            let (rows, columns) = self.components[part.index].blocks();
            for row in 0..rows {
                for column in 0..columns {
                    if restarts.due(&mut bits)? {
                        state = Default::default();
                    }
                    let block = self.components[part.index].block_mut((row, column))?;
                    progressive::block(&mut bits, scan, 0, block, &mut state)?;
                }
            }
        } else {
            let (rows, columns) = self.mcus();
            for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
                if restarts.due(&mut bits)? {
                    state = Default::default();
                }
                for (index, part) in scan.parts.iter().enumerate() {
                    let (h, v) = (self.components[part.index].h, self.components[part.index].v);
                    for y in 0..v {
                        for x in 0..h {
                            let place = (row * v + y, column * h + x);
                            let block = self.components[part.index].block_mut(place)?;
                            progressive::block(&mut bits, scan, index, block, &mut state)?;
                        }
                    }
                }
            }
        }
        Ok(bits.marker().saturating_sub(1))
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
