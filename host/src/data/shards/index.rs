//! Where the images of one shard lie: a pass over it from header to header.

use super::{error::ShardError, kinds::Compression, rest::Rest, samples::Samples};
use imaging::{is_hidden, is_image};
use std::{
    cell::Cell,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Component, Path},
};
use tar::{Archive, EntryType};

/// Tar archives are made of these, bytes.
const BLOCK: u64 = 512;
/// No long name, and nothing else that stands before a member, is larger than this, bytes.
const LONGEST_HEADERS: usize = 16 << 20;

/// The place of one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// First block of its content.
    block: u32,
    /// Length of its content, bytes.
    pub size: u32,
    /// How many blocks of headers stand before the content; 0 if they are too many to tell.
    headers: u16,
}

impl Member {
    /// First byte of its content.
    #[must_use]
    pub fn offset(self) -> u64 {
        u64::from(self.block) * BLOCK
    }

    /// An image of `size` bytes at the start of a shard, for tests that read nothing.
    #[cfg(test)]
    pub fn of_size(size: u32) -> Self {
        Self { block: 1, size, headers: 1 }
    }
}

/// A shard that was passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Its images, in the order in which they lie.
    pub members: Vec<Member>,
    /// Length of the file, bytes.
    pub bytes: u64,
    /// Whether it ends as a whole archive does, with a block of zeros.
    pub ended: bool,
    /// What it holds beside images.
    pub rest: Rest,
}

/// Passes over a shard; contents are not read.
///
/// # Errors
/// If it cannot be read, is no tar archive, compressed, empty, cut off or damaged.
pub fn index(path: &Path) -> Result<Index, ShardError> {
    let failed = |source| ShardError::Io { path: path.into(), source };
    let file = open(path)?;
    let bytes = file.metadata().map_err(failed)?.len();
    let mut start = Vec::new();
    (&file).take(8).read_to_end(&mut start).map_err(failed)?;
    (&file).rewind().map_err(failed)?;
    if start.is_empty() {
        return Err(ShardError::Empty(path.into()));
    }
    if let Some(kind) = Compression::begun(&start) {
        return Err(ShardError::Compressed { path: path.into(), kind });
    }
    let seen = Seen::default();
    let mut archive = Archive::new(Headers { file: &file, seen: &seen });
    // Archives that were written one behind the other are read to the end.
    archive.set_ignore_zeros(true);
    let mut entries = archive.entries_with_seek().map_err(failed)?;
    let (mut samples, mut rest, mut members) = (Samples::default(), Rest::default(), 0);
    loop {
        seen.next_member();
        let broken = |error: io::Error| match error {
            error if error.raw_os_error().is_some() => failed(error),
            _ if seen.at_end.get() && members > 0 => ShardError::CutOff { path: path.into(), members },
            _ if members == 0 => ShardError::NoTar(path.into()),
            error => ShardError::Damaged { path: path.into(), members, reason: error.to_string() },
        };
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.map_err(broken)?;
        let (kind, offset) = (entry.header().entry_type(), entry.raw_file_position());
        let stored = if kind.is_gnu_sparse() { entry.header().entry_size().map_err(broken)? } else { entry.size() };
        if offset.checked_add(stored).is_none_or(|end| end > bytes) {
            return Err(ShardError::CutOff { path: path.into(), members });
        }
        members += 1;
        let sparse = |key: &[u8]| key.starts_with(b"GNU.sparse");
        let sparse = match entry.pax_extensions() {
            Ok(Some(extensions)) => extensions.flatten().any(|extension| sparse(extension.key_bytes())),
            _ => false,
        };
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        match kind_of(kind, &name, stored) {
            What::Nothing => {}
            What::Odd(what) => *rest.odd.entry(what).or_default() += 1,
            What::File if sparse => *rest.odd.entry("sparse").or_default() += 1,
            What::File => {
                let path_inside = Path::new(&name);
                let hidden = |part| matches!(part, Component::Normal(name) if is_hidden(Path::new(name)));
                if path_inside.components().any(hidden) {
                    rest.left_out.hidden += 1;
                } else if is_image(path_inside) {
                    let block = u32::try_from(offset / BLOCK).map_err(|_| ShardError::TooLarge(path.into()))?;
                    let headers = seen.start.get().map_or(0, |start| offset.saturating_sub(start) / BLOCK);
                    let headers = u16::try_from(headers).unwrap_or(0);
                    // Larger ones are told above.
                    let size = u32::try_from(stored).unwrap_or(u32::MAX);
                    samples.push(&name, Member { block, size, headers });
                } else {
                    rest.left_out.add_other(path_inside);
                }
            }
        }
    }
    samples.end();
    rest.beside = samples.beside;
    rest.without_images = usize::from(samples.read.is_empty());
    samples.read.shrink_to_fit();
    Ok(Index { members: samples.read, bytes, ended: seen.blank.get(), rest })
}

