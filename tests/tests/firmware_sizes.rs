//! The sizes in docs/firmware.md are those of the code.

use common::{model::ModelHash, normalize::PixelStats};
use edge::linux::boards::{self, Needs};
use host::preset::{PRESETS, Preset};
use std::{fs, path::Path};

#[test]
fn the_table_of_boards_is_up_to_date() -> anyhow::Result<()> {
    let mut models = Vec::new();
    for (name, _) in PRESETS {
        models.push((name, Preset::named(name)?.model.encoder_spec(PixelStats::IMAGENET, ModelHash::default())));
    }
    let table = boards::table(models)?;
    let docs = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/firmware.md"))?;
    assert!(docs.contains(&table), "docs/firmware.md should have:\n{table}");
    Ok(())
}

#[test]
fn flash_covers_the_shipped_model() -> anyhow::Result<()> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/cifar-pico-32/encoder.native");
    let bytes = fs::read(file)?;
    let spec = *edge::native::Model::parse(&bytes)?.spec();
    let model = Needs::of(&spec, 64)?.flash - boards::PROGRAM_FLASH;
    assert!(model >= bytes.len() && model < bytes.len() + 4096, "{model} for a file of {}", bytes.len());
    Ok(())
}
