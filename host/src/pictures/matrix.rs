//! A matrix of shares between named classes, as a picture.

use super::{
    canvas::{Canvas, INK},
    font,
};

/// Longest name that is written out, letters.
const LONGEST: usize = 18;
const MARGIN: usize = 14;
const GAP: usize = 8;
/// Letters of the title and of "found" have dots of this size.
const TITLE: usize = 2;
const LINE: usize = 11;

/// Sizes for a number of classes: side of a cell, dots of the names (0: none are drawn), dots of the numbers.
fn sizes(classes: usize) -> (usize, usize, usize) {
    match classes {
        0..=20 => (46, 2, 2),
        21..=40 => (24, 2, 1),
        41..=120 => (11, 1, 0),
        _ => ((1200 / classes).max(2), 0, 0),
    }
}

impl Canvas {
    /// Shares (`[K, K]`, 0 to 1, a row a true class, a column a class found), dark where large, with the classes'
    /// names and the shares in per cent where there is room.
    #[must_use]
    pub fn matrix(title: &str, classes: &[String], shares: &[f64]) -> Self {
        let count = classes.len();
        let (cell, name_dots, number_dots) = sizes(count);
        let names: Vec<String> = classes.iter().map(|class| short(class)).collect();
        let longest = names.iter().map(|name| font::width(name, name_dots)).max().unwrap_or(0);
        let head = 2 * LINE * TITLE + 2 * GAP;
        let (left, top) = (MARGIN + longest + GAP, MARGIN + head + longest + GAP);
        let text = font::width(title, TITLE).max(font::width(AXES, TITLE)) + 2 * MARGIN;
        let mut canvas = Self::white(top + count * cell + MARGIN, (left + count * cell + MARGIN).max(text));
        canvas.text(MARGIN, MARGIN, &title.to_lowercase(), TITLE);
        canvas.text(MARGIN, MARGIN + LINE * TITLE, AXES, TITLE);
        // Letters are seven dots high.
        let middle = (cell.saturating_sub(7 * name_dots)) / 2;
        for (place, name) in names.iter().enumerate().filter(|_| name_dots > 0) {
            let width = font::width(name, name_dots);
            canvas.text(left - GAP - width, top + place * cell + middle, name, name_dots);
            canvas.text_upwards(left + place * cell + middle, top - GAP, name, name_dots);
        }
        for (place, share) in shares.iter().enumerate() {
            let (y, x) = (top + place / count * cell, left + place % count * cell);
            let inner = if cell > 6 { cell - 1 } else { cell };
            canvas.rectangle((x, y), (inner, inner), shade(*share));
            let number = format!("{:.0}", share * 100.0);
            if number_dots > 0 && number != "0" {
                let at = (x + (inner - font::width(&number, number_dots)) / 2, y + (inner - 7 * number_dots) / 2);
                let ink = if *share > 0.45 { [255; 3] } else { INK };
                canvas.text_in(at.0, at.1, &number, number_dots, ink);
            }
        }
        canvas
    }
}

const AXES: &str = "rows: class, columns: found as, %";

/// From near white to dark blue.
fn shade(share: f64) -> [u8; 3] {
    let share = share.clamp(0.0, 1.0);
    [(244.0, 12.0), (247.0, 52.0), (251.0, 110.0)].map(|(light, dark)| (light + (dark - light) * share) as u8)
}

fn short(name: &str) -> String {
    let name = name.to_lowercase();
    if name.chars().count() <= LONGEST { name } else { name.chars().take(LONGEST - 1).chain(['.']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_shades_whatever_the_number_of_classes() {
        for count in [2, 30, 100, 1000] {
            let classes: Vec<String> = (0..count).map(|i| format!("a class of number {i}")).collect();
            let shares: Vec<f64> =
                (0..count * count).map(|i| if i / count == i % count { 1.0 } else { 0.0 }).collect();
            let png = Canvas::matrix("title", &classes, &shares).to_png().expect("png");
            let image = image::load_from_memory(&png).expect("image").into_rgb8();
            let dark = image.pixels().filter(|pixel| pixel.0 == shade(1.0)).count();
            let (cell, _, numbers) = sizes(count);
            // White numbers cover a part of large cells.
            assert!(dark <= count * cell * cell && dark * 2 > count * (cell - 1) * (cell - 1), "{count}: {dark}");
            assert!(numbers == 0 || image.pixels().any(|pixel| pixel.0 == [255; 3]));
            assert!(image.width() < 2200 && image.height() < 2200, "{count}: {:?}", image.dimensions());
        }
    }
}
