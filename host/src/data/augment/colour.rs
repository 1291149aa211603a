//! Changes of colour for views that a model is to recognise as one image: usual in contrastive learning (Chen et al.
//! 2020, "A Simple Framework for Contrastive Learning of Visual Representations"; solarisation: Grill et al. 2020,
//! "Bootstrap Your Own Latent"), and no part of the MAE paper's recipe.

use super::{Canvas, HUE, JITTERED, SCALE, STRENGTH};
use crate::data::random::{below, between, chance};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// The strongest jitter: brightness, contrast and saturation down to 0, hue by a quarter of the circle.
const STRONGEST: f64 = 2.5;
/// Deviation of a blur in pixels for images of [`SIDE`] pixels.
const SIGMA: (f64, f64) = (0.1, 2.0);
/// The side for which blurs are published.
const SIDE: f64 = 224.0;

/// How views are coloured, and the smallest part of an image that is one. All off, it is the paper's recipe.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Colour {
    /// Strength of the changes of brightness, contrast, saturation (0.4 at 1) and hue (a tenth of the circle at 1),
    /// in four of five views; 0 is off.
    pub jitter: f64,
    /// Share of the views that lose their colour.
    pub grey: f64,
    /// Share of the views that are blurred, by a Gaussian of 0.1 to 2 pixels at a side of 224 pixels, and times the
    /// root of the relation of the sides at others: up to 0.76 pixels at 32.
    pub blur: f64,
    /// Share of the views whose values from 128 on are inverted.
    pub solarise: f64,
    /// Smallest area of a random crop relative to the image's.
    pub crop_area: f64,
}

impl Default for Colour {
    fn default() -> Self {
        Self { jitter: 0.0, grey: 0.0, blur: 0.0, solarise: 0.0, crop_area: SCALE.0 }
    }
}

/// Why views cannot be coloured so.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("colour.{field} {value} must be {bounds}")]
pub struct ColourError {
    /// The field.
    pub field: &'static str,
    /// What it is.
    pub value: f64,
    /// What it may be.
    pub bounds: &'static str,
}

/// What is done to one view.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Steps {
    jitter: Option<Jitter>,
    grey: bool,
    sigma: Option<f32>,
    solarise: bool,
}

/// Factors, the turn of hues as a share of the circle, and the order of the four.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Jitter {
    pub brightness: f64,
    pub contrast: f64,
    pub saturation: f64,
    pub hue: f64,
    pub order: [u8; 4],
}

