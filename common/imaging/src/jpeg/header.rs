//! Markers and their segments.

use super::{
    JpegError,
    color::Coding,
    component::Component,
    frame::Frame,
    huffman::{self, Table},
    scan::Scan,
};
use crate::{Pixels, limits};
use std::rc::Rc;

/// What has been read of a file.
#[derive(Debug)]
pub(super) struct Header<'a> {
    bytes: &'a [u8],
    at: usize,
    jfif: bool,
    adobe: Option<u8>,
    rgb: bool,
    quants: [Option<[i32; 64]>; 4],
    /// For DC and AC.
    tables: [[Option<Rc<Table>>; 4]; 2],
    restart: usize,
    frame: Option<Frame>,
}

impl<'a> Header<'a> {
    pub(super) fn new(bytes: &'a [u8], rgb: bool) -> Result<Self, JpegError> {
        if bytes.get(..2) != Some(&[0xFF, 0xD8]) {
            return Err(JpegError::Damaged("it does not begin as a JPEG"));
        }
        let tables = [const { [const { None }; 4] }; 2];
        let (jfif, adobe, quants) = (false, None, [None; 4]);
        Ok(Self { bytes, at: 2, jfif, adobe, rgb, quants, tables, restart: 0, frame: None })
    }

    /// The image.
    pub(super) fn decode(mut self) -> Result<Pixels, JpegError> {
        loop {
            // A file without an end marker ends as well as one with it, if its image is whole.
            let marker = self.marker();
            let Some(marker) = marker.filter(|marker| *marker != 0xD9) else {
                let coding = self.coding_of();
                let frame = self.frame.take().ok_or(JpegError::Truncated)?;
                return frame.finish(marker.is_some(), coding);
            };
            if matches!(marker, 0x01 | 0xD0..=0xD8) {
                continue;
            }
            let segment = segment(self.bytes, &mut self.at).ok_or(JpegError::Truncated)?;
            match marker {
                0xC0..=0xC2 => self.frame_header(segment, marker == 0xC2)?,
                0xC4 => self.huffman_tables(segment)?,
                0xC3 => return Err(JpegError::Unsupported("it is a lossless JPEG")),
                0xC9..=0xCB => return Err(JpegError::Unsupported("it is a JPEG with arithmetic coding")),
                0xC5..=0xC7 | 0xCD..=0xCF => return Err(JpegError::Unsupported("it is a hierarchical JPEG")),
                0xDA => {
                    let scan = self.scan(segment)?;
                    let coding = self.coding_of();
                    let frame = self.frame.as_mut().ok_or(JpegError::Damaged("a scan comes before its frame"))?;
                    if frame.is_one_scan(&scan) {
                        return frame.sequential(self.bytes, self.at, &scan, coding);
                    }
                    self.at = frame.coefficients(self.bytes, self.at, &scan)?;
                }
                0xDB => self.quant_tables(segment)?,
                0xDD => self.restart = usize::from(word(segment, 0)?),
                0xE0 if segment.starts_with(b"JFIF\0") => self.jfif = true,
                0xEE if segment.starts_with(b"Adobe") => self.adobe = segment.get(11).copied(),
                _ => {}
            }
        }
    }

    /// The next marker's code; none at the end of the file.
    fn marker(&mut self) -> Option<u8> {
        marker(self.bytes, &mut self.at)
    }

    /// Which colours the components are, as libjpeg sees it.
    fn coding_of(&self) -> Coding {
        let components = self.frame.as_ref().map_or(&[][..], |frame| &frame.components);
        match (components.len(), self.adobe) {
            (1, _) => Coding::Grey,
            (4, Some(0) | None) => Coding::Cmyk,
            (4, _) => Coding::Ycck,
            _ if self.rgb => Coding::Rgb,
            (_, Some(0)) if !self.jfif => Coding::Rgb,
            (_, None) if !self.jfif && components.iter().map(|c| c.id).eq(*b"RGB") => Coding::Rgb,
            _ => Coding::YCbCr,
        }
    }

    fn frame_header(&mut self, segment: &[u8], progressive: bool) -> Result<(), JpegError> {
        let cut = JpegError::Damaged("its frame header is cut off");
        let [precision, .., count] = *segment.first_chunk::<6>().ok_or(cut)?;
        let (height, width) = (word(segment, 1)?, word(segment, 3)?);
        if self.frame.is_some() {
            return Err(JpegError::Damaged("it has two frames"));
        }
        match (precision, height, width, count) {
            (12, ..) => return Err(JpegError::Unsupported("it is a JPEG of 12 bits")),
            (8, 1.., 1.., 1 | 3 | 4) => {}
            (8, 0, ..) => return Err(JpegError::Unsupported("it does not say its height")),
            _ => return Err(JpegError::Damaged("its frame header makes no sense")),
        }
        limits::check(width.into(), height.into())?;
        let parts = segment.get(6..6 + 3 * usize::from(count)).ok_or(cut)?;
        let components = parts.chunks_exact(3).map(|part| Component::new(part[0], part[1], part[2]));
        let components = components.collect::<Result<Vec<_>, _>>()?;
        self.frame = Some(Frame::new(height.into(), width.into(), components, progressive)?);
        Ok(())
    }

