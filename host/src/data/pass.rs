//! The images of one epoch, in its order.

use super::{
    dataset::Dataset,
    prefetch::shuffled,
    shards::{
        feed::{Decoded, Feed, Plan},
        order::Buffer,
    },
    share::Share,
};
use crate::stream::Stream;
use std::sync::Arc;

/// What of an epoch is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// The order comes from this.
    pub seed: u64,
    /// Number of the epoch.
    pub epoch: usize,
    /// Whose share of it.
    pub share: Share,
    /// Images a batch.
    pub batch_size: usize,
    /// Batches that are left out at the start.
    pub from: usize,
}

/// Gives the images one by one. What does not make a whole batch is left out of folders, and may not be of shards.
#[derive(Debug)]
pub struct Pass {
    dataset: Arc<Dataset>,
    order: Order,
}

#[derive(Debug)]
enum Order {
    /// Images are here, or in files of their own.
    Any(std::vec::IntoIter<u32>),
    /// Images come as they lie in shards.
    Shards(Feed),
}

impl Pass {
    /// Starts to read shards; of a folder, nothing is read before it is asked for.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn start(dataset: &Arc<Dataset>, part: Part) -> anyhow::Result<Self> {
        let Part { seed, epoch, share, batch_size, from } = part;
        let order = match dataset.as_shards() {
            Some(shards) => {
                let (from, channels) = (from * batch_size, dataset.channels());
                let buffer = Buffer::default();
                Order::Shards(Feed::start(shards, Plan { seed, epoch, from, share, buffer, channels })?)
            }
            None => {
                let all = shuffled(dataset.len(), Stream::Order.seed(seed), epoch);
                let own: Vec<u32> = share.parts(&all, batch_size).skip(from).flatten().copied().collect();
                Order::Any(own.into_iter())
            }
        };
        Ok(Self { dataset: dataset.clone(), order })
    }
}

impl Iterator for Pass {
    type Item = anyhow::Result<Decoded>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.order {
            Order::Any(order) => order.next().map(|index| Ok((index as usize, self.dataset.image(index as usize)))),
            Order::Shards(feed) => feed.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::loader::{Batch, Loader, LoaderConfig};
    use common::{normalize::PixelStats, patch::PatchGrid};
    use std::{fs, io::Cursor, path::Path};
    use tar::{Builder, Header};

    /// 40 images in three shards, as many in a folder; number 17 is damaged.
    fn written(root: &Path) -> [Arc<Dataset>; 2] {
        let folder = root.join("folder");
        fs::create_dir(&folder).expect("folder");
        let mut tars = [0; 3].map(|_| Builder::new(Vec::new()));
        for index in 0..40 {
            let pixels = crate::data::synthetic::image(3, index, 20, 24);
            let image = image::RgbImage::from_raw(24, 20, pixels.data).expect("pixels");
            let mut png = Cursor::new(Vec::new());
            image.write_to(&mut png, image::ImageFormat::Png).expect("png");
            let content = if index == 17 { b"no image".to_vec() } else { png.into_inner() };
            let mut header = Header::new_ustar();
            header.set_size(content.len() as u64);
            let name = format!("{index:02}.png");
            tars[index / 15].append_data(&mut header, &name, &content[..]).expect("member");
            fs::write(folder.join(name), content).expect("file");
        }
        for (number, tar) in tars.into_iter().enumerate() {
            fs::write(root.join(format!("s{number}.tar")), tar.into_inner().expect("archive")).expect("file");
        }
        let open = |path: &str| Arc::new(Dataset::open(&root.join(path), 3).expect("images"));
        [open("s{0..2}.tar"), open("folder")]
    }

    fn loader(dataset: &Arc<Dataset>, share: Share, iteration: usize) -> Loader {
        let grid = PatchGrid::new(16, 16, 4, 3).expect("grid");
        let config = LoaderConfig { seed: 3, batch_size: 6, share, ..LoaderConfig::default() };
        Loader::start(dataset.clone(), grid, PixelStats::IMAGENET, config, 1, iteration).expect("start")
    }

    fn batches(loader: &mut Loader) -> Vec<Batch> {
        std::iter::from_fn(|| loader.next_batch().ok()).collect()
    }

    #[test]
    fn images_of_shards_are_seen_as_those_of_a_folder_in_another_order() {
        let root = tempfile::tempdir().expect("folder");
        let [shards, folder] = written(root.path());
        let views = |dataset: &Arc<Dataset>| {
            let mut loader = loader(dataset, Share::WHOLE, 0);
            let batches = batches(&mut loader);
            let length = batches[0].patches.len() / 6;
            let pairs = |batch: Batch| {
                let views = batch.patches.chunks_exact(length).map(<[f32]>::to_vec).collect::<Vec<_>>();
                batch.indices.into_iter().zip(views).collect::<Vec<_>>()
            };
            (batches.into_iter().flat_map(pairs).collect::<Vec<_>>(), loader.warnings())
        };
        let ((of_shards, skipped), (of_folder, _)) = (views(&shards), views(&folder));
        assert_eq!((of_shards.len(), of_folder.len()), (36, 36));
        let mut together = 0;
        for (index, view) in &of_shards {
            assert_ne!(*index, 17);
            if let Some((_, other)) = of_folder.iter().find(|(other, _)| other == index) {
                assert!(view == other, "the view of image {index} depends on its number alone");
                together += 1;
            }
        }
        assert!(together >= 32 && of_shards != of_folder);
        if let [line] = &skipped[..] {
            assert!(line.contains("s1.tar: 17.png"), "{line}");
        }
    }

    #[test]
    fn an_epoch_is_entered_anywhere_and_shared() {
        let root = tempfile::tempdir().expect("folder");
        for dataset in written(root.path()) {
            let whole = batches(&mut loader(&dataset, Share::WHOLE, 0));
            assert_eq!(batches(&mut loader(&dataset, Share::WHOLE, 4)), whole[4..]);
            let mut seen = Vec::new();
            for rank in 0..3 {
                let share = Share::new(rank, 3).expect("share");
                let own = batches(&mut loader(&dataset, share, 0));
                assert_eq!(own.len(), 2);
                assert_eq!(batches(&mut loader(&dataset, share, 1)), own[1..]);
                if dataset.as_shards().is_none() {
                    assert!(own[0] == whole[rank] && own[1] == whole[3 + rank], "of each step its own batch");
                }
                seen.extend(own.into_iter().flat_map(|batch| batch.indices).filter(|index| *index != 18));
            }
            let count = seen.len();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), count, "the processes share images");
        }
    }
}