impl Colour {
    /// Whether it is the paper's recipe.
    #[must_use]
    pub fn is_off(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses what no view can be made with.
    ///
    /// # Errors
    /// Names the first field that is outside of its bounds.
    pub fn validate(&self) -> Result<(), ColourError> {
        let refuse = |field, value, bounds| Err(ColourError { field, value, bounds });
        if !(0.0..=STRONGEST).contains(&self.jitter) {
            return refuse("jitter", self.jitter, "between 0, which is off, and 2.5");
        }
        for (field, share) in [("grey", self.grey), ("blur", self.blur), ("solarise", self.solarise)] {
            if !(0.0..=1.0).contains(&share) {
                return refuse(field, share, "a share of the views: between 0, which is off, and 1");
            }
        }
        if !(self.crop_area > 0.0 && self.crop_area <= 1.0) {
            return refuse("crop_area", self.crop_area, "above 0 and at most 1, the whole image; the paper's is 0.2");
        }
        Ok(())
    }

    /// Colours a view, `[H, W, C]`, in place. Views of any number of channels draw the same numbers, and with one of
    /// the steps on, those of all; without any, none.
    pub fn apply(
        &self,
        view: &mut [u8],
        shape: (usize, usize),
        channels: usize,
        rng: &mut ChaCha8Rng,
        canvas: &mut Canvas,
    ) {
        if [self.jitter, self.grey, self.blur, self.solarise] == [0.0; 4] {
            return;
        }
        let Steps { jitter, grey, sigma, solarise } = self.draw(shape.0.min(shape.1), rng);
        if jitter.is_none() && !grey && sigma.is_none() && !solarise {
            return;
        }
        canvas.load(view, shape, channels);
        if let Some(jitter) = jitter {
            jitter.apply(canvas);
        }
        if grey {
            canvas.grey();
        }
        if let Some(sigma) = sigma {
            canvas.blur(sigma);
        }
        if solarise {
            canvas.solarise();
        }
        canvas.store(view, channels);
    }

    /// The steps of the next view. Every number is drawn, needed or not, so that no step depends on another's share.
    fn draw(&self, side: usize, rng: &mut ChaCha8Rng) -> Steps {
        let jittered = chance(JITTERED, rng);
        let jitter = Jitter::draw(self.jitter, rng);
        let grey = chance(self.grey, rng);
        let blurred = chance(self.blur, rng);
        // Between a blur of as many pixels, which leaves nothing of a small image, and one of the same share of the
        // side, which is none there.
        let sigma = between(SIGMA.0, SIGMA.1, rng) * (side as f64 / SIDE).sqrt();
        Steps {
            jitter: (jittered && self.jitter > 0.0).then_some(jitter),
            grey,
            sigma: blurred.then_some(sigma as f32),
            solarise: chance(self.solarise, rng),
        }
    }
}

impl Jitter {
    /// The changes of a view, `strength` times as strong as is usual.
    pub fn draw(strength: f64, rng: &mut ChaCha8Rng) -> Self {
        let reach = STRENGTH * strength;
        let mut factor = || between((1.0 - reach).max(0.0), 1.0 + reach, rng);
        let [brightness, contrast, saturation] = [factor(), factor(), factor()];
        let hue = between(-HUE * strength, HUE * strength, rng);
        let mut order = [0, 1, 2, 3];
        (1..4).rev().for_each(|last| order.swap(last, below(last + 1, rng)));
        Self { brightness, contrast, saturation, hue, order }
    }

