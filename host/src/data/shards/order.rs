//! The order in which an epoch shows the images of shards.
//!
//! The shards come in a random order, each read from its start to its end, and go through a buffer from which images
//! are taken at random. What the buffer holds follows from the sizes of the images, so the whole order is known
//! without reading any: it depends on the seed, the epoch, the share and these sizes alone.

use super::set::Shards;
use crate::{
    data::{prefetch::shuffled, random::below, share::Share},
    stream::Stream,
};
use common::mask::generator;
use rand_chacha::ChaCha8Rng;
use std::{iter::Peekable, ops::Range, sync::Arc};

/// How much the buffer holds: less than both, but at least one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffer {
    /// Files, bytes.
    pub bytes: u64,
    /// Images.
    pub images: usize,
}

impl Default for Buffer {
    // Part of the order, as a seed is.
    fn default() -> Self {
        Self { bytes: 128 << 20, images: 1 << 16 }
    }
}

/// What happens to the buffer next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// This image is read and put behind the others.
    Put(u32),
    /// The image at this place is given away; the last one takes the place.
    Give(usize),
}

/// All moves of an epoch.
#[derive(Debug)]
pub struct Moves {
    shards: Arc<Shards>,
    pass: Peekable<std::iter::Flatten<std::vec::IntoIter<Range<u32>>>>,
    /// Sizes of the images in the buffer.
    held: Vec<u32>,
    bytes: u64,
    buffer: Buffer,
    rng: ChaCha8Rng,
}

impl Moves {
    /// Those of `share` in epoch number `epoch`.
    #[must_use]
    pub fn new(shards: Arc<Shards>, seed: u64, epoch: usize, share: Share, buffer: Buffer) -> Self {
        let order = shuffled(shards.count(), Stream::Order.seed(seed), epoch);
        let (wanted, mut passed) = (share.range(shards.len()), 0);
        let mut part = |shard: u32| {
            let images = shards.images(shard as usize);
            let (from, count) = (passed, images.len());
            passed += count;
            // Both within the shard.
            let cut = |at: usize| images.start + at.clamp(from, from + count).saturating_sub(from) as u32;
            cut(wanted.start)..cut(wanted.end)
        };
        let pass: Vec<Range<u32>> = order.into_iter().map(&mut part).collect();
        // A stream for each process, none of which meets an epoch of another below 2^40 epochs.
        let rng = generator(Stream::Buffer.seed(seed), (share.rank() as u64) << 40 | epoch as u64);
        Self { pass: pass.into_iter().flatten().peekable(), shards, held: Vec::new(), bytes: 0, buffer, rng }
    }
}

impl Iterator for Moves {
    type Item = Move;

    fn next(&mut self) -> Option<Move> {
        if let Some(index) = self.pass.peek().copied() {
            let size = self.shards.place(index).map_or(0, |(.., size)| size as u32);
            let bytes = self.bytes + u64::from(size);
            if self.held.is_empty() || (self.held.len() < self.buffer.images && bytes <= self.buffer.bytes) {
                self.pass.next();
                self.held.push(size);
                self.bytes = bytes;
                return Some(Move::Put(index));
            }
        }
        if self.held.is_empty() {
            return None;
        }
        let place = below(self.held.len(), &mut self.rng);
        self.bytes -= u64::from(self.held.swap_remove(place));
        Some(Move::Give(place))
    }
}

