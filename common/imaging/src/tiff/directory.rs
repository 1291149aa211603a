//! The first directory of a classic TIFF file: its tags and where their values lie.

pub(super) const WIDTH: u16 = 256;
pub(super) const HEIGHT: u16 = 257;
pub(super) const COMPRESSION: u16 = 259;
pub(super) const PHOTOMETRIC: u16 = 262;
pub(super) const STRIP_OFFSETS: u16 = 273;
pub(super) const ORIENTATION: u16 = 274;
pub(super) const STRIP_ROWS: u16 = 278;
pub(super) const STRIP_BYTES: u16 = 279;
pub(super) const PLANES: u16 = 284;
pub(super) const COLOR_MAP: u16 = 320;
pub(super) const TILE_WIDTH: u16 = 322;
pub(super) const TILE_HEIGHT: u16 = 323;
pub(super) const TILE_OFFSETS: u16 = 324;
pub(super) const TILE_BYTES: u16 = 325;
pub(super) const JPEG_TABLES: u16 = 347;

/// The tags.
#[derive(Debug)]
pub(super) struct Directory<'a> {
    bytes: &'a [u8],
    little: bool,
    /// Where the entry of each tag begins.
    entries: Vec<(u16, usize)>,
}

impl<'a> Directory<'a> {
    /// Reads it; none if this is no classic TIFF, or it is cut off.
    pub(super) fn first(bytes: &'a [u8]) -> Option<Self> {
        let little = match bytes.get(..4)? {
            [b'I', b'I', 42, 0] => true,
            [b'M', b'M', 0, 42] => false,
            _ => return None,
        };
        let mut directory = Self { bytes, little, entries: Vec::new() };
        let at = directory.number(4, 4)? as usize;
        let count = directory.number(at, 2)? as usize;
        for index in 0..count {
            let entry = at + 2 + 12 * index;
            let tag = directory.number(entry, 2)? as u16;
            directory.entries.push((tag, entry));
        }
        Some(directory)
    }

    fn number(&self, at: usize, size: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..at.checked_add(size)?)?;
        let add = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        Some(if self.little { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) })
    }

    fn entry(&self, tag: u16) -> Option<usize> {
        self.entries.iter().find(|(known, _)| *known == tag).map(|(_, entry)| *entry)
    }

    /// The place in the file, size of one, and count of a tag's whole numbers.
    fn place(&self, tag: u16) -> Option<(usize, usize, usize)> {
        let entry = self.entry(tag)?;
        let size = match self.number(entry + 2, 2)? {
            1 | 7 => 1,
            3 => 2,
            4 => 4,
            _ => return None,
        };
        let count = self.number(entry + 4, 4)? as usize;
        let inside = size * count <= 4;
        Some((if inside { entry + 8 } else { self.number(entry + 8, 4)? as usize }, size, count))
    }

    /// A tag's numbers; none without it, or if it is cut off.
    pub(super) fn values(&self, tag: u16) -> Vec<u64> {
        let Some((at, size, count)) = self.place(tag) else { return Vec::new() };
        let within = self.bytes.len().checked_sub(at).is_some_and(|left| count <= left / size);
        let count = if within { count } else { 0 };
        (0..count).filter_map(|index| self.number(at + index * size, size)).collect()
    }

    /// A tag's first number.
    pub(super) fn value(&self, tag: u16) -> Option<u64> {
        let (at, size, count) = self.place(tag)?;
        if count == 0 { None } else { self.number(at, size) }
    }

    /// Whether a text is longer than the file, of which the library prints something.
    pub(super) fn has_endless_text(&self) -> bool {
        let endless = |entry: usize| {
            self.number(entry + 2, 2) == Some(2) && self.number(entry + 4, 4) > Some(self.bytes.len() as u64)
        };
        self.entries.iter().any(|(_, entry)| endless(*entry))
    }

    /// Width and height.
    pub(super) fn size(&self) -> Option<(u64, u64)> {
        self.value(WIDTH).zip(self.value(HEIGHT))
    }

    /// Bytes that offsets and counts of this file name.
    pub(super) fn part(&self, at: u64, count: u64) -> Option<&'a [u8]> {
        let at = usize::try_from(at).ok()?;
        self.bytes.get(at..at.checked_add(usize::try_from(count).ok()?)?)
    }

    /// The bytes of a tag.
    pub(super) fn content(&self, tag: u16) -> Option<&'a [u8]> {
        let (at, size, count) = self.place(tag)?;
        self.part(at as u64, (size * count) as u64)
    }

    /// Sets the one number of a tag in a copy of the file.
    pub(super) fn set_short(&self, copy: &mut [u8], tag: u16, value: u16) {
        let Some(entry) = self.entry(tag) else { return };
        let bytes = if self.little { value.to_le_bytes() } else { value.to_be_bytes() };
        if let Some(place) = copy.get_mut(entry + 8..entry + 10) {
            place.copy_from_slice(&bytes);
        }
    }
}
