//! Which patches of an image are encoded.

/// A way to choose patches: the wire's word for it is `Choice`.
pub use common::wire::Choice as Select;

use common::{
    mask::{self, MaskKind},
    patch::PatchGrid,
};

/// Chooses the patches of image `frame`: writes their numbers, ascending, to the front of `ids` (`[L]`) and returns
/// how many they are: `max(1, floor(L * keep))`, or all. `noise` (`[L]`) is scratch.
///
/// Ascending, because the encoder does not care about order, and memory does.
pub fn choose(
    select: Select,
    grid: &PatchGrid,
    keep: f64,
    (seed, frame): (u64, u64),
    noise: &mut [f32],
    ids: &mut [u32],
) -> usize {
    let kind = match select {
        Select::Random => MaskKind::Random,
        Select::Grid => MaskKind::Grid,
        Select::Block => MaskKind::Block,
        Select::All => {
            (0..).zip(ids.iter_mut().take(grid.patches())).for_each(|(index, id)| *id = index);
            return grid.patches();
        }
    };
    let (noise, ids) = (&mut noise[..grid.patches()], &mut ids[..grid.patches()]);
    let visible = mask::len_visible(grid.patches(), keep);
    mask::draw_noise(kind, grid, visible, &mut mask::generator(seed, frame), noise);
    mask::argsort(noise, ids);
    ids[..visible].sort_unstable();
    visible
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn chosen_patches_are_distinct_ascending_and_as_many_as_asked(
            rows in 1_usize..20, cols in 1_usize..20, keep in 0.001_f64..=1.0, seed: u64, kind in 0..4,
        ) {
            let select = [Select::Random, Select::Grid, Select::Block, Select::All][kind as usize];
            let grid = PatchGrid::new(rows * 2, cols * 2, 2, 3).unwrap();
            let (mut noise, mut ids) = (vec![0.0; grid.patches()], vec![0; grid.patches()]);
            let visible = choose(select, &grid, keep, (seed, 3), &mut noise, &mut ids);
            let share = mask::len_visible(grid.patches(), keep);
            let expected = if select == Select::All { grid.patches() } else { share };
            prop_assert_eq!(visible, expected);
            prop_assert!(visible >= 1 && ids[..visible].windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!((ids[visible - 1] as usize) < grid.patches());
        }
    }

    #[test]
    fn a_quarter_of_the_grid_is_one_of_every_two_by_two() {
        let grid = PatchGrid::new(32, 32, 4, 3).unwrap();
        let (mut noise, mut ids) = (vec![0.0; 64], vec![0; 64]);
        let visible = choose(Select::Grid, &grid, 0.25, (0, 0), &mut noise, &mut ids);
        let expected: Vec<u32> = (0..64).filter(|id| id / 8 % 2 == 0 && id % 2 == 0).collect();
        assert_eq!(ids[..visible], expected);
    }
}
