//! One component of the frame: its samples' geometry, and its coefficients where several scans bring them.

use super::{JpegError, scan::Scan};
use crate::limits;

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
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Of all blocks, in zigzag order; empty where they are not kept.
    pub(super) coefficients: Vec<[i16; 64]>,
    /// By zigzag index: the lowest bit that has come; 255 for none.
    pub(super) known: [u8; 64],
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
