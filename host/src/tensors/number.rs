//! Types of numbers in files, all read as f32.

/// Types of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    F64,
    F32,
    F16,
    Bf16,
    F8E5m2,
    F8E4m3,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
}

impl Kind {
    /// Of the class of a storage.
    pub(crate) fn of(storage: &str) -> Option<Self> {
        Some(match storage {
            "DoubleStorage" => Self::F64,
            "FloatStorage" => Self::F32,
            "HalfStorage" => Self::F16,
            "BFloat16Storage" => Self::Bf16,
            "LongStorage" => Self::I64,
            "IntStorage" => Self::I32,
            "ShortStorage" => Self::I16,
            "CharStorage" => Self::I8,
            "ByteStorage" => Self::U8,
            "BoolStorage" => Self::Bool,
            _ => return None,
        })
    }

    /// Of a name in Python's module torch, for those that have no class of storage.
    pub(crate) fn of_dtype(name: &str) -> Option<Self> {
        Some(match name {
            "uint64" => Self::U64,
            "uint32" => Self::U32,
            "uint16" => Self::U16,
            "float8_e5m2" => Self::F8E5m2,
            "float8_e4m3fn" => Self::F8E4m3,
            _ => return None,
        })
    }

    /// Whether the numbers count or choose something; bytes may as well be quantised weights.
    pub(crate) fn is_whole(self) -> bool {
        matches!(self, Self::I64 | Self::I32 | Self::I16 | Self::U64 | Self::U32 | Self::U16 | Self::Bool)
    }

    /// Bytes of a value.
    pub(crate) fn width(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 | Self::U16 => 2,
            Self::F8E5m2 | Self::F8E4m3 | Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// Little-endian values as f32.
    pub(crate) fn to_f32(self, bytes: &[u8]) -> Vec<f32> {
        fn each<const N: usize>(bytes: &[u8], convert: impl Fn([u8; N]) -> f32) -> Vec<f32> {
            bytes.as_chunks::<N>().0.iter().map(|bytes| convert(*bytes)).collect()
        }
        match self {
            Self::F64 => each(bytes, |b| f64::from_le_bytes(b) as f32),
            Self::F32 => each(bytes, f32::from_le_bytes),
            Self::F16 => each(bytes, |b| half::f16::from_le_bytes(b).to_f32()),
            Self::Bf16 => each(bytes, |b| half::bf16::from_le_bytes(b).to_f32()),
            // The upper half of an f16.
            Self::F8E5m2 => each(bytes, |[b]| half::f16::from_le_bytes([0, b]).to_f32()),
            Self::F8E4m3 => each(bytes, |[b]| e4m3(b)),
            Self::I64 => each(bytes, |b| i64::from_le_bytes(b) as f32),
            Self::I32 => each(bytes, |b| i32::from_le_bytes(b) as f32),
            Self::I16 => each(bytes, |b| f32::from(i16::from_le_bytes(b))),
            Self::I8 => each(bytes, |b| f32::from(i8::from_le_bytes(b))),
            Self::U64 => each(bytes, |b| u64::from_le_bytes(b) as f32),
            Self::U32 => each(bytes, |b| u32::from_le_bytes(b) as f32),
            Self::U16 => each(bytes, |b| f32::from(u16::from_le_bytes(b))),
            Self::U8 | Self::Bool => each(bytes, |[b]| f32::from(b)),
        }
    }
}

/// One sign, four bits of exponent, three of fraction; no infinity, and all bits set is no number.
fn e4m3(byte: u8) -> f32 {
    let (exponent, fraction) = (byte >> 3 & 15, f32::from(byte & 7));
    let size = match exponent {
        0 => fraction / 512.0,
        15 if byte & 7 == 7 => f32::NAN,
        _ => (1.0 + fraction / 8.0) * (f32::from(exponent) - 7.0).exp2(),
    };
    if byte & 0x80 == 0 { size } else { -size }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `torch.tensor(bytes, dtype=torch.uint8).view(torch.float8_...)`, torch 2.15.
    #[test]
    fn eight_bits_are_the_numbers_that_torch_makes_of_them() {
        let bytes = [0x00, 0x01, 0x07, 0x08, 0x38, 0x3b, 0x7e, 0xb8, 0xfe];
        let found = Kind::F8E4m3.to_f32(&bytes);
        assert_eq!(found, [0.0, 0.001_953_125, 0.013_671_875, 0.015_625, 1.0, 1.375, 448.0, -1.0, -448.0]);
        assert!(Kind::F8E4m3.to_f32(&[0x7f, 0xff]).iter().all(|value| value.is_nan()));
        let found = Kind::F8E5m2.to_f32(&[0x00, 0x01, 0x3c, 0x3d, 0x7b, 0x7c, 0xbc]);
        assert_eq!(found, [0.0, 1.525_878_9e-5, 1.0, 1.25, 57344.0, f32::INFINITY, -1.0]);
    }

    #[test]
    fn whole_numbers_without_sign() {
        assert_eq!(Kind::U16.to_f32(&[0xff, 0xff, 1, 0]), [65535.0, 1.0]);
        assert_eq!(Kind::U32.to_f32(&[0, 0, 0, 0x80]), [2_147_483_648.0]);
        assert_eq!(Kind::U64.to_f32(&[0, 0, 0, 0, 0, 1, 0, 0]), [1_099_511_627_776.0]);
    }
}
