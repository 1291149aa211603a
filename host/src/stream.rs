//! Streams of random choices: one for each kind of choice, so that none depends on how many others were made.

/// What is chosen at random. The numbers are part of every seeded result: a run that goes on must draw what it would
/// have drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Stream {
    /// The order of the images in an epoch of pre-training.
    Order = 0x0bde_5bde,
    /// Which images the buffer between shards and an epoch of pre-training gives away.
    Buffer = 0xb0ff_e45b,
    /// Crops, flips and colours of training views.
    View = 0xa06e_0e47,
    /// The order of the images in an epoch of fine-tuning.
    LabelledOrder = 0x0f17_0bde,
    /// Crops, flips, RandAugment and erasing in fine-tuning.
    LabelledView = 0x0f17_a063,
    /// Partners and shares of mixup and CutMix.
    Mixing = 0x0f17_313a,
    /// The patches that a fine-tuned classifier sees.
    LabelledPatches = 0x0f17_9a7c,
    /// Branches that are dropped (stochastic depth).
    DropPath = 0xd20b_0a75,
    /// How many patches of an optimizer step are visible.
    KeepRange = 0x4ee9_5a4e,
    /// Patches from which the components of a target are taken.
    TargetSample = 0x7a46_e700,
    /// Batches and first weights of a linear probe.
    LinearProbe = 0x11ea_12ed,
    /// Which images choose the penalty of a linear probe in closed form.
    RidgeSplit = 0x0b1d_6e00,
    /// Augmented views of a linear probe's training images.
    ProbeView = 0x51e7_ca11,
    /// Which of an image's removed patches are predicted.
    Predicted = 0x9e3d_1c7a,
    /// Masks of an image's further views.
    ViewMask = 0x0a5c_71e5,
    /// Directions in which a joint term tests the features' distribution.
    Slices = 0x511c_e5ed,
    /// The embedded generator's images.
    Synthetic = 0x5eed_1eaf,
}

impl Stream {
    /// The seed of this stream in a process with the seed `seed`.
    #[must_use]
    pub fn seed(self, seed: u64) -> u64 {
        seed ^ self as u64
    }
}
