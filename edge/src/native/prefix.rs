//! How an `encoder.native` begins; [`format`](super::format) describes the whole file.

/// The file's name in a model folder.
pub const FILE_NAME: &str = "encoder.native";
/// The first letters.
pub const MAGIC: [u8; 7] = *b"MAENATV";
/// The version, the eighth letter.
pub const VERSION: u8 = b'1';
/// Bytes before the header.
pub const PREFIX: usize = 16;
