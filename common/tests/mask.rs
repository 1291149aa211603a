//! Masks of every kind: how many patches they keep, that they depend on the seed alone, and what the colours of noise
//! do.

use common::{
    mask::{Mask, MaskKind, generator, len_keep},
    patch::PatchGrid,
};
use proptest::prelude::*;

proptest! {
    #[test]
    fn every_kind_keeps_as_many_patches_as_asked_and_the_same_ones_for_a_seed(
        rows in 1_usize..20, cols in 1_usize..20, ratio in 0.0_f64..1.0, seed: u64, stream: u64,
        kind in prop::sample::select(&MaskKind::ALL[..]),
    ) {
        let grid = PatchGrid::new(rows * 2, cols * 2, 2, 3).expect("a grid");
        let kept = len_keep(grid.patches(), ratio);
        let mask = Mask::draw(kind, &grid, kept, &mut generator(seed, stream));
        prop_assert_eq!(mask.ids_keep.len(), kept);
        let removed = mask.removed();
        prop_assert_eq!(removed.iter().map(|r| usize::from(*r)).sum::<usize>(), grid.patches() - kept);
        prop_assert!(mask.ids_keep.iter().all(|id| removed[*id as usize] == 0));
        prop_assert_eq!(&mask, &Mask::draw(kind, &grid, kept, &mut generator(seed, stream)));
    }
}

/// Pairs of neighbours that are both visible, and how often each patch is, over many masks that keep a quarter.
fn statistics(kind: MaskKind) -> (usize, Vec<usize>) {
    let grid = PatchGrid::new(14, 14, 1, 3).expect("a grid");
    let (mut pairs, mut visible) = (0, vec![0; grid.patches()]);
    for stream in 0..600 {
        let removed = Mask::draw(kind, &grid, 49, &mut generator(7, stream)).removed();
        let seen = |row: usize, col: usize| row < 14 && col < 14 && removed[row * 14 + col] == 0;
        for (index, count) in visible.iter_mut().enumerate() {
            let (row, col) = (index / 14, index % 14);
            *count += usize::from(seen(row, col));
            pairs += usize::from(seen(row, col) && seen(row + 1, col));
            pairs += usize::from(seen(row, col) && seen(row, col + 1));
        }
    }
    (pairs, visible)
}

#[test]
fn red_noise_clumps_most_then_green_and_blue_keeps_apart() {
    let pairs = |kind| statistics(kind).0 as f64;
    let random = pairs(MaskKind::Random);
    let (red, green, blue) = (pairs(MaskKind::Red), pairs(MaskKind::Green), pairs(MaskKind::Blue));
    assert!(red > 1.2 * green && green > 1.3 * random && blue < 0.75 * random, "{red} {green} {random} {blue}");
}

#[test]
fn colours_favour_no_patch() {
    for kind in [MaskKind::Red, MaskKind::Green, MaskKind::Blue] {
        // 150 of 600 are expected, with a standard deviation of 11.
        let (_, visible) = statistics(kind);
        assert!(visible.iter().all(|count| (95..=205).contains(count)), "{kind:?}: {visible:?}");
    }
}
