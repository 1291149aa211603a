//! Sums of shards that end in any order, added in the order of the shards.

use crate::{
    parameters::{PARAMETERS, Parameters},
    vector,
};
use pulp::Arch;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

type Sums = [Vec<f32>; PARAMETERS];

/// The sum over all shards of one backward pass.
pub(crate) struct Fold {
    arch: Arch,
    lens: [usize; PARAMETERS],
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Shards that are in `total`: the first ones.
    added: usize,
    total: Option<Sums>,
    /// Later shards that have ended.
    waiting: BTreeMap<usize, Sums>,
    /// Memory of those that have been added.
    free: Vec<Sums>,
}

impl Fold {
    /// For sums of these lengths.
    pub(crate) fn new(arch: Arch, lens: Parameters<usize>) -> Self {
        Self { arch, lens: lens.into_array(), state: Mutex::default() }
    }

    /// What a shard adds to.
    pub(crate) fn zeros(&self) -> Parameters<Vec<f32>> {
        let used = self.state.lock().unwrap_or_else(PoisonError::into_inner).free.pop();
        Parameters::from_array(match used {
            Some(mut used) => {
                used.iter_mut().for_each(|sum| sum.fill(0.0));
                used
            }
            None => self.lens.map(|len| vec![0.0; len]),
        })
    }

    /// Adds the sums of a shard as soon as all before it are added.
    pub(crate) fn add(&self, shard: usize, sums: Parameters<Vec<f32>>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { added, total, waiting, free } = &mut *state;
        waiting.insert(shard, sums.into_array());
        while let Some(sums) = waiting.remove(added) {
            *added += 1;
            let Some(total) = total.as_mut() else {
                *total = Some(sums);
                continue;
            };
            for (total, sum) in total.iter_mut().zip(&sums) {
                vector::add(self.arch, total, sum);
            }
            free.push(sums);
        }
    }

    /// The sum; zeros if there was no shard.
    pub(crate) fn total(self) -> Parameters<Vec<f32>> {
        let total = self.state.into_inner().unwrap_or_else(PoisonError::into_inner).total;
        Parameters::from_array(total.unwrap_or_else(|| self.lens.map(|len| vec![0.0; len])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_order_in_which_shards_end_changes_no_bit(order in Just((0..6_usize).collect::<Vec<_>>()).prop_shuffle()) {
            let lens = Parameters::from_array([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 37]);
            let of = |shard: usize, i: usize| 0.1 + 1e-3 * (i as f32) * 10_f32.powi(shard as i32);
            let fold = Fold::new(Arch::new(), lens);
            for shard in order {
                let sums = fold.zeros().into_array().map(|mut sum| {
                    sum.iter_mut().enumerate().for_each(|(i, sum)| *sum += of(shard, i));
                    sum
                });
                fold.add(shard, Parameters::from_array(sums));
            }
            let total = fold.total();
            for (sum, len) in total.into_array().into_iter().zip(lens.into_array()) {
                let expected = |i: usize| (1..6).fold(of(0, i), |sum, shard| sum + of(shard, i));
                prop_assert_eq!(sum, (0..len).map(expected).collect::<Vec<_>>());
            }
        }
    }
}
