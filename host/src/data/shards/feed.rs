//! The images of an epoch, read and decoded ahead on threads of their own.

use super::{
    order::{Buffer, Move, Moves, skip},
    reader::Reader,
    set::Shards,
};
use crate::data::share::Share;
use anyhow::Context as _;
use imaging::Pixels;
use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

/// Images that go from thread to thread at once, at most.
const IMAGES: usize = 64;
/// Contents that go from thread to thread at once, bytes, or one image: what is decoded must not grow without bound.
const BYTES: usize = 128 << 10;
/// Threads that decode, at most, and processors for each of them.
const DECODERS: usize = 4;
const PROCESSORS: usize = 4;

/// An image as it comes: its number, and its pixels if it can be decoded.
pub type Decoded = (usize, anyhow::Result<Arc<Pixels>>);

/// Contents by the numbers of the images.
type Contents = Vec<(u32, Vec<u8>)>;

/// How an epoch is gone through.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The order comes from this.
    pub seed: u64,
    /// Number of the epoch.
    pub epoch: usize,
    /// Images that are left out at the start.
    pub from: usize,
    /// Whose part of them.
    pub share: Share,
    /// What shuffles them.
    pub buffer: Buffer,
    /// Channels of the pixels.
    pub channels: usize,
}

/// The images of an epoch in their order.
#[derive(Debug)]
pub struct Feed {
    /// What each thread has decoded; they take turns.
    decoders: Vec<Receiver<anyhow::Result<Vec<Decoded>>>>,
    turn: usize,
    ready: std::vec::IntoIter<Decoded>,
}

impl Feed {
    /// Starts the threads. They end with the epoch, with the first error, or when nobody takes images any more.
    ///
    /// # Errors
    /// If they cannot be started.
    pub fn start(shards: &Arc<Shards>, plan: Plan) -> anyhow::Result<Self> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Self::start_with(shards, plan, (processors / PROCESSORS).clamp(1, DECODERS))
    }

    fn start_with(shards: &Arc<Shards>, plan: Plan, threads: usize) -> anyhow::Result<Self> {
        let (mut contents, mut decoders) = (Vec::new(), Vec::new());
        for _ in 0..threads {
            let (give, take) = sync_channel(1);
            let (give_on, taken) = sync_channel(1);
            contents.push(give);
            decoders.push(taken);
            let shards = shards.clone();
            spawn("decoder", move || decode(&shards, plan.channels, &take, &give_on))?;
        }
        let shards = shards.clone();
        spawn("shards", move || read(shards, plan, contents))?;
        Ok(Self { decoders, turn: 0, ready: Vec::new().into_iter() })
    }
}

