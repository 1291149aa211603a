//! PyTorch files of every container and under every name, made by torch.

use host::{
    formats::source,
    tensors::{NamedTensor, Tensors},
};
use std::{fs, path::PathBuf};
use tests::{python, script, skip};

/// The one tensor whose name ends in this.
const NAME: &str = "patch_embed.proj.weight";

fn embedding(tensors: &Tensors) -> Option<&NamedTensor> {
    tensors.iter().find(|(name, _)| name.ends_with(NAME)).map(|(_, tensor)| tensor)
}

#[test]
fn what_torch_writes_is_read_under_every_name() -> anyhow::Result<()> {
    let Some(python) = python("MAE_PYTHON", "import torch") else {
        skip("no Python with torch (pip install -r tests/python/requirements.txt)");
        return Ok(());
    };
    let root = tempfile::tempdir()?;
    script(&python, "make_archives.py", &[root.path()])?;
    let expected = NamedTensor { shape: vec![1, 3, 2, 2], data: (0..12).map(|value| value as f32).collect() };
    for (folder, count) in [("names", 111), ("protocols", 10), ("modules", 6)] {
        let files = fs::read_dir(root.path().join(folder))?.map(|entry| Ok(entry?.path()));
        let files: Vec<PathBuf> = files.collect::<anyhow::Result<_>>()?;
        assert_eq!(files.len(), count);
        for file in files {
            let found = source::open(&file, None)?;
            assert_eq!(embedding(&found.tensors), Some(&expected), "{}", file.display());
            // TorchScript does not tell buffers that are not to be saved from others.
            let script = file.extension().is_some_and(|extension| extension == "pt");
            assert!(script || !found.tensors.keys().any(|name| name.ends_with("cache")), "{}", file.display());
        }
    }
    let parts = source::open(&root.path().join("parts"), None)?;
    assert_eq!((embedding(&parts.tensors), parts.tensors.len()), (Some(&expected), 2));
    assert!(parts.file.ends_with("pytorch_model.bin.index.json"));
    let same = root.path().join("same.pth");
    for (key, group, other) in [(None, "teacher", "student"), (Some("student"), "student", "teacher")] {
        let found = source::open(&same, key)?;
        assert_eq!((found.group.as_str(), found.others), (group, vec![other.to_owned()]));
        assert_eq!(embedding(&found.tensors), Some(&expected));
    }
    Ok(())
}
