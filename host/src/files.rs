//! Files and folders that appear whole or not at all, and stay when the power fails: what is written is synchronised
//! before it gets its name, and the folder that holds the name after.

use std::{fs, io, path::Path};

/// Something half-written; of no use.
const WRITING: &str = ".writing-";
/// Stands before the name of a folder that another is about to replace.
const REPLACED: &str = ".replaced-";
/// Stands before the name of a folder that is being removed.
const REMOVING: &str = ".removing-";

/// Writes `bytes` to `path` through a temporary file in the same folder.
///
/// # Errors
/// Those of the file system; a file that was at `path` is then untouched.
pub fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = parent(path);
    fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new().prefix(WRITING).tempfile_in(folder)?;
    io::Write::write_all(&mut file, bytes)?;
    set_usual_permissions(file.path())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync_folder(folder)
}

/// Fills a temporary folder beside `path` with `fill`, then gives it the name `path`, replacing what was there.
///
/// # Errors
/// Those of `fill` and of the file system; what was at `path` is then untouched.
pub fn write_folder<E: From<io::Error>>(path: &Path, fill: impl FnOnce(&Path) -> Result<(), E>) -> Result<(), E> {
    let parent = parent(path);
    fs::create_dir_all(parent)?;
    let staging = tempfile::Builder::new().prefix(WRITING).tempdir_in(parent)?;
    fill(staging.path())?;
    set_usual_permissions(staging.path())?;
    sync_tree(staging.path())?;
    let staging = staging.keep();
    replace(path, &staging).inspect_err(|_| drop(fs::remove_dir_all(&staging)))?;
    Ok(())
}

/// Gives `staging` the name `path`. A process that ends between the two renames leaves the old folder under a name
/// from which [`recover`] brings it back.
fn replace(path: &Path, staging: &Path) -> io::Result<()> {
    let parent = parent(path);
    let old = beside(path, REPLACED)?;
    let replaces = path.exists();
    if replaces {
        remove_if_there(&old)?;
        fs::rename(path, &old)?;
    }
    if let Err(error) = fs::rename(staging, path) {
        if replaces {
            fs::rename(&old, path)?;
        }
        return Err(error);
    }
    sync_folder(parent)?;
    // The new folder stands; a rest of the old one is no failure, and `recover` removes it.
    let _ = remove_if_there(&old);
    Ok(())
}

/// Removes a folder so that a process that ends half-way leaves nothing that looks like it.
///
/// # Errors
/// Those of the file system.
pub fn remove_folder(path: &Path) -> io::Result<()> {
    let removing = beside(path, REMOVING)?;
    remove_if_there(&removing)?;
    fs::rename(path, &removing)?;
    fs::remove_dir_all(removing)
}

/// Clears `folder` of what a killed process left: half-written files and folders go; a folder that was being replaced
/// comes back, unless the new one is there. Not to be called while another process writes there.
///
/// # Errors
/// Those of the file system; a `folder` that is not there has nothing to clear.
pub fn recover(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?.collect::<io::Result<Vec<_>>>()?,
    };
    for entry in entries {
        let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        if name.starts_with(WRITING) || name.starts_with(REMOVING) {
            remove_if_there(&path)?;
        } else if let Some(name) = name.strip_prefix(REPLACED) {
            let new = folder.join(name);
            if new.exists() { remove_if_there(&path)? } else { fs::rename(&path, new)? }
        }
    }
    Ok(())
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// `path` with `prefix` before its name.
fn beside(path: &Path, prefix: &str) -> io::Result<std::path::PathBuf> {
    let nameless = || io::Error::new(io::ErrorKind::InvalidInput, format!("{} has no name", path.display()));
    let mut name = std::ffi::OsString::from(prefix);
    name.push(path.file_name().ok_or_else(nameless)?);
    Ok(path.with_file_name(name))
}

/// Removes a file or a folder.
fn remove_if_there(path: &Path) -> io::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// Synchronises everything in a folder, and the folder.
fn sync_tree(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { sync_tree(&path)? } else { fs::File::open(&path)?.sync_all()? }
    }
    sync_folder(folder)
}

/// Synchronises the names in a folder, where the system lets a folder be opened.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
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

    fn names(folder: &Path) -> io::Result<Vec<String>> {
        let mut names = fs::read_dir(folder)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    }

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
        assert_eq!(names(root.path())?, ["model"], "nothing half-written is left");
        Ok(())
    }

    #[test]
    fn a_folder_that_cannot_take_the_name_leaves_the_old_one() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let path = root.path().join("model");
        write_folder(&path, |folder| fs::write(folder.join("a"), "1"))?;
        // The staging folder has vanished, as if another program had cleaned up: the second rename fails.
        let failed = replace(&path, &root.path().join("vanished"));
        assert_eq!(failed.expect_err("nothing to rename").kind(), io::ErrorKind::NotFound);
        assert_eq!(fs::read_to_string(path.join("a"))?, "1");
        assert_eq!(names(root.path())?, ["model"]);
        Ok(())
    }

    #[test]
    fn what_a_killed_process_left_is_cleared_and_the_replaced_folder_comes_back() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let make = |name: &str, text: &str| -> io::Result<()> {
            fs::create_dir(root.path().join(name))?;
            fs::write(root.path().join(name).join("a"), text)
        };
        make(".writing-Xy12", "half")?;
        fs::write(root.path().join(".writing-file"), "half")?;
        make(".removing-step-1", "half")?;
        // Killed between the two renames of a replacement, and after the second.
        make(".replaced-step-2", "old")?;
        make(".replaced-step-3", "old")?;
        make("step-3", "new")?;
        recover(root.path())?;
        assert_eq!(names(root.path())?, ["step-2", "step-3"]);
        assert_eq!(fs::read_to_string(root.path().join("step-2/a"))?, "old");
        assert_eq!(fs::read_to_string(root.path().join("step-3/a"))?, "new");
        remove_folder(&root.path().join("step-2"))?;
        assert_eq!(names(root.path())?, ["step-3"]);
        recover(&root.path().join("not there"))
    }
}
