//! Several shards as one set of images.

use super::{
    error::ShardError,
    index::{self, Index, Member},
    kinds::{Compression, names_shards},
    pattern::{MOST, PatternError, expand, shown},
    rest::Rest,
};
use crate::progress::bar;
use imaging::{ImageError, Pixels};
use rayon::prelude::*;
use std::{
    collections::BTreeSet,
    fs::File,
    io::{ErrorKind, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

/// Images by number: first those of the first shard, in the order in which they lie.
#[derive(Debug)]
pub struct Shards {
    /// As a person names them.
    named: String,
    shards: Vec<Shard>,
    len: u32,
    /// What the shards hold beside images.
    pub rest: Rest,
    /// Shards that do not end as a whole archive does: they may have been cut off between two members.
    pub unended: Vec<PathBuf>,
}

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    /// Length of the file.
    bytes: u64,
    /// Number of its first image.
    first: u32,
    members: Vec<Member>,
}

impl Shards {
    /// The shards that paths and patterns name. Each is passed over, all at once on the threads that there are.
    ///
    /// # Errors
    /// If a pattern names nothing, a shard is missing, none or damaged, or there is no image.
    pub fn open(patterns: &[PathBuf]) -> Result<Self, ShardError> {
        let named = shown(patterns);
        let paths = paths(patterns)?;
        let bar = bar(paths.len(), "shards");
        let index = |path: &PathBuf| {
            let found = index::index(path);
            bar.inc(1);
            found
        };
        let found: Vec<Result<Index, ShardError>> = paths.par_iter().map(index).collect();
        bar.finish_and_clear();
        let indices = paths.into_iter().zip(found).map(|(path, index)| Ok((path, index?)));
        let shards = Self::of(named, indices.collect::<Result<Vec<_>, ShardError>>()?)?;
        if shards.len == 0 {
            return Err(ShardError::NoImages { shards: shards.named, rest: Box::new(shards.rest) });
        }
        Ok(shards)
    }

    fn of(named: String, indices: Vec<(PathBuf, Index)>) -> Result<Self, ShardError> {
        let (mut shards, mut rest, mut unended, mut len) = (Vec::new(), Rest::default(), Vec::new(), 0_u32);
        for (path, index) in indices {
            let first = len;
            let more = u32::try_from(index.members.len()).ok().and_then(|more| len.checked_add(more));
            len = more.ok_or_else(|| ShardError::TooLarge(path.clone()))?;
            rest.merge(index.rest);
            if !index.ended {
                unended.push(path.clone());
            }
            shards.push(Shard { path, bytes: index.bytes, first, members: index.members });
        }
        Ok(Self { named, shards, len, rest, unended })
    }

    /// Number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of shards.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shards.len()
    }

    /// The shards as a person names them.
    #[must_use]
    pub fn named(&self) -> &str {
        &self.named
    }

    /// Numbers of the images of a shard.
    #[must_use]
    pub fn images(&self, shard: usize) -> std::ops::Range<u32> {
        let found = self.shards.get(shard);
        found.map_or(0..0, |shard| shard.first..shard.first + shard.members.len() as u32)
    }

    /// The shard of an image and its place there.
    fn locate(&self, index: u32) -> Option<(usize, &Shard, Member)> {
        let number = self.shards.partition_point(|shard| shard.first <= index).checked_sub(1)?;
        let shard = self.shards.get(number)?;
        let member = shard.members.get((index - shard.first) as usize)?;
        Some((number, shard, *member))
    }

    /// Where image `index` lies: number of the shard, first byte, length.
    #[must_use]
    pub fn place(&self, index: u32) -> Option<(usize, u64, usize)> {
        self.locate(index).map(|(number, _, member)| (number, member.offset(), member.size as usize))
    }

    /// Opens a shard for reading.
    ///
    /// # Errors
    /// If it is gone, or has not the length any more that it had.
    pub fn file(&self, shard: usize) -> Result<(&Path, File), ShardError> {
        let shard = self.shards.get(shard).ok_or_else(|| ShardError::NoTar(PathBuf::from(&self.named)))?;
        let file = index::open(&shard.path)?;
        let failed = |source| ShardError::Io { path: shard.path.clone(), source };
        if file.metadata().map_err(failed)?.len() == shard.bytes {
            Ok((&shard.path, file))
        } else {
            Err(ShardError::Changed(shard.path.clone()))
        }
    }

    /// How a person would name an image: its shard and its name there. Reads the shard.
    #[must_use]
    pub fn name(&self, index: usize) -> String {
        let Some((number, shard, member)) = u32::try_from(index).ok().and_then(|index| self.locate(index)) else {
            return String::new();
        };
        let found = self.file(number).ok().and_then(|(_, file)| index::name(&file, member));
        let found = found.unwrap_or_else(|| format!("the image at byte {}", member.offset()));
        format!("{}: {found}", shard.path.display())
    }

    /// Image `index` alone, decoded to `channels` channels.
    ///
    /// # Errors
    /// If its shard is gone, or it is damaged.
    pub fn read(&self, index: usize, channels: usize) -> anyhow::Result<Pixels> {
        let place = u32::try_from(index).ok().and_then(|index| self.place(index));
        let Some((shard, offset, size)) = place else { anyhow::bail!("no such image") };
        let (path, mut file) = self.file(shard)?;
        let mut content = vec![0; size];
        let read = file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(&mut content));
        read.map_err(|source| ShardError::Io { path: path.into(), source })?;
        Ok(self.decode(index, &content, channels)?)
    }

    /// Image `index` from its content.
    ///
    /// # Errors
    /// If it is damaged; names it.
    pub fn decode(&self, index: usize, content: &[u8], channels: usize) -> Result<Pixels, ImageError> {
        let named = |reason| ImageError::Decode { path: self.name(index).into(), reason };
        imaging::decode(content, channels).map_err(named)
    }

    /// Shards of images of these sizes, which cannot be read.
    ///
    /// # Panics
    /// If they are too many.
    #[cfg(test)]
    #[must_use]
    pub fn of_sizes(sizes: &[Vec<u32>]) -> Self {
        let index = |sizes: &Vec<u32>| {
            let members = sizes.iter().map(|size| Member::of_size(*size)).collect();
            (PathBuf::from("made.tar"), Index { members, bytes: 0, ended: true, rest: Rest::default() })
        };
        Self::of("made".into(), sizes.iter().map(index).collect()).expect("few")
    }
}