/// Makes the moves until `count` images are given away, without reading any. Returns what the buffer then holds, in
/// its order: images, each behind its place in the order of reading.
pub fn skip(moves: &mut Moves, count: usize) -> Vec<(usize, u32)> {
    let (mut held, mut given, mut read) = (Vec::new(), 0, 0);
    while given < count {
        match moves.next() {
            Some(Move::Put(index)) => {
                held.push((read, index));
                read += 1;
            }
            Some(Move::Give(place)) => {
                held.swap_remove(place);
                given += 1;
            }
            None => break,
        }
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The images of `moves` in the order in which they are given away, and the most that the buffer held.
    fn run(moves: Moves, mut held: Vec<u32>, sizes: &[u32]) -> (Vec<u32>, u64, usize) {
        let (mut given, mut bytes, mut images) = (Vec::new(), 0, 0);
        for next in moves {
            match next {
                Move::Put(index) => held.push(index),
                Move::Give(place) => given.push(held.swap_remove(place)),
            }
            bytes = bytes.max(held.iter().map(|index| u64::from(sizes[*index as usize])).sum());
            images = images.max(held.len());
        }
        assert!(held.is_empty());
        (given, bytes, images)
    }

    proptest! {
        #[test]
        fn an_epoch_shows_each_image_once_within_bounds_and_goes_on_anywhere(
            sizes in proptest::collection::vec(proptest::collection::vec(0_u32..2000, 0..20), 1..8),
            (seed, epoch) in (0_u64..1000, 0_usize..5),
            (bytes, images) in (1_u64..20_000, 1_usize..40),
            ranks in 1_usize..5,
            cut in 0_usize..100,
        ) {
            let (all, shards) = (sizes.concat(), Arc::new(Shards::of_sizes(&sizes)));
            let buffer = Buffer { bytes, images };
            let mut seen = Vec::new();
            for rank in 0..ranks {
                let share = Share::new(rank, ranks).expect("share");
                let moves = || Moves::new(shards.clone(), seed, epoch, share, buffer);
                let (given, most, count) = run(moves(), Vec::new(), &all);
                prop_assert_eq!(given.len(), all.len() / ranks, "shares are equally long");
                let largest = u64::from(all.iter().copied().max().unwrap_or(0));
                prop_assert!(most <= bytes.max(largest) && count <= images, "{} bytes, {} images", most, count);
                // What is skipped need not be read.
                let (mut rest, cut) = (moves(), cut.min(given.len()));
                let held = skip(&mut rest, cut);
                let in_order: Vec<_> = held.iter().map(|(read, _)| *read).collect();
                prop_assert!(in_order.iter().all(|read| in_order.iter().filter(|other| *other == read).count() == 1));
                let held = held.into_iter().map(|(_, index)| index).collect();
                prop_assert_eq!(&run(rest, held, &all).0[..], &given[cut..]);
                seen.extend(given);
            }
            let count = seen.len();
            seen.sort_unstable();
            seen.dedup();
            prop_assert_eq!((seen.len(), count), (count, all.len() / ranks * ranks), "no image twice");
        }
    }

    fn order(seed: u64, epoch: usize, rank: usize, images: usize) -> Vec<u32> {
        let shards = Arc::new(Shards::of_sizes(&vec![vec![100; 50]; 10]));
        let share = Share::new(rank, 2).expect("share");
        let moves = Moves::new(shards, seed, epoch, share, Buffer { bytes: u64::MAX, images });
        run(moves, Vec::new(), &[100; 500]).0
    }

    #[test]
    fn seed_and_epoch_change_the_order() {
        let first = order(1, 0, 0, 40);
        assert_eq!(first, order(1, 0, 0, 40));
        assert!(first != order(2, 0, 0, 40) && first != order(1, 1, 0, 40) && first != order(1, 0, 1, 40));
        // Neighbours in a shard do not stay neighbours.
        let together = first.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) == 1).count();
        assert!(together < 25, "{together} of 249");
        // With a buffer of one image, shards alone are shuffled, and each is read from its start to its end.
        let unshuffled = order(1, 0, 0, 1);
        assert!(unshuffled.chunks(50).all(|shard| shard.windows(2).all(|pair| pair[1] == pair[0] + 1)));
        let starts: Vec<u32> = unshuffled.iter().step_by(50).map(|index| index / 50).collect();
        assert!(!starts.is_sorted(), "{starts:?}");
    }

    #[test]
    fn the_order_is_part_of_every_seeded_result() {
        // If this fails, trainings that are resumed go on with other images than they would have.
        assert_eq!(order(7, 3, 1, 40)[..8], ORDER);
    }

    const ORDER: [u32; 8] = [315, 301, 320, 307, 310, 304, 319, 326];
}
