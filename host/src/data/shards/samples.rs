//! Which images of a sample are read. A sample is what webdataset makes of the members in a row whose paths are the
//! same up to the first dot of the file's name, the key.

/// Key of a member, and whether nothing but one ending follows it: `a/7` and true of `a/7.jpg`, `a/7` and false of
/// `a/7.mask.png`.
#[must_use]
pub fn key(name: &str) -> (&str, bool) {
    let file = name.rfind('/').map_or(0, |slash| slash + 1);
    match name[file..].find('.') {
        Some(dot) => (&name[..file + dot], !name[file + dot + 1..].contains('.')),
        None => (name, false),
    }
}

/// Takes images in the order of a shard and gives those that are read: of a sample the first one that is called by
/// the key and one ending; all of them, if none is. So masks and depths that lie beside an image (`7.jpg`,
/// `7.mask.png`) are left out, and names with many dots (`photo.2024.7.jpg`) are not.
#[derive(Debug)]
pub struct Samples<T> {
    key: Option<String>,
    waiting: Vec<(T, bool)>,
    /// The images that are read, of all samples that are complete.
    pub read: Vec<T>,
    /// How many lie beside the image of a sample.
    pub beside: usize,
}

impl<T> Default for Samples<T> {
    fn default() -> Self {
        Self { key: None, waiting: Vec::new(), read: Vec::new(), beside: 0 }
    }
}

impl<T> Samples<T> {
    /// Takes the next image.
    pub fn push(&mut self, name: &str, image: T) {
        let (key, only_ending) = key(name);
        if self.key.as_deref() != Some(key) {
            self.end();
            self.key = Some(key.to_owned());
        }
        self.waiting.push((image, only_ending));
    }

    /// Ends the last sample.
    pub fn end(&mut self) {
        let chosen = self.waiting.iter().position(|(_, only_ending)| *only_ending);
        let waiting = self.waiting.drain(..).map(|(image, _)| image);
        match chosen {
            Some(place) => {
                self.beside += waiting.len() - 1;
                self.read.extend(waiting.skip(place).take(1));
            }
            None => self.read.extend(waiting),
        }
        self.key = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(names: &[&'static str]) -> (Vec<&'static str>, usize) {
        let mut samples = Samples::default();
        names.iter().for_each(|name| samples.push(name, *name));
        samples.end();
        (samples.read, samples.beside)
    }

    #[test]
    fn a_key_ends_at_the_first_dot_of_the_files_name() {
        for (name, found) in [
            ("7.jpg", ("7", true)),
            ("./a.b/7.jpg", ("./a.b/7", true)),
            ("a/7.mask.png", ("a/7", false)),
            ("7", ("7", false)),
            ("a.b/7", ("a.b/7", false)),
            ("", ("", false)),
            ("é.ü.png", ("é", false)),
        ] {
            assert_eq!(key(name), found, "{name}");
        }
    }

    #[test]
    fn a_sample_gives_its_image_and_not_what_lies_beside_it() {
        assert_eq!(read(&[]), (vec![], 0));
        assert_eq!(read(&["0.jpg", "1.jpg"]), (vec!["0.jpg", "1.jpg"], 0));
        assert_eq!(read(&["0.depth.png", "0.jpg", "0.mask.png", "1.jpg"]), (vec!["0.jpg", "1.jpg"], 2));
        assert_eq!(read(&["0.jpg", "0.png", "0.jpeg"]), (vec!["0.jpg"], 2));
        assert_eq!(read(&["a/0.jpg", "b/0.jpg"]), (vec!["a/0.jpg", "b/0.jpg"], 0), "folders are part of the key");
        let (many_dots, beside) = read(&["p.2024.1.jpg", "p.2024.2.jpg", "p.2024.3.jpg"]);
        assert_eq!((many_dots.len(), beside), (3, 0));
        assert_eq!(read(&["0.left.jpg", "0.right.jpg", "1.jpg"]).0.len(), 3);
    }
}
