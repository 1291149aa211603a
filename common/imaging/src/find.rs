//! Finding the images of a folder, and counting what else is there.

use crate::{
    ImageError,
    kinds::{EXTENSIONS, OTHER_IMAGES},
};
use std::{
    collections::{BTreeMap, HashSet},
    fmt, fs, io,
    path::{Path, PathBuf},
};

/// The images of a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// In the order of their paths.
    pub files: Vec<PathBuf>,
    /// What is not among them.
    pub left_out: LeftOut,
}

/// What a folder holds beside its images; shown in one line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Files and folders whose names begin with a dot, and `__MACOSX`.
    pub hidden: usize,
    /// Files of other kinds, by the last part of their names in lower case, with the dot; empty for none.
    pub others: BTreeMap<String, usize>,
    /// Links that lead nowhere.
    pub broken_links: usize,
    /// Links to folders that are read, or being read, by another path.
    pub repeated_links: usize,
    /// Folders that cannot be read, with the reason.
    pub unreadable: Vec<String>,
}

impl LeftOut {
    /// Whether there is nothing else.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Counts a file of another kind.
    pub fn add_other(&mut self, path: &Path) {
        let extension = extension(path);
        let name = if extension.is_empty() { extension } else { format!(".{extension}") };
        *self.others.entry(name).or_default() += 1;
    }

