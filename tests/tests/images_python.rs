//! Pixels and features beside Pillow's: the figures of docs/images.md. With `--nocapture` it prints its tables.

use anyhow::{Context as _, ensure};
use imaging::{Crop, open, resize};
use std::{collections::BTreeMap, fs, path::Path};
use tests::{python, read_features, script, skip, succeed, worst_cosine};

/// Differences of one row of the page, of 255.
#[derive(Debug, Default)]
struct Row {
    cases: usize,
    largest: u8,
    sum: u64,
    values: usize,
}

#[test]
fn pixels_and_features_are_those_of_pillow() -> anyhow::Result<()> {
    let Some(python) = python("MAE_PYTHON", "import numpy, PIL; assert PIL.__version__ == '13.0.0'") else {
        skip("no Python with Pillow 13.0.0 (pip install -r tests/python/requirements.txt)");
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    script(&python, "make_images.py", &[folder.path()])?;

    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for line in fs::read_to_string(folder.path().join("cases.tsv"))?.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [label, name, channels, left, top, across, down, height, width, bound, raw] = fields[..] else {
            anyhow::bail!("{line}");
        };
        let expected = fs::read(folder.path().join("pillow").join(raw))?;
        let image = open(&folder.path().join("files").join(name), channels.parse()?).context(line.to_owned())?;
        let (height, width, bound): (usize, usize, u8) = (height.parse()?, width.parse()?, bound.parse()?);
        let crop = match left {
            "" => Crop::whole(&image),
            _ => Crop { left: left.parse()?, top: top.parse()?, width: across.parse()?, height: down.parse()? },
        };
        if bound == 0 {
            ensure!((image.height, image.width) == (height, width), "{line}: {}x{}", image.height, image.width);
        }
        let found = resize(&image, crop, height, width)?;
        ensure!(found.len() == expected.len(), "{line}: {} values", found.len());
        let row = rows.entry(label.into()).or_default();
        row.cases += 1;
        row.values += found.len();
        for (found, expected) in found.iter().zip(&expected) {
            let difference = found.abs_diff(*expected);
            ensure!(difference <= bound, "{line}: off by {difference}");
            row.largest = row.largest.max(difference);
            row.sum += u64::from(difference);
        }
    }
    println!("| case | files | largest difference | mean |");
    for (label, Row { cases, largest, sum, values }) in &rows {
        println!("| {label} | {cases} | {largest} | {:.4} |", *sum as f64 / *values as f64);
    }
    ensure!(rows.values().map(|row| row.cases).sum::<usize>() > 2000 && rows.len() > 40);
    features(folder.path())
}

/// The shipped model's features of the files, and of what Pillow makes of them: upright, RGB, 32x32.
fn features(folder: &Path) -> anyhow::Result<()> {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/cifar-pico-32").display().to_string();
    let of = |name: &str| -> anyhow::Result<_> {
        let (images, out) = (folder.join(name).display().to_string(), folder.join(format!("{name}.npy")));
        succeed("host", &["features", "--model", &model, "--images", &images, "--out", &out.display().to_string()]);
        read_features(&out)
    };
    let (ours, theirs) = (of("files")?, of("prepared")?);
    let worst = worst_cosine(&ours, &theirs);
    println!("features of {} files: cosine at worst {worst:.6}", ours.nrows());
    ensure!(worst >= 0.9995, "the features' cosine is {worst}");
    Ok(())
}