    fn apply(self, canvas: &mut Canvas) {
        for change in self.order {
            match change {
                0 => canvas.brightness(self.brightness as f32),
                1 => canvas.contrast(self.contrast as f32),
                2 => canvas.saturation(self.saturation as f32),
                _ => canvas.hue(self.hue as f32),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::mask::generator;

    const OFF: Colour = Colour { jitter: 0.0, grey: 0.0, blur: 0.0, solarise: 0.0, crop_area: 0.2 };
    const ON: Colour = Colour { jitter: 1.0, grey: 0.2, blur: 0.5, solarise: 0.1, crop_area: 0.2 };
    const SHAPE: (usize, usize) = (12, 10);

    fn view(channels: usize) -> Vec<u8> {
        (0..SHAPE.0 * SHAPE.1 * channels).map(|i| (i * 37 % 256) as u8).collect()
    }

    fn coloured(colour: Colour, channels: usize, stream: u64) -> Vec<u8> {
        let mut view = view(channels);
        let (rng, canvas) = (&mut generator(5, stream), &mut Canvas::default());
        colour.apply(&mut view, SHAPE, channels, rng, canvas);
        view
    }

    /// In how many of 400 views of `channels` this is true.
    fn count(colour: Colour, channels: usize, is: impl Fn(&[u8]) -> bool) -> usize {
        (0..400).filter(|stream| is(&coloured(colour, channels, *stream))).count()
    }

    #[test]
    fn off_nothing_is_drawn_or_changed() {
        let rng = &mut generator(5, 0);
        let mut same = view(3);
        Colour { crop_area: 0.5, ..OFF }.apply(&mut same, SHAPE, 3, rng, &mut Canvas::default());
        assert_eq!(same, view(3));
        assert_eq!(between(0.0, 1.0, rng), between(0.0, 1.0, &mut generator(5, 0)));
    }

    #[test]
    fn shares_are_those_that_were_asked_for() {
        let changed = |channels| move |found: &[u8]| found != view(channels);
        let is_grey = |found: &[u8]| found.chunks_exact(3).all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2]);
        assert!((290..350).contains(&count(Colour { jitter: 1.0, ..OFF }, 3, changed(3))));
        assert!((55..105).contains(&count(Colour { grey: 0.2, ..OFF }, 3, is_grey)));
        assert!((55..105).contains(&count(Colour { grey: 0.2, ..OFF }, 3, changed(3))));
        // The narrowest blurs of a small view change nothing.
        assert!((60..200).contains(&count(Colour { blur: 0.5, ..OFF }, 1, changed(1))));
        let drawn = |stream| Colour { blur: 0.5, ..OFF }.draw(32, &mut generator(5, stream));
        assert!((170..230).contains(&(0..400).filter(|stream| drawn(*stream).sigma.is_some()).count()));
        assert!((20..65).contains(&count(Colour { solarise: 0.1, ..OFF }, 1, changed(1))));
        assert_eq!(count(Colour { grey: 1.0, ..ON }, 3, is_grey), 400);
        assert_eq!(count(Colour { grey: 1.0, ..OFF }, 2, changed(2)), 0, "there is no colour to lose");
        let inverted: Vec<u8> = view(3).iter().map(|value| if *value < 128 { *value } else { 255 - value }).collect();
        assert_eq!(count(Colour { solarise: 1.0, ..OFF }, 3, |found| found == inverted), 400);
    }

    #[test]
    fn a_step_does_not_change_what_the_others_draw() {
        let draw = |colour: Colour, stream| colour.draw(32, &mut generator(5, stream));
        for stream in 0..100 {
            let all = draw(ON, stream);
            assert_eq!(draw(Colour { grey: 0.0, solarise: 0.9, ..ON }, stream).jitter, all.jitter);
            assert_eq!(draw(Colour { jitter: 0.0, ..ON }, stream), Steps { jitter: None, ..all });
            assert_eq!(
                draw(Colour { grey: 1.0, ..OFF }, stream),
                Steps { jitter: None, grey: true, sigma: None, solarise: false }
            );
        }
    }

    #[test]
    fn strengths_keep_within_their_bounds_and_scale_with_the_side() {
        let mut widest: f64 = 0.0;
        for stream in 0..500 {
            let strong = Colour { jitter: 2.5, blur: 1.0, ..OFF };
            for (side, most) in [(224, 2.0), (32, 0.756), (896, 4.0)] {
                let sigma = strong.draw(side, &mut generator(1, stream)).sigma.expect("always blurred");
                assert!(sigma > 0.0 && sigma <= most, "{sigma}");
            }
            let Some(jitter) = strong.draw(32, &mut generator(1, stream)).jitter else { continue };
            for factor in [jitter.brightness, jitter.contrast, jitter.saturation] {
                assert!((0.0..=2.0).contains(&factor));
                widest = widest.max(factor);
            }
            assert!(jitter.hue.abs() <= 0.25);
            let mut order = jitter.order;
            order.sort_unstable();
            assert_eq!(order, [0, 1, 2, 3]);
        }
        assert!(widest > 1.95);
    }

    #[test]
    fn the_same_stream_gives_the_same_view_and_another_another() {
        for channels in 1..=4 {
            let views: Vec<_> = (0..20).map(|stream| coloured(ON, channels, stream)).collect();
            assert_eq!(views, (0..20).map(|stream| coloured(ON, channels, stream)).collect::<Vec<_>>());
            let mut different = views.clone();
            different.sort();
            different.dedup();
            assert!(different.len() > 14, "{channels}: {}", different.len());
        }
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        assert!(OFF.validate().is_ok() && ON.validate().is_ok() && OFF.is_off() && !ON.is_off());
        for (colour, field) in [
            (Colour { jitter: -0.1, ..OFF }, "jitter"),
            (Colour { jitter: 2.6, ..OFF }, "jitter"),
            (Colour { grey: f64::NAN, ..OFF }, "grey"),
            (Colour { blur: 1.1, ..OFF }, "blur"),
            (Colour { solarise: -1.0, ..OFF }, "solarise"),
            (Colour { crop_area: 0.0, ..OFF }, "crop_area"),
            (Colour { crop_area: f64::INFINITY, ..OFF }, "crop_area"),
        ] {
            let error = colour.validate().expect_err("out of bounds");
            assert_eq!(error.field, field);
            assert!(error.to_string().starts_with(&format!("colour.{field} ")), "{error}");
        }
    }
}