/// All shards that are named, which are there.
fn paths(patterns: &[PathBuf]) -> Result<Vec<PathBuf>, ShardError> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for pattern in patterns {
        if let Some(kind) = Compression::named(pattern) {
            return Err(ShardError::Compressed { path: pattern.clone(), kind });
        }
        match pattern.to_str() {
            // A file may have braces in its name.
            Some(text) if !pattern.exists() => paths.extend(expand(text)?.into_iter().map(PathBuf::from)),
            _ => paths.push(pattern.clone()),
        }
        if paths.len() > MOST {
            return Err(PatternError::TooMany(pattern.display().to_string()).into());
        }
    }
    let mut known = BTreeSet::new();
    if let Some(twice) = paths.iter().find(|path| !known.insert(*path)) {
        return Err(ShardError::Twice(twice.clone()));
    }
    // A folder that may not be entered is told by what the system says.
    let missing = |path: &&PathBuf| path.metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound);
    let mut gone = paths.iter().filter(missing);
    if let Some(path) = gone.next() {
        let (path, missing) = (path.clone(), 1 + gone.count());
        return Err(ShardError::Missing { path, missing, named: paths.len() });
    }
    match paths.iter().find(|path| !names_shards(path)) {
        Some(path) => Err(ShardError::NoTar(path.clone())),
        None => Ok(paths),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_numbered_over_all_shards() {
        let shards = Shards::of_sizes(&[vec![1, 2], vec![], vec![3], vec![4, 5], vec![]]);
        let place = |index: u32| shards.place(index).map(|(shard, _, size)| (shard, size));
        let places: Vec<_> = (0..6).map(place).collect();
        assert_eq!(places, [Some((0, 1)), Some((0, 2)), Some((2, 3)), Some((3, 4)), Some((3, 5)), None]);
        let numbers: Vec<_> = (0..6).map(|shard| shards.images(shard)).collect();
        assert_eq!(numbers, [0..2, 2..2, 2..3, 3..5, 5..5, 0..0]);
    }

    #[test]
    fn what_is_named_is_checked_before_anything_is_read() {
        let folder = tempfile::tempdir().expect("folder");
        let path = |name: &str| folder.path().join(name);
        for name in ["a-0.tar", "a-2.tar", "{x}.tar"] {
            std::fs::write(path(name), "x").expect("file");
        }
        let text = |names: &[&str]| {
            let patterns: Vec<_> = names.iter().map(|name| path(name)).collect();
            paths(&patterns).map_err(|error| (error.is_misuse(), error.to_string()))
        };
        assert_eq!(text(&["a-0.tar", "{x}.tar"]), Ok(vec![path("a-0.tar"), path("{x}.tar")]));
        for (names, wanted) in [
            (&["a-{0..3}.tar"][..], "a-1.tar; 2 of the 4 named ones are missing"),
            (&["b.tar"], "there is no shard"),
            (&["a-*.tar"], "leave out the quotes"),
            (&["a-{0..0}.tar", "a-0.tar"], "is named twice"),
            (&["a-{2..0}.tar"], "smaller number first"),
            (&["a-{0..3}.tar.gz"], "compressed with gzip"),
        ] {
            let (misuse, text) = text(names).expect_err("refused");
            assert!(misuse && text.contains(wanted) && !text.contains('\n'), "{text}");
        }
    }
}
