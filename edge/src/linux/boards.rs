//! What a firmware with the native encoder takes of a microcontroller, and which microcontrollers have that.

use crate::native::{NativeError, Shape, layout::Layout};
use common::model::{EncoderSpec, SpecError};
use std::fmt::Write as _;

/// Flash of the firmware without its model, bytes: `edge/firmware/cortex-m` has less, which `.ci/run` checks.
pub const PROGRAM_FLASH: usize = 160 << 10;
/// RAM of the firmware beside what depends on the model, its stack included, bytes; checked likewise.
pub const PROGRAM_RAM: usize = 28 << 10;
/// Tokens that are worked on together: the number that takes the least memory.
const ROWS: usize = 4;

/// The memory of a microcontroller, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Board {
    /// Its name.
    pub name: &'static str,
    /// RAM in all.
    pub ram: usize,
    /// The largest part of it with consecutive addresses; the encoder's workspace must lie in one.
    pub largest: usize,
    /// Flash in it, or usually beside it.
    pub flash: usize,
}

/// Microcontrollers by their data sheets.
pub const BOARDS: [Board; 4] = [
    Board { name: "RP2350", ram: 520 << 10, largest: 512 << 10, flash: 4 << 20 },
    Board { name: "STM32H743", ram: 1 << 20, largest: 512 << 10, flash: 2 << 20 },
    Board { name: "STM32N6", ram: 4224 << 10, largest: 4224 << 10, flash: 64 << 20 },
    Board { name: "ESP32-S3", ram: 512 << 10, largest: 416 << 10, flash: 8 << 20 },
];

/// What a model needs on a microcontroller, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Flash: program and model.
    pub flash: usize,
    /// The encoder's workspace.
    pub workspace: usize,
    /// RAM: program with its stack, image, visible patches, workspace.
    pub ram: usize,
}

impl Needs {
    /// What is needed to encode up to `visible` patches.
    ///
    /// # Errors
    /// If the native encoder cannot run such a model.
    pub fn of(spec: &EncoderSpec, visible: usize) -> Result<Self, NativeError> {
        let (shape, layout) = (Shape::of(spec)?, Layout::new(spec)?);
        let grid = spec.grid().map_err(SpecError::from)?;
        let workspace = 64 * shape.workspace(visible, ROWS, 1);
        // Noise and numbers of patches are 4 bytes each.
        let buffers = grid.image_len() + visible * grid.patch_dim() + 8 * grid.patches();
        // The header has a few bytes a tensor, and is rounded up to whole lines.
        let header = 64 + 16 * layout.entries().count();
        let flash = PROGRAM_FLASH + header + layout.data_bytes() as usize;
        Ok(Self { flash, workspace, ram: PROGRAM_RAM + buffers + workspace })
    }

    fn fit(&self, board: &Board) -> bool {
        self.flash <= board.flash && self.ram <= board.ram && self.workspace <= board.largest
    }
}

/// The most patches that can be visible on a board; 0 if none can.
///
/// # Errors
/// If the native encoder cannot run such a model.
pub fn most_visible(spec: &EncoderSpec, board: &Board) -> Result<usize, NativeError> {
    let patches = Shape::of(spec)?.patches;
    for visible in (1..=patches).rev() {
        if Needs::of(spec, visible)?.fit(board) {
            return Ok(visible);
        }
    }
    Ok(0)
}

/// What fits where, for a person: one line.
///
/// # Errors
/// If the native encoder cannot run such a model.
pub fn line(spec: &EncoderSpec) -> Result<String, NativeError> {
    let patches = Shape::of(spec)?.patches;
    let (few, all) = (Needs::of(spec, (patches / 4).max(1))?, Needs::of(spec, patches)?);
    let mut line = format!(
        "{} KiB flash; {} KiB RAM for a quarter of the patches, {} KiB for all;",
        kib(few.flash),
        kib(few.ram),
        kib(all.ram)
    );
    for (index, board) in BOARDS.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(line, "{comma} {} {}", board.name, share(spec, board)?);
    }
    Ok(line)
}

/// The table of docs/firmware.md: models by name.
///
/// # Errors
/// If the native encoder cannot run one of the models.
pub fn table<'a>(models: impl IntoIterator<Item = (&'a str, EncoderSpec)>) -> Result<String, NativeError> {
    let names = BOARDS.map(|board| board.name).join(" | ");
    let mut table = format!("| model | flash, KiB | RAM, KiB: 25 % | 50 % | 100 % | {names} |\n");
    let _ = writeln!(table, "|---|--:|--:|--:|--:|{}", "---|".repeat(BOARDS.len()));
    for (name, spec) in models {
        let patches = Shape::of(&spec)?.patches;
        let needs = |part: usize| Needs::of(&spec, (patches / part).max(1));
        let (quarter, half, all) = (needs(4)?, needs(2)?, needs(1)?);
        let ram = [quarter, half, all].map(|needs| kib(needs.ram).to_string()).join(" | ");
        let _ = write!(table, "| {name} | {} | {ram} |", kib(all.flash));
        for board in &BOARDS {
            let _ = write!(table, " {} |", share(&spec, board)?);
        }
        table.push('\n');
    }
    Ok(table)
}

fn kib(bytes: usize) -> usize {
    bytes.div_ceil(1024)
}

/// How many patches can be visible on a board, in words.
fn share(spec: &EncoderSpec, board: &Board) -> Result<String, NativeError> {
    let patches = Shape::of(spec)?.patches;
    if Needs::of(spec, 1)?.flash > board.flash {
        return Ok("flash too small".into());
    }
    Ok(match most_visible(spec, board)? {
        0 => "RAM too small".into(),
        most if most == patches => "all".into(),
        most => format!("{most} of {patches}"),
    })
}
