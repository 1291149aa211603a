//! Exported files in the reference tools: onnx's checker, and onnxruntime against tract.

use edge::{
    model_folder::{ModelFolder, Precision},
    tract_runtime::TractEncoder,
};
use ndarray::{Array2, Array3};
use ndarray_npy::write_npy;
use std::path::Path;
use tests::{parity_model, python, script, skip};

#[test]
fn the_checker_accepts_and_onnxruntime_agrees() -> anyhow::Result<()> {
    let Some(python) = python("MAE_PYTHON", "import numpy, onnx, onnxruntime") else {
        skip("no Python with onnx and onnxruntime (pip install -r tests/python/requirements.txt)");
        return Ok(());
    };
    let root = tempfile::tempdir()?;
    let (model, cases) = (root.path().join("model"), root.path().join("cases"));
    parity_model(&model)?;
    std::fs::create_dir(&cases)?;
    let folder = ModelFolder::open(&model)?;
    for form in Precision::ALL {
        let mut encoder = TractEncoder::load(&folder, form)?;
        for count in [1_usize, 16, 37, 64] {
            let ids: Vec<u32> = (0..count).map(|i| (i * 29 % 64) as u32).collect();
            let patches: Vec<f32> = (0..count * 48).map(|i| ((i * 7919 % 1000) as f32 / 250.0 - 2.0).sin()).collect();
            let features = encoder.encode(&patches, &ids)?;
            let file = |part: &str| cases.join(format!("{count}.{part}.npy"));
            write_npy(file("patches"), &Array3::from_shape_vec((1, count, 48), patches)?)?;
            let ids = ids.iter().map(|id| i64::from(*id)).collect();
            write_npy(file("ids"), &Array2::from_shape_vec((1, count), ids)?)?;
            write_npy(file(&format!("{form}.mean")), &Array2::from_shape_vec((1, 48), features.mean)?)?;
            write_npy(file(&format!("{form}.tokens")), &Array3::from_shape_vec((1, count, 48), features.tokens)?)?;
        }
    }
    let text = script(&python, "check_onnx.py", &[&model, &cases])?;
    assert_eq!(text.matches(" agrees ").count(), 12, "{text}");
    Ok(())
}

/// The file's description in docs/models.md is enough to read it.
#[test]
fn the_native_file_is_what_its_description_says() -> anyhow::Result<()> {
    let Some(python) = python("MAE_PYTHON", "import numpy, onnx") else {
        skip("no Python with onnx (pip install -r tests/python/requirements.txt)");
        return Ok(());
    };
    let root = tempfile::tempdir()?;
    let made = root.path().join("model");
    parity_model(&made)?;
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    for model in [made, tests.join("../models/cifar-pico-32")] {
        let text = script(&python, "check_native.py", &[&model])?;
        assert!(text.contains("encoder.native agrees"), "{text}");
    }
    Ok(())
}
