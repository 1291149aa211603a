//! Files and folders that appear whole or not at all.

use std::{fs, io, path::Path};

/// Writes `bytes` to `path` through a temporary file in the same folder.
///
/// # Errors
/// Those of the file system; a file that was at `path` is then untouched.
pub fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new().prefix(".writing-").tempfile_in(folder)?;
    io::Write::write_all(&mut file, bytes)?;
    file.as_file().sync_all()?;
    set_usual_permissions(file.path())?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Fills a temporary folder beside `path` with `fill`, then gives it the name `path`, replacing what was there.
///
/// # Errors
/// Those of `fill` and of the file system; what was at `path` is then untouched.
pub fn write_folder<E: From<io::Error>>(path: &Path, fill: impl FnOnce(&Path) -> Result<(), E>) -> Result<(), E> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent)?;
    let staging = tempfile::Builder::new().prefix(".writing-").tempdir_in(parent)?;
    fill(staging.path())?;
    let staging = staging.keep();
    let replace = || -> io::Result<()> {
        set_usual_permissions(&staging)?;
        if path.exists() {
            let old = tempfile::Builder::new().prefix(".replaced-").tempdir_in(parent)?;
            fs::rename(path, old.path().join("old"))?;
        }
        fs::rename(&staging, path)
    };
    replace().inspect_err(|_| drop(fs::remove_dir_all(&staging)))?;
    Ok(())
}

/// Temporary files are private to their owner; finished ones are as any other.
#[cfg(unix)]
fn set_usual_permissions(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = if path.is_dir() { 0o755 } else { 0o644 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_usual_permissions(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_folder_leaves_the_old_one() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let path = root.path().join("model");
        write_folder(&path, |folder| fs::write(folder.join("a"), "1"))?;
        let failed = write_folder(&path, |folder| {
            fs::write(folder.join("a"), "2")?;
            Err(io::Error::other("disk full"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_to_string(path.join("a"))?, "1");
        write_folder(&path, |folder| fs::write(folder.join("b"), "3"))?;
        assert!(!path.join("a").exists() && path.join("b").exists());
        assert_eq!(fs::read_dir(root.path())?.count(), 1, "nothing half-written is left");
        Ok(())
    }
}