    fn quant_tables(&mut self, mut segment: &[u8]) -> Result<(), JpegError> {
        while let [head, rest @ ..] = segment {
            let length = if head >> 4 == 0 { 64 } else { 128 };
            let (Some(values), Some(slot)) = (rest.get(..length), self.quants.get_mut(usize::from(head & 15))) else {
                return Err(JpegError::Damaged("a quantisation table is none"));
            };
            let mut table = [0; 64];
            for (to, from) in table.iter_mut().zip(values.chunks_exact(length / 64)) {
                *to = from.iter().fold(0, |value, byte| value << 8 | i32::from(*byte));
            }
            *slot = Some(table);
            segment = &rest[length..];
        }
        Ok(())
    }

    fn huffman_tables(&mut self, mut segment: &[u8]) -> Result<(), JpegError> {
        let wrong = JpegError::Damaged("a Huffman table is none");
        while let [head, rest @ ..] = segment {
            let counts = rest.first_chunk::<16>().ok_or(wrong)?;
            let total: usize = counts.iter().map(|count| usize::from(*count)).sum();
            let symbols = rest.get(16..16 + total).ok_or(wrong)?;
            let slots = self.tables.get_mut(usize::from(head >> 4)).ok_or(wrong)?;
            *slots.get_mut(usize::from(head & 15)).ok_or(wrong)? = Some(Rc::new(Table::new(counts, symbols)?));
            segment = &rest[16 + total..];
        }
        Ok(())
    }

    /// What a scan's header says, with the tables that it uses.
    fn scan(&mut self, segment: &[u8]) -> Result<Scan, JpegError> {
        let wrong = JpegError::Damaged("a scan header makes no sense");
        let frame = self.frame.as_mut().ok_or(JpegError::Damaged("a scan comes before its frame"))?;
        let [count, rest @ ..] = segment else { return Err(wrong) };
        let (count, mut parts) = (usize::from(*count), Vec::<(usize, usize, usize)>::with_capacity(4));
        let (Some(chosen), Some([start, end, bits])) = (rest.get(..2 * count), rest.get(2 * count..2 * count + 3))
        else {
            return Err(wrong);
        };
        for part in chosen.chunks_exact(2) {
            let index = frame.components.iter().position(|component| component.id == part[0]).ok_or(wrong)?;
            if parts.iter().any(|(other, ..)| *other == index) {
                return Err(wrong);
            }
            parts.push((index, usize::from(part[1] >> 4), usize::from(part[1] & 15)));
            let component = &mut frame.components[index];
            // A table that changes between scans does not change what began with it.
            component.quant = component.quant.or(self.quants.get(component.slot).copied().flatten());
            if component.quant.is_none() {
                return Err(JpegError::Damaged("a quantisation table is missing"));
            }
        }
        if parts.is_empty() || parts.len() > 4 {
            return Err(wrong);
        }
        let scan = if frame.progressive {
            Scan::progressive(parts, (*start, *end), (bits >> 4, bits & 15), self.restart)?
        } else {
            Scan::sequential(parts, self.restart)
        };
        for (class, slot) in scan.tables() {
            let known = self.tables[class].get_mut(slot).ok_or(wrong)?;
            if known.is_none() {
                *known = Some(Rc::new(huffman::standard(class, slot)?));
            }
        }
        Ok(scan.with_tables(&self.tables))
    }
}

/// The next marker's code.
fn marker(bytes: &[u8], at: &mut usize) -> Option<u8> {
    loop {
        let pair = bytes.get(*at..*at + 2)?;
        *at += 1;
        if pair[0] == 0xFF && !matches!(pair[1], 0 | 0xFF) {
            *at += 1;
            return Some(pair[1]);
        }
    }
}

/// The content of the segment that begins at `at`.
fn segment<'a>(bytes: &'a [u8], at: &mut usize) -> Option<&'a [u8]> {
    let length = usize::from(u16::from_be_bytes([*bytes.get(*at)?, *bytes.get(*at + 1)?]));
    let content = bytes.get(*at + 2..*at + length)?;
    *at += length;
    Some(content)
}

fn word(segment: &[u8], at: usize) -> Result<u16, JpegError> {
    let bytes = segment.get(at..at + 2).ok_or(JpegError::Damaged("a segment is cut off"))?;
    Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// The EXIF data of a JPEG file, which begin as a TIFF does.
pub(crate) fn exif(bytes: &[u8]) -> Option<&[u8]> {
    let mut at = 2;
    loop {
        match marker(bytes, &mut at)? {
            0x01 | 0xD0..=0xD8 => {}
            0xD9 | 0xDA => return None,
            code => {
                let segment = segment(bytes, &mut at)?;
                if let (0xE1, Some(exif)) = (code, segment.strip_prefix(b"Exif\0\0")) {
                    return Some(exif);
                }
            }
        }
    }
}