    /// Takes in what another place holds.
    pub fn merge(&mut self, other: Self) {
        self.hidden += other.hidden;
        for (name, count) in other.others {
            *self.others.entry(name).or_default() += count;
        }
        self.broken_links += other.broken_links;
        self.repeated_links += other.repeated_links;
        self.unreadable.extend(other.unreadable);
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let image = |name: &str| name.strip_prefix('.').is_some_and(|name| OTHER_IMAGES.contains(&name));
        let (images, others): (Vec<_>, Vec<_>) = self.others.iter().partition(|(name, _)| image(name));
        let many = |count: usize, what: &str| {
            let plural = if count == 1 { "" } else { "s" };
            (count > 0).then(|| format!("{count} {}", what.replace("{}", plural)))
        };
        let files = |list: &[(&String, &usize)], what: &str| {
            let kinds: Vec<String> = list.iter().map(|(name, count)| format!("{} {count}", shown(name))).collect();
            many(list.iter().map(|(_, count)| **count).sum(), &what.replace("[]", &kinds.join(", ")))
        };
        let parts = [
            files(&images, "image{} of kinds that are not read ([]; convert to JPEG or PNG)"),
            files(&others, "file{} of other kinds ([])"),
            many(self.hidden, "hidden"),
            many(self.broken_links, "broken link{}"),
            many(self.repeated_links, "link{} to folders that are read by another path"),
            many(self.unreadable.len(), "unreadable folder{}")
                .map(|text| format!("{text} ({})", self.unreadable.join(", "))),
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

fn shown(extension: &str) -> &str {
    if extension.is_empty() { "no extension" } else { extension }
}

/// The last part of a file's name, in lower case, without its dot.
fn extension(path: &Path) -> String {
    path.extension().map(|extension| extension.to_string_lossy().to_lowercase()).unwrap_or_default()
}

/// Whether the file's name is that of an image which is read.
#[must_use]
pub fn is_image(path: &Path) -> bool {
    EXTENSIONS.contains(&extension(path).as_str())
}

/// Whether the last part of a path is what editors, archives and file managers leave behind.
#[must_use]
pub fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.as_encoded_bytes().starts_with(b".") || name == "__MACOSX"
}

/// All images below `path`, also behind links; `path` itself if it is a file. A folder that several paths lead to is
/// read once, by the path without links if there is one. Hidden names are left out, except of `path` itself.
///
/// # Errors
/// If `path` cannot be read, holds no image or names a tar archive.
pub fn find(path: &Path) -> Result<Listing, ImageError> {
    let failed = |source| ImageError::Io { path: path.into(), source };
    let found = fs::metadata(path);
    // Also a pattern of several, which no file bears as its name.
    if extension(path) == "tar" && !found.as_ref().is_ok_and(fs::Metadata::is_dir) {
        return Err(ImageError::Archive(path.into()));
    }
    if !found.map_err(failed)?.is_dir() {
        return Ok(Listing { files: vec![path.into()], left_out: LeftOut::default() });
    }
    let root = fs::canonicalize(path).map_err(failed)?;
    let mut search = Search { root: root.clone(), ..Search::default() };
    search.seen.insert(root.clone());
    search.folder(path, &root).map_err(failed)?;
    search.rest();
    let Listing { mut files, mut left_out } = search.listing;
    files.sort();
    left_out.unreadable.sort();
    if files.is_empty() {
        Err(ImageError::NoImages { path: path.into(), left_out })
    } else {
        Ok(Listing { files, left_out })
    }
}

#[derive(Debug, Default)]
struct Search {
    listing: Listing,
    root: PathBuf,
    /// Real paths of folders.
    seen: HashSet<PathBuf>,
    /// Folders to read, by the path to them and their real one.
    folders: Vec<(PathBuf, PathBuf)>,
    /// Links to folders, looked at once there are no other folders.
    links: Vec<PathBuf>,
}

impl Search {
    /// Everything that the first folder leads to.
    fn rest(&mut self) {
        loop {
            while let Some((folder, real)) = self.folders.pop() {
                if let Err(error) = self.folder(&folder, &real) {
                    self.listing.left_out.unreadable.push(format!("{}: {error}", folder.display()));
                }
            }
            // In the order of their paths, so that the same folder always has the same name.
            self.links.sort_by(|a, b| b.cmp(a));
            let Some(link) = self.links.pop() else { return };
            match fs::canonicalize(&link) {
                // A folder around the one that is read would bring everything beside it.
                Ok(real) if self.root.starts_with(&real) || !self.seen.insert(real.clone()) => {
                    self.listing.left_out.repeated_links += 1;
                }
                Ok(real) => self.folders.push((link, real)),
                Err(_) => self.listing.left_out.broken_links += 1,
            }
        }
    }

    fn folder(&mut self, folder: &Path, real: &Path) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            let left_out = &mut self.listing.left_out;
            if is_hidden(&path) {
                left_out.hidden += 1;
                continue;
            }
            let kind = entry.file_type()?;
            let kind = match kind.is_symlink().then(|| fs::metadata(&path)) {
                None => kind,
                Some(Ok(target)) if target.is_dir() => {
                    self.links.push(path);
                    continue;
                }
                Some(Ok(target)) => target.file_type(),
                Some(Err(_)) => {
                    left_out.broken_links += 1;
                    continue;
                }
            };
            if kind.is_dir() {
                let real = real.join(entry.file_name());
                if self.seen.insert(real.clone()) {
                    self.folders.push((path, real));
                } else {
                    left_out.repeated_links += 1;
                }
            } else if kind.is_file() && is_image(&path) {
                self.listing.files.push(path);
            } else {
                left_out.add_other(&path);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(names: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("folder");
        for name in names {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().expect("parent")).expect("folder");
            fs::write(path, "x").expect("file");
        }
        root
    }

    fn names(root: &Path, listing: &Listing) -> Vec<String> {
        listing.files.iter().map(|file| file.strip_prefix(root).expect("inside").display().to_string()).collect()
    }

    #[test]
    fn folders_are_searched_in_order() {
        let root = tree(&["z.PNG", "a.txt", "b/c.jpeg", "b/d.tif", "b/e.JFIF"]);
        let found = find(root.path()).expect("images");
        assert_eq!(names(root.path(), &found), ["b/c.jpeg", "b/d.tif", "b/e.JFIF", "z.PNG"]);
        assert_eq!(found.left_out.to_string(), "1 file of other kinds (.txt 1)");
        assert!(matches!(find(&root.path().join("none")), Err(ImageError::Io { .. })));
        assert!(matches!(find(&root.path().join("shard-{0..3}.tar")), Err(ImageError::Archive(_))));
        let file = find(&root.path().join("a.txt")).expect("a file is taken as it is");
        assert_eq!(names(root.path(), &file), ["a.txt"]);
    }

    #[test]
    fn what_is_not_read_is_counted() {
        let root = tree(&[
            "a/0.png",
            "a/._0.png",
            "a/.ipynb_checkpoints/0-checkpoint.png",
            "__MACOSX/a/._0.png",
            ".DS_Store",
            "b/1.gif",
            "b/2.GIF",
            "b/3.heic",
            "labels.csv",
            "README",
            "Thumbs.db",
        ]);
        let found = find(root.path()).expect("images");
        assert_eq!(names(root.path(), &found), ["a/0.png"]);
        assert_eq!(
            found.left_out.to_string(),
            "3 images of kinds that are not read (.gif 2, .heic 1; convert to JPEG or PNG), \
             3 files of other kinds (no extension 1, .csv 1, .db 1), 4 hidden"
        );
        let Err(error) = find(&root.path().join("b")) else { panic!("no image there") };
        let error = error.to_string();
        assert!(error.contains("holds no image (jpg, ") && error.contains("in it: 3 images of kinds"), "{error}");
    }

    #[test]
    fn a_hidden_folder_that_is_asked_for_is_read() {
        let root = tree(&[".cache/a.png", ".cache/.b.png"]);
        let found = find(&root.path().join(".cache")).expect("images");
        assert_eq!((found.files.len(), found.left_out.hidden), (1, 1));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_once() {
        use std::os::unix::fs::symlink;
        let root = tree(&["data/a/0.png", "data/a/1.png", "other/b/2.png", "other/c/3.png"]);
        let (data, other) = (root.path().join("data"), root.path().join("other"));
        for (target, link) in [
            (other.join("b"), data.join("b")),
            (other.join("c/3.png"), data.join("a/three.png")),
            (data.clone(), data.join("a/up")),
            (root.path().into(), data.join("around")),
            (data.join("a"), data.join("again")),
            (data.join("loop"), data.join("loop")),
            (data.join("gone"), data.join("broken.png")),
            (other.join("b"), other.join("b/itself")),
        ] {
            symlink(target, link).expect("link");
        }
        let found = find(&data).expect("images");
        assert_eq!(names(&data, &found), ["a/0.png", "a/1.png", "a/three.png", "b/2.png"]);
        assert_eq!((found.left_out.broken_links, found.left_out.repeated_links), (2, 4));
        // The folder itself may be a link.
        symlink(&other, root.path().join("link")).expect("link");
        assert_eq!(find(&root.path().join("link")).expect("images").files.len(), 2);
    }
}