/// Opens a file that can be entered anywhere.
///
/// # Errors
/// If it is none, or cannot be opened.
pub fn open(path: &Path) -> Result<File, ShardError> {
    let failed = |source| ShardError::Io { path: path.into(), source };
    // Opening a pipe would wait for its other end.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(ShardError::NoFile(path.into()));
    }
    File::open(path).map_err(failed)
}

/// The name of a member, from its headers.
#[must_use]
pub fn name(mut file: &File, member: Member) -> Option<String> {
    let headers = u64::from(member.headers).checked_mul(BLOCK).filter(|length| *length > 0)?;
    file.seek(SeekFrom::Start(member.offset().checked_sub(headers)?)).ok()?;
    let mut archive = Archive::new(file.take(headers));
    let entry = archive.entries().ok()?.next()?.ok()?;
    Some(String::from_utf8_lossy(&entry.path_bytes()).into_owned())
}

/// What a member is.
enum What {
    File,
    /// No plain file, by what it is.
    Odd(&'static str),
    /// Not worth a word.
    Nothing,
}

fn kind_of(kind: EntryType, name: &str, size: u64) -> What {
    match kind {
        EntryType::Directory | EntryType::XGlobalHeader => What::Nothing,
        // Before 1988, a slash at the end was all that told a folder.
        EntryType::Regular if name.ends_with('/') => What::Nothing,
        EntryType::Regular | EntryType::Continuous if u32::try_from(size).is_err() => What::Odd("of 4 GiB or more"),
        EntryType::Regular | EntryType::Continuous => What::File,
        EntryType::Link | EntryType::Symlink => What::Odd("link"),
        EntryType::Char | EntryType::Block | EntryType::Fifo => What::Odd("device"),
        EntryType::GNUSparse => What::Odd("sparse"),
        _ => What::Odd("of an unknown kind"),
    }
}

/// What a pass has come by.
#[derive(Debug, Default)]
struct Seen {
    /// Bytes since the last member.
    read: Cell<usize>,
    /// Where the first header of the next one stands.
    start: Cell<Option<u64>>,
    /// Whether the last thing that was read is a block of zeros.
    blank: Cell<bool>,
    /// Whether there is nothing more to read.
    at_end: Cell<bool>,
}

impl Seen {
    fn next_member(&self) {
        self.read.set(0);
        self.start.set(None);
    }
}

/// What stands between the contents of a shard; a pass reads nothing else.
struct Headers<'a> {
    file: &'a File,
    seen: &'a Seen,
}

impl Read for Headers<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let seen = self.seen;
        if seen.read.get() > LONGEST_HEADERS {
            return Err(io::Error::other("headers of more than 16 MiB"));
        }
        let from = match seen.start.get() {
            Some(start) => start,
            None => self.file.stream_position()?,
        };
        let count = self.file.read(to)?;
        seen.at_end.set(count == 0 && !to.is_empty());
        if count > 0 {
            let blank = to[..count].iter().all(|byte| *byte == 0);
            seen.blank.set(blank);
            // Zeros stand between archives and behind the last one.
            seen.start.set((!blank || seen.start.get().is_some()).then_some(from));
            seen.read.set(seen.read.get() + if blank { 0 } else { count });
        }
        Ok(count)
    }
}

