//! Reads contents in the order in which they lie.

use super::{error::ShardError, set::Shards};
use std::{
    fs::File,
    io::{BufReader, Read as _},
    path::PathBuf,
    sync::Arc,
};

/// Read at once, bytes.
const AHEAD: usize = 256 << 10;

/// Reads from one shard at a time.
#[derive(Debug)]
pub struct Reader {
    shards: Arc<Shards>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    shard: usize,
    path: PathBuf,
    file: BufReader<File>,
    position: u64,
}

impl Reader {
    /// Opens nothing yet.
    #[must_use]
    pub fn new(shards: Arc<Shards>) -> Self {
        Self { shards, open: None }
    }

    /// The content of image `index`. Images that follow each other in a shard are read without a jump.
    ///
    /// # Errors
    /// If the shard is gone, or was changed.
    pub fn read(&mut self, index: u32) -> Result<Vec<u8>, ShardError> {
        let place = self.shards.place(index);
        let (shard, offset, size) = place.ok_or_else(|| ShardError::NoTar(PathBuf::from(self.shards.named())))?;
        let mut open = match self.open.take() {
            Some(open) if open.shard == shard => open,
            _ => {
                let (path, file) = self.shards.file(shard)?;
                Open { shard, path: path.into(), file: BufReader::with_capacity(AHEAD, file), position: 0 }
            }
        };
        let mut content = vec![0; size];
        // Both lie within the file, whose length is known to be less than 2^41.
        let way = offset as i64 - open.position as i64;
        let read = open.file.seek_relative(way).and_then(|()| open.file.read_exact(&mut content));
        read.map_err(|source| ShardError::Io { path: open.path.clone(), source })?;
        open.position = offset + size as u64;
        self.open = Some(open);
        Ok(content)
    }
}