impl Iterator for Feed {
    type Item = anyhow::Result<Decoded>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(decoded) = self.ready.next() {
                return Some(Ok(decoded));
            }
            let next = self.decoders.get(self.turn)?.recv().ok()?;
            self.turn = (self.turn + 1) % self.decoders.len();
            match next {
                Ok(ready) => self.ready = ready.into_iter(),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
    thread::Builder::new().name(name.into()).spawn(work).context("cannot start a thread that reads shards")?;
    Ok(())
}

/// Gives the contents of the epoch's images in their order to the decoders in turn.
fn read(shards: Arc<Shards>, plan: Plan, decoders: Vec<SyncSender<anyhow::Result<Contents>>>) {
    let mut decoders = decoders.iter().cycle();
    let mut give = |contents: anyhow::Result<Contents>| {
        let going_on = contents.is_ok();
        decoders.next().is_some_and(|decoder| decoder.send(contents).is_ok()) && going_on
    };
    let (mut waiting, mut bytes) = (Contents::new(), 0);
    let mut one = |next: anyhow::Result<(u32, Vec<u8>)>| {
        let image = match next {
            Ok(image) => image,
            // What came before it is to be had still.
            Err(error) => return give(Ok(std::mem::take(&mut waiting))) && give(Err(error)),
        };
        bytes += image.1.len();
        waiting.push(image);
        if waiting.len() < IMAGES && bytes < BYTES {
            return true;
        }
        bytes = 0;
        give(Ok(std::mem::take(&mut waiting)))
    };
    if contents(shards, plan, &mut one) {
        give(Ok(waiting));
    }
}

/// Tells `next` each image of the epoch; until it returns false, which `contents` then does too.
fn contents(shards: Arc<Shards>, plan: Plan, next: &mut impl FnMut(anyhow::Result<(u32, Vec<u8>)>) -> bool) -> bool {
    let mut moves = Moves::new(shards.clone(), plan.seed, plan.epoch, plan.share, plan.buffer);
    let mut reader = Reader::new(shards);
    let skipped = skip(&mut moves, plan.from);
    // What the buffer would hold is read in the order in which it would have been.
    let mut places: Vec<usize> = (0..skipped.len()).collect();
    places.sort_unstable_by_key(|place| skipped[*place].0);
    let mut held: Contents = skipped.iter().map(|(_, index)| (*index, Vec::new())).collect();
    for place in places {
        match reader.read(held[place].0) {
            Ok(content) => held[place].1 = content,
            Err(error) => return next(Err(error.into())),
        }
    }
    for step in moves {
        match step {
            Move::Put(index) => match reader.read(index) {
                Ok(content) => held.push((index, content)),
                Err(error) => return next(Err(error.into())),
            },
            Move::Give(place) => {
                if !next(Ok(held.swap_remove(place))) {
                    return false;
                }
            }
        }
    }
    true
}

fn decode(
    shards: &Shards,
    channels: usize,
    take: &Receiver<anyhow::Result<Contents>>,
    give: &SyncSender<anyhow::Result<Vec<Decoded>>>,
) {
    let one = |(index, content): (u32, Vec<u8>)| {
        let pixels = shards.decode(index as usize, &content, channels);
        (index as usize, pixels.map(Arc::new).map_err(Into::into))
    };
    while let Ok(contents) = take.recv() {
        if give.send(contents.map(|contents| contents.into_iter().map(one).collect())).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::PathBuf};
    use tar::{Builder, Header};

    /// Three shards of 40 images each, number `i` of which has `1 + i` columns; each eleventh is damaged.
    fn shards(folder: &tempfile::TempDir) -> Arc<Shards> {
        for shard in 0..3 {
            let mut tar = Builder::new(Vec::new());
            for index in shard * 40..shard * 40 + 40 {
                let mut content = format!("P5 {} 1 255\n", 1 + index).into_bytes();
                content.resize(content.len() + 1 + index, 9);
                content.truncate(if index % 11 == 0 { 5 } else { content.len() });
                let mut header = Header::new_gnu();
                header.set_size(content.len() as u64);
                tar.append_data(&mut header, format!("{index:04}.pgm"), &content[..]).expect("member");
            }
            fs::write(folder.path().join(format!("s-{shard}.tar")), tar.into_inner().expect("archive"))
                .expect("file");
        }
        Arc::new(Shards::open(&[folder.path().join("s-{0..2}.tar")]).expect("shards"))
    }

    fn plan(from: usize) -> Plan {
        let buffer = Buffer { bytes: 2000, images: 16 };
        Plan { seed: 5, epoch: 2, from, share: Share::WHOLE, buffer, channels: 1 }
    }

    #[test]
    fn images_come_in_their_order_from_anywhere_with_any_number_of_threads() {
        let folder = tempfile::tempdir().expect("folder");
        let shards = shards(&folder);
        let all = |from: usize, threads: usize| {
            let feed = Feed::start_with(&shards, plan(from), threads).expect("threads");
            let one = |next: anyhow::Result<Decoded>| {
                let (index, pixels) = next.expect("readable");
                assert_eq!(pixels.is_err(), index % 11 == 0);
                match pixels {
                    Ok(pixels) => assert_eq!((pixels.width, pixels.channels), (1 + index, 1)),
                    Err(error) => {
                        let named = format!("s-{}.tar: {index:04}.pgm", index / 40);
                        assert!(error.to_string().contains(&named), "{error}");
                    }
                }
                index
            };
            feed.map(one).collect::<Vec<_>>()
        };
        let whole = all(0, 1);
        let mut sorted = whole.clone();
        sorted.sort_unstable();
        assert!(sorted.iter().copied().eq(0..120) && sorted != whole);
        for (from, threads) in [(0, 3), (1, 1), (50, 2), (119, 1), (120, 1)] {
            assert_eq!(all(from, threads), whole[from..], "from {from} with {threads}");
        }
        let same = shards.read(17, 1).expect("image");
        assert_eq!((same.width, same.data[0]), (18, 9));
    }

    #[test]
    fn a_shard_that_vanishes_or_changes_ends_the_epoch() {
        let folder = tempfile::tempdir().expect("folder");
        let (shards, path) = (shards(&folder), folder.path().join("s-1.tar"));
        let failed = || {
            let feed = Feed::start(&shards, plan(0)).expect("threads");
            let images: Vec<_> = feed.collect();
            let (last, before) = images.split_last().expect("an error");
            assert!(before.iter().all(Result::is_ok));
            last.as_ref().expect_err("no shard").to_string()
        };
        let mut bytes = fs::read(&path).expect("file");
        bytes.extend([0; 512]);
        fs::write(&path, bytes).expect("file");
        assert!(failed().contains("s-1.tar was changed while it was in use"));
        fs::remove_file(&path).expect("file");
        assert!(failed().contains("cannot read") && failed().contains("s-1.tar"));
    }

    #[test]
    fn nobody_needs_to_take_all() {
        let folder = tempfile::tempdir().expect("folder");
        let shards = shards(&folder);
        let mut feed = Feed::start(&shards, plan(0)).expect("threads");
        assert!(feed.next().is_some_and(|first| first.is_ok()));
        drop(feed);
        // The threads let go of the shards when they end.
        for _ in 0..500 {
            if Arc::strong_count(&shards) == 1 {
                return;
            }
            thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("the threads go on");
    }

    #[test]
    fn a_set_without_images_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let path: PathBuf = folder.path().join("none.tar");
        fs::write(&path, [0; 1024]).expect("file");
        let error = Shards::open(&[path]).expect_err("no image").to_string();
        assert!(error.starts_with("no image (jpg, ") && error.ends_with("none.tar; in it: 1 shard without images"));
    }
}
