//! Joins the parts of long features. A feature of which a part is missing is never delivered.

use super::{ClassScore, FeaturePart, Message, Received};
use crate::model::Pooling;
use alloc::{string::String, vec::Vec};

/// One whole feature.
#[derive(Debug, Clone, PartialEq)]
pub struct Feature {
    /// Number of the image since the board's start.
    pub frame: u32,
    /// The image's name, at most its last 64 bytes.
    pub name: String,
    /// Patches that were encoded (`V`).
    pub kept: u32,
    /// Patches of the image (`L`).
    pub patches: u32,
    /// Which feature this is.
    pub pooling: Pooling,
    /// Time of the encoding, microseconds.
    pub micros: u32,
    /// Its class, if the board has a head and the message about it arrived.
    pub class: Option<ClassScore>,
    /// `[D]`.
    pub values: Vec<f32>,
}

/// Joins parts; fed with every received message.
#[derive(Debug, Clone, Default)]
pub struct Assembler {
    open: Option<(Feature, usize)>,
    /// The class of the feature that comes next.
    class: Option<ClassScore>,
    /// The feature that was counted as incomplete last; its later parts are not counted again.
    given_up: Option<u32>,
    incomplete: u64,
}

impl Assembler {
    /// Longest feature that is accepted, values.
    pub const LONGEST: usize = 1 << 16;

    /// Features of which a part went missing.
    #[must_use]
    pub fn incomplete(&self) -> u64 {
        self.incomplete
    }

    /// Takes a message; returns a feature when its last part has come.
    pub fn push(&mut self, received: &Received) -> Option<Feature> {
        if received.lost_before > 0 {
            // The class may belong to a feature that never came.
            self.class = None;
        }
        let part = match &received.message {
            Message::Features(part) => part,
            Message::Class(class) => {
                self.class = Some(*class);
                return None;
            }
            Message::Hello(_) => {
                self.class = None;
                return None;
            }
            _ => return None,
        };
        if received.lost_before > 0 {
            self.drop_open();
        }
        if part.offset == 0 {
            self.drop_open();
            let FeaturePart { frame, kept, patches, pooling, micros, .. } = *part;
            let class = self.class.take().filter(|class| class.frame == frame);
            let (name, values) = (part.name.as_str().into(), Vec::new());
            let feature = Feature { frame, name, kept, patches, pooling, micros, class, values };
            self.open = Some((feature, part.total as usize));
        }
        let Some((mut feature, total)) = self.open.take() else {
            self.give_up(part.frame);
            return None;
        };
        let after = part.offset as usize + part.values.len();
        let fits = feature.frame == part.frame
            && total == part.total as usize
            && feature.values.len() == part.offset as usize
            && !part.values.is_empty()
            && after <= total
            && total <= Self::LONGEST;
        if !fits {
            self.give_up(part.frame);
            return None;
        }
        feature.values.extend_from_slice(&part.values);
        if after == total {
            return Some(feature);
        }
        self.open = Some((feature, total));
        None
    }

    /// Takes note that nothing more comes: a feature of which a part is still missing is incomplete.
    pub fn finish(&mut self) {
        self.class = None;
        self.drop_open();
    }

    fn drop_open(&mut self) {
        if let Some((feature, _)) = self.open.take() {
            self.give_up(feature.frame);
        }
    }

    fn give_up(&mut self, frame: u32) {
        if self.given_up.replace(frame) != Some(frame) {
            self.incomplete += 1;
        }
    }
}
