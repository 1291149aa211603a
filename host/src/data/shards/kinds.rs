//! Which paths name shards, and what else than tar archives they may turn out to be.

use std::path::Path;

/// Kinds of compression: last parts of names, first bytes, name, and the program that unpacks.
const COMPRESSED: [(&[&str], &[u8], &str, &str); 5] = [
    (&["gz", "tgz"], &[0x1f, 0x8b], "gzip", "gunzip"),
    (&["zst", "tzst"], &[0x28, 0xb5, 0x2f, 0xfd], "zstd", "unzstd"),
    (&["xz", "txz"], &[0xfd, b'7', b'z', b'X', b'Z'], "xz", "unxz"),
    (&["bz2", "tbz", "tbz2"], b"BZh", "bzip2", "bunzip2"),
    (&["lz4", "tlz4"], &[0x04, 0x22, 0x4d, 0x18], "lz4", "unlz4"),
];

/// A kind of compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    /// What it is called.
    pub name: &'static str,
    /// The program that unpacks from its standard input to its standard output.
    pub program: &'static str,
}

impl Compression {
    /// By the end of a path that names a tar archive: `.tar.gz`, `.tgz`.
    #[must_use]
    pub fn named(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_string_lossy().to_lowercase();
        let (start, last) = name.rsplit_once('.')?;
        // Without `.tar` before it, only an ending that stands for both.
        let found = |endings: &&[&str]| {
            endings.iter().any(|ending| *ending == last && (ending.starts_with('t') || start.ends_with(".tar")))
        };
        COMPRESSED.iter().find(|(endings, ..)| found(endings)).map(Self::of)
    }

    /// By the first bytes of a file.
    #[must_use]
    pub fn begun(bytes: &[u8]) -> Option<Self> {
        COMPRESSED.iter().find(|(_, magic, ..)| bytes.starts_with(magic)).map(Self::of)
    }

    fn of((_, _, name, program): &(&[&str], &[u8], &'static str, &'static str)) -> Self {
        Self { name, program }
    }
}

/// Whether a path names a shard or a pattern of shards: it ends in `.tar`, or as compressed ones do, and is no
/// folder.
#[must_use]
pub fn names_shards(path: &Path) -> bool {
    let tar = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tar"));
    (tar || Compression::named(path).is_some()) && !path.is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_shards_and_compression() {
        for path in ["a.tar", "b/A-{00..17}.TAR", "a.tar.gz", "a.tgz", "a.tar.zst", "a.tbz2", "a.tar.xz"] {
            assert!(names_shards(Path::new(path)), "{path}");
        }
        for path in ["tar", "a.tar/b", "a.jpg", "a.gz", "a.tarball", "photos", "a.xz", ""] {
            assert!(!names_shards(Path::new(path)), "{path}");
        }
        let name = |path: &str| Compression::named(Path::new(path)).map(|kind| kind.name);
        assert_eq!(
            (name("a.tar.GZ"), name("a.tzst"), name("a.tar"), name("a.b.gz")),
            (Some("gzip"), Some("zstd"), None, None)
        );
        assert_eq!(Compression::begun(b"BZh9").map(|kind| kind.program), Some("bunzip2"));
        assert_eq!((Compression::begun(b""), Compression::begun(&[0x1f])), (None, None));
        let folder = tempfile::tempdir().expect("folder");
        let odd = folder.path().join("folder.tar");
        std::fs::create_dir(&odd).expect("folder");
        assert!(!names_shards(&odd), "a folder is one whatever its name");
    }
}