impl Seek for Headers<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, io::Write as _, path::PathBuf};
    use tar::{Builder, Header};

    fn header(kind: EntryType, size: usize) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size as u64);
        header.set_mode(0o644);
        header
    }

    fn add(tar: &mut Builder<Vec<u8>>, name: &str, content: &[u8]) {
        tar.append_data(&mut header(EntryType::Regular, content.len()), name, content).expect("member");
    }

    fn written(folder: &tempfile::TempDir, bytes: &[u8]) -> PathBuf {
        let path = folder.path().join("a.tar");
        fs::write(&path, bytes).expect("file");
        path
    }

    /// Names and contents of the images of an index.
    fn found(path: &Path, index: &Index) -> Vec<(String, Vec<u8>)> {
        let (bytes, file) = (fs::read(path).expect("file"), open(path).expect("file"));
        let content = |member: &Member| bytes[member.offset() as usize..][..member.size as usize].to_vec();
        index.members.iter().map(|member| (name(&file, *member).expect("name"), content(member))).collect()
    }

    #[test]
    fn images_are_found_and_all_else_is_counted() {
        let folder = tempfile::tempdir().expect("folder");
        let (mut tar, long) = (Builder::new(Vec::new()), format!("{}/long.JPG", "x".repeat(300)));
        tar.append_data(&mut header(EntryType::Directory, 0), "./a/", &[][..]).expect("member");
        // The library leaves out the first step of such names, other programs do not.
        let mut first = header(EntryType::Regular, 5);
        first.as_mut_bytes()[..9].copy_from_slice(b"./a/0.jpg");
        first.set_cksum();
        tar.append(&first, &b"first"[..]).expect("member");
        add(&mut tar, "a/0.cls", b"3");
        add(&mut tar, "a/1.mask.png", b"mask");
        add(&mut tar, "a/1.webp", b"second");
        add(&mut tar, &long, &[7; 600]);
        add(&mut tar, "a/._1.png", b"left by macOS");
        add(&mut tar, ".hidden/1.png", b"hidden");
        add(&mut tar, "a/2.gif", b"");
        tar.append_link(&mut header(EntryType::Symlink, 0), "a/link.jpg", "0.jpg").expect("member");
        tar.append_link(&mut header(EntryType::Link, 0), "a/hard.jpg", "0.jpg").expect("member");
        tar.append_data(&mut header(EntryType::Fifo, 0), "a/pipe.jpg", &[][..]).expect("member");
        tar.append_pax_extensions([("path", &b"\xc3\xa9/pax.webp"[..])]).expect("member");
        add(&mut tar, "short.webp", b"named by pax");
        tar.append_pax_extensions([("GNU.sparse.major", &b"1"[..])]).expect("member");
        add(&mut tar, "GNUSparseFile.0/sparse.png", b"holes");
        add(&mut tar, "empty.png", b"");
        let path = written(&folder, &tar.into_inner().expect("archive"));
        let index = index(&path).expect("index");
        let expected = [
            ("./a/0.jpg".to_owned(), b"first".to_vec()),
            ("a/1.webp".to_owned(), b"second".to_vec()),
            (long, vec![7; 600]),
            ("é/pax.webp".to_owned(), b"named by pax".to_vec()),
            ("empty.png".to_owned(), vec![]),
        ];
        assert_eq!(found(&path, &index), expected);
        assert_eq!(
            index.rest.to_string(),
            "1 image of kinds that are not read (.gif 1; convert to JPEG or PNG), 1 file of other kinds (.cls 1), \
             2 hidden, 1 image beside that of a sample, \
             4 members that are no plain files (device 1, link 2, sparse 1)"
        );
    }

    #[test]
    fn archives_one_behind_the_other_are_read_to_the_end() {
        let folder = tempfile::tempdir().expect("folder");
        let one = |name: &str| {
            let mut tar = Builder::new(Vec::new());
            add(&mut tar, name, name.as_bytes());
            tar.into_inner().expect("archive")
        };
        let path = written(&folder, &[one("0.jpg"), one("1.jpg")].concat());
        let index = index(&path).expect("index");
        let names: Vec<String> = found(&path, &index).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["0.jpg", "1.jpg"]);
        assert!(index.rest.is_empty() && index.ended);
    }

    #[test]
    fn what_is_no_whole_archive_is_told_apart() {
        let folder = tempfile::tempdir().expect("folder");
        let mut tar = Builder::new(Vec::new());
        for name in ["0.jpg", "1.jpg", "2.jpg"] {
            add(&mut tar, name, &[1; 700]);
        }
        let whole = tar.into_inner().expect("archive");
        assert_eq!(whole.len(), 3 * 3 * 512 + 1024);
        let of = |bytes: &[u8]| index(&written(&folder, bytes));
        let text = |bytes: &[u8]| of(bytes).expect_err("no whole archive").to_string();
        // Cut anywhere: in the first header, in a content, in a header, in the padding, between members, at the end.
        for length in 0..whole.len() {
            match (length, of(&whole[..length])) {
                (0, Err(ShardError::Empty(_))) | (1..512, Err(ShardError::NoTar(_))) => {}
                (_, Err(ShardError::CutOff { members, .. })) => {
                    let in_the_end = members == 3 && length > 3 * 1536 && length % 512 != 0;
                    assert!((members <= 2 && length < 3072 + 512 + 700) || in_the_end, "{length}: {members}");
                }
                (_, Ok(index)) => {
                    // Whole members, and their padding at most, are no damage; that the end lacks is told otherwise.
                    let members = index.members.len();
                    assert!(members == length.div_ceil(1536).min(3), "{length}: {members}");
                    assert_eq!(index.ended, length >= 3 * 1536 + 512, "{length}");
                }
                (_, Err(error)) => panic!("{length}: {error}"),
            }
        }
        let mut damaged = whole.clone();
        damaged[1536 + 20] ^= 1;
        assert!(text(&damaged).contains("is damaged at member 2 ("), "{}", text(&damaged));
        assert!(text(b"words, and many of them".repeat(100).as_slice()).ends_with("is no tar archive"));
        assert!(text(&[0x1f, 0x8b, 8, 0]).contains("compressed with gzip: unpack it first, as with `gunzip < "));
        let zeros = of(&[0; 10240]).expect("an archive of nothing");
        assert_eq!((zeros.members.len(), zeros.rest.without_images, zeros.ended), (0, 1, true));
    }

    #[test]
    fn no_bytes_are_a_panic() {
        let folder = tempfile::tempdir().expect("folder");
        let mut tar = Builder::new(Vec::new());
        add(&mut tar, &"y/".repeat(90), b"");
        tar.append_pax_extensions([("size", &b"3"[..])]).expect("member");
        add(&mut tar, "1.jpg", b"one");
        let whole = tar.into_inner().expect("archive");
        let mut random = 1_u32;
        for _ in 0..600 {
            let mut bytes = whole.clone();
            for _ in 0..3 {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let place = random as usize % bytes.len();
                bytes[place] = (random >> 24) as u8;
            }
            // Headers whose sums fit again reach further.
            for header in bytes.chunks_exact_mut(512).filter(|header| &header[257..262] == b"ustar") {
                header[148..156].fill(b' ');
                let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
                let _ = write!(&mut header[148..155], "{sum:06o}\0");
            }
            let path = written(&folder, &bytes);
            if let Ok(index) = index(&path) {
                let file = open(&path).expect("file");
                index.members.iter().for_each(|member| drop(name(&file, *member)));
            }
        }
    }
}
