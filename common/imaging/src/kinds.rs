//! Kinds of files: by name, to find images, and by content, to read them.

/// Names of the files that are read end in these.
pub const EXTENSIONS: [&str; 13] =
    ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "tif", "tiff", "ppm", "pgm", "pbm", "pnm"];

/// Names of images that are not read end in these.
pub(crate) const OTHER_IMAGES: [&str; 24] = [
    "apng", "arw", "avif", "cr2", "cr3", "dcm", "dng", "exr", "gif", "hdr", "heic", "heif", "hif", "ico", "j2k",
    "jp2", "jxl", "nef", "npy", "orf", "psd", "raw", "svg", "tga",
];

/// What a file is, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// JPEG.
    Jpeg,
    /// TIFF.
    Tiff,
    /// What the image library reads.
    Library(image::ImageFormat),
    /// A kind that is not read, by its name.
    Other(&'static str),
    /// What is no image, with what it is instead.
    NoImage(&'static str),
}

/// Recognises a file by its content. A name says little: browsers save WebP as .jpg.
pub(crate) fn kind(bytes: &[u8]) -> Kind {
    use image::ImageFormat::{Bmp, Png, Pnm, WebP};
    let brand = bytes.get(8..12).unwrap_or_default();
    match bytes {
        [] => Kind::NoImage("it is empty"),
        [0xFF, 0xD8, 0xFF, ..] => Kind::Jpeg,
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Kind::Tiff,
        [0x89, b'P', b'N', b'G', ..] => Kind::Library(Png),
        [b'R', b'I', b'F', b'F', ..] if brand == b"WEBP" => Kind::Library(WebP),
        [b'P', b'1'..=b'6', b' ' | b'\t' | b'\r' | b'\n' | b'#', ..] => Kind::Library(Pnm),
        [b'B', b'M', ..] => Kind::Library(Bmp),
        [b'G', b'I', b'F', b'8', ..] => Kind::Other("GIF"),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => match brand {
            b"avif" | b"avis" => Kind::Other("AVIF"),
            b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"msf1" => Kind::Other("HEIC"),
            b"crx " => Kind::Other("a camera's raw file"),
            _ => Kind::NoImage("it is a film"),
        },
        [0xFF, 0x0A, ..] | [0, 0, 0, 12, b'J', b'X', b'L', ..] => Kind::Other("JPEG XL"),
        [0, 0, 0, 12, b'j', b'P', ..] | [0xFF, 0x4F, 0xFF, 0x51, ..] => Kind::Other("JPEG 2000"),
        [b'8', b'B', b'P', b'S', ..] => Kind::Other("Photoshop's"),
        [b'#', b'?', ..] => Kind::Other("Radiance HDR"),
        [0x76, 0x2F, 0x31, 0x01, ..] => Kind::Other("OpenEXR"),
        [0, 0, 1 | 2, 0, ..] => Kind::Other("ICO"),
        [0, 5, 0x16, 7, ..] => Kind::NoImage("it holds what macOS keeps beside a file"),
        [b'%', b'P', b'D', b'F', ..] => Kind::NoImage("it is a PDF"),
        _ if bytes.get(257..262) == Some(b"ustar") => Kind::NoImage("it is a tar archive: unpack it into a folder"),
        _ if bytes.starts_with(b"version https://git-lfs") => {
            Kind::NoImage("it is a pointer of Git LFS: fetch the file itself with `git lfs pull`")
        }
        _ if bytes.trim_ascii_start().starts_with(b"<") => Kind::NoImage("it is a text such as SVG or a web page"),
        _ if bytes.iter().take(512).all(|byte| *byte == 0) => Kind::NoImage("it begins with zeros only"),
        _ => Kind::NoImage("it begins as no image does"),
    }
}
