//! Which images of an epoch one process of several trains on.

use std::ops::Range;

/// A process's part of the data. Every process opens the same data, so that images have the same numbers everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    rank: usize,
    ranks: usize,
}

impl Share {
    /// That of a process which is alone.
    pub const WHOLE: Self = Self { rank: 0, ranks: 1 };

    /// That of process number `rank`, counted from 0, of `ranks`; `None` if there is no such process.
    #[must_use]
    pub fn new(rank: usize, ranks: usize) -> Option<Self> {
        (rank < ranks).then_some(Self { rank, ranks })
    }

    /// The number of the process.
    #[must_use]
    pub fn rank(self) -> usize {
        self.rank
    }

    /// How many of `count` images each process gets. Those that are too few for one more each are left out.
    #[must_use]
    pub fn len(self, count: usize) -> usize {
        count / self.ranks
    }

    /// Its part of `count` things in a row: all parts are equally long and none overlap.
    #[must_use]
    pub fn range(self, count: usize) -> Range<usize> {
        let len = self.len(count);
        self.rank * len..(self.rank + 1) * len
    }

    /// Its parts of things in a row that all processes go through together, `size` each at a time.
    pub fn parts<T>(self, all: &[T], size: usize) -> impl Iterator<Item = &[T]> {
        all.chunks_exact((size * self.ranks).max(1)).map(move |step| &step[self.rank * size..][..size])
    }
}

impl Default for Share {
    fn default() -> Self {
        Self::WHOLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shares_are_equally_long_and_apart(count in 0_usize..200, ranks in 1_usize..9, size in 1_usize..9) {
            let all: Vec<usize> = (0..count).collect();
            let shares: Vec<Share> = (0..ranks).filter_map(|rank| Share::new(rank, ranks)).collect();
            let ranges: Vec<usize> = shares.iter().flat_map(|share| share.range(count)).collect();
            prop_assert_eq!(&ranges, &all[..count / ranks * ranks]);
            for (step, whole) in all.chunks_exact(size * ranks).enumerate() {
                let parts = shares.iter().flat_map(|share| share.parts(&all, size).nth(step).unwrap_or_default());
                prop_assert_eq!(parts.copied().collect::<Vec<_>>(), whole);
            }
            prop_assert_eq!(shares[0].parts(&all, size).count(), shares[0].len(count) / size);
        }
    }

    #[test]
    fn there_is_no_share_of_nobody() {
        assert_eq!((Share::new(0, 1), Share::new(2, 2), Share::new(0, 0)), (Some(Share::WHOLE), None, None));
    }
}
