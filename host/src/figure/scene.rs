//! Shapes with places, in units of a pixel of the SVG from the upper left corner.

/// Red, green and blue.
pub type Rgb = [u8; 3];

/// For data, told apart also without all cones.
pub const COLOURS: [Rgb; 5] = [[31, 87, 164], [192, 80, 28], [38, 128, 84], [120, 72, 152], [90, 90, 90]];

/// What a shape is painted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// Text and axes.
    Ink,
    /// Less important text.
    Soft,
    /// Grid lines.
    Grid,
    /// A thin line of much data, below the main one.
    Fine,
    /// The main line of data where there is one.
    Main,
    /// Data, several told apart.
    Data(Rgb),
}

impl Paint {
    /// Its colour on white.
    #[must_use]
    pub fn rgb(self) -> Rgb {
        match self {
            Self::Ink => [40, 40, 40],
            Self::Soft => [110, 110, 110],
            Self::Grid => [222, 222, 222],
            Self::Fine => [156, 192, 245],
            Self::Main => [31, 111, 235],
            Self::Data(rgb) => rgb,
        }
    }
}

/// Width of a letter, as the layout counts it; what a text takes in either form of the picture is no more.
pub const LETTER: f64 = 7.0;
/// Size of the letters.
pub const FONT_SIZE: f64 = 12.0;
/// Height of a text.
pub const LINE: f64 = 16.0;

/// Where a text has its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// At its left end.
    Start,
    /// In its middle.
    Middle,
    /// At its right end.
    End,
}

/// One shape.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// A line through points.
    Line {
        points: Vec<(f64, f64)>,
        width: f64,
        /// What it is painted with.
        paint: Paint,
    },
    /// A closed area.
    Area {
        points: Vec<(f64, f64)>,
        /// What it is painted with.
        paint: Paint,
        /// 0 (clear) to 1.
        opacity: f64,
    },
    /// A disc.
    Dot {
        at: (f64, f64),
        radius: f64,
        /// What it is painted with.
        paint: Paint,
        /// What it says when it is pointed at.
        title: Option<String>,
    },
    /// A line of text.
    Text {
        /// Its place, on the base line.
        at: (f64, f64),
        /// What it says.
        text: String,
        /// What lies at its place.
        anchor: Anchor,
        /// What it is painted with.
        paint: Paint,
    },
}

#[cfg(test)]
impl Item {
    /// The places that it names.
    pub fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        match self {
            Self::Line { points, .. } | Self::Area { points, .. } => points.clone().into_iter(),
            Self::Dot { at, .. } | Self::Text { at, .. } => vec![*at].into_iter(),
        }
    }
}

/// A white picture with shapes, the later above the earlier.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// For people who cannot see it.
    pub title: String,
    /// Columns.
    pub width: f64,
    /// Rows.
    pub height: f64,
    /// Shapes.
    pub items: Vec<Item>,
}

impl Scene {
    /// Adds a straight line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), width: f64, paint: Paint) {
        self.items.push(Item::Line { points: vec![from, to], width, paint });
    }

    /// Adds a text.
    pub fn text(&mut self, at: (f64, f64), anchor: Anchor, paint: Paint, text: impl Into<String>) {
        self.items.push(Item::Text { at, text: text.into(), anchor, paint });
    }

    /// Adds a disc.
    pub fn dot(&mut self, at: (f64, f64), radius: f64, paint: Paint) {
        self.items.push(Item::Dot { at, radius, paint, title: None });
    }
}

/// Room that a text takes, as the layout counts it.
#[must_use]
pub fn room(text: &str) -> f64 {
    text.chars().count() as f64 * LETTER
}
