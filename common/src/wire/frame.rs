//! Frames: `COBS(version, sequence number, payload, CRC-32)` and a zero byte.

use super::{Message, PROTOCOL, crc32};

/// Longest frame with its closing zero, bytes.
pub const MAX_FRAME: usize = 1024;
/// Longest frame before COBS, which adds one byte in 254: `1018 + 5 + 1 = 1024`.
const MAX_RAW: usize = 1018;
/// Version and sequence number.
const HEADER: usize = 3;
const CRC: usize = 4;

/// Why a message cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum WireError {
    /// The message is longer than a frame.
    #[error("the message does not fit into a frame of {MAX_FRAME} bytes")]
    TooLong,
}

/// Why received bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Damage {
    /// More bytes than a frame holds came without a zero.
    #[error("a frame is too long")]
    TooLong,
    /// The bytes are not COBS, or too few.
    #[error("a frame is broken")]
    Framing,
    /// The checksum is wrong.
    #[error("a frame's checksum is wrong")]
    Checksum,
    /// The sender speaks another version.
    #[error("the sender speaks protocol {0}, this program protocol {PROTOCOL}")]
    Version(u8),
    /// The checksum is right, but this version knows no such message.
    #[error("a frame holds no known message")]
    Message,
}

/// Numbers and encodes messages.
#[derive(Debug, Clone, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Sender {
    sequence: u16,
}

impl Sender {
    /// A sender whose first frame has number 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Encodes `message` into `out` and returns the frame with its closing zero.
    ///
    /// # Errors
    /// If the message is too long; nothing is numbered then.
    pub fn encode<'a>(&mut self, message: &Message, out: &'a mut [u8; MAX_FRAME]) -> Result<&'a [u8], WireError> {
        let mut raw = [0; MAX_RAW];
        raw[0] = PROTOCOL;
        raw[1..HEADER].copy_from_slice(&self.sequence.to_le_bytes());
        let payload = postcard::to_slice(message, &mut raw[HEADER..MAX_RAW - CRC]).map_err(|_| WireError::TooLong)?;
        let end = HEADER + payload.len();
        let crc = crc32(&raw[..end]);
        raw[end..end + CRC].copy_from_slice(&crc.to_le_bytes());
        let length = cobs::encode(&raw[..end + CRC], &mut out[..MAX_FRAME - 1]);
        out[length] = 0;
        self.sequence = self.sequence.wrapping_add(1);
        Ok(&out[..=length])
    }
}

/// A message that arrived whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// Number of its frame.
    pub sequence: u16,
    /// Frames that were sent before it and never arrived whole.
    pub lost_before: u16,
    /// What its payload says.
    pub message: Message,
}

/// Finds frames in a stream of bytes. After any damage it goes on at the next zero.
#[derive(Debug, Clone)]
pub struct Decoder {
    buffer: [u8; MAX_FRAME],
    length: usize,
    too_long: bool,
    expected: Option<u16>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { buffer: [0; MAX_FRAME], length: 0, too_long: false, expected: None }
    }
}

impl Decoder {
    /// A decoder that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a frame has begun and not ended; where the input ends, it is damaged.
    #[must_use]
    pub fn within_frame(&self) -> bool {
        self.length > 0 || self.too_long
    }

    // A function of its own also in optimised programs, as `finish` is: `.ci/firmware.py` checks that neither has a
    // call of the panic handler.
    /// Takes the next byte. Returns a message or damage when a frame ends.
    #[inline(never)]
    pub fn push(&mut self, byte: u8) -> Option<Result<Received, Damage>> {
        if byte != 0 {
            match self.buffer.get_mut(self.length) {
                Some(place) => {
                    *place = byte;
                    self.length += 1;
                }
                // Its tail must not pass for a frame of its own.
                None => self.too_long = true,
            }
            return None;
        }
        let (length, too_long) = (self.length, self.too_long);
        (self.length, self.too_long) = (0, false);
        match (too_long, length) {
            (true, _) => Some(Err(Damage::TooLong)),
            (false, 0) => None,
            (false, length) => Some(self.finish(length)),
        }
    }

    #[inline(never)]
    fn finish(&mut self, length: usize) -> Result<Received, Damage> {
        let length = self.buffer.get_mut(..length).and_then(unstuff).ok_or(Damage::Framing)?;
        let raw = self.buffer.get(..length).ok_or(Damage::Framing)?;
        let (body, crc) = raw.split_last_chunk::<CRC>().ok_or(Damage::Framing)?;
        if crc32(body) != u32::from_le_bytes(*crc) {
            return Err(Damage::Checksum);
        }
        let ([version, low, high], payload) = body.split_first_chunk::<HEADER>().ok_or(Damage::Framing)?;
        if *version != PROTOCOL {
            return Err(Damage::Version(*version));
        }
        let sequence = u16::from_le_bytes([*low, *high]);
        let (message, rest) = postcard::take_from_bytes::<Message>(payload).map_err(|_| Damage::Message)?;
        if !rest.is_empty() {
            return Err(Damage::Message);
        }
        let lost_before = match (self.expected, &message) {
            // A greeting with number 0 is a new start, not a gap.
            (None, _) => 0,
            (_, Message::Hello(_)) if sequence == 0 => 0,
            (Some(expected), _) => sequence.wrapping_sub(expected),
        };
        self.expected = Some(sequence.wrapping_add(1));
        Ok(Received { sequence, lost_before, message })
    }
}

/// Undoes COBS in place; returns the length, or `None` if this is no COBS. It cannot panic, which cobs' own function
/// does not show to a compiler.
fn unstuff(bytes: &mut [u8]) -> Option<usize> {
    // Even nothing is stuffed as one byte.
    if bytes.is_empty() {
        return None;
    }
    let (mut from, mut to) = (0, 0);
    while let Some(code) = bytes.get(from).copied() {
        let next = from + usize::from(code);
        if code == 0 || next > bytes.len() {
            return None;
        }
        for place in from + 1..next {
            let byte = *bytes.get(place)?;
            *bytes.get_mut(to)? = byte;
            to += 1;
        }
        from = next;
        // A full run is followed by no zero, and the last run by none either.
        if code != u8::MAX && from < bytes.len() {
            *bytes.get_mut(to)? = 0;
            to += 1;
        }
    }
    Some(to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{vec, vec::Vec};
    use proptest::prelude::*;

    #[test]
    fn nothing_is_no_frame() {
        assert_eq!(unstuff(&mut []), None);
        assert_eq!(unstuff(&mut [1]), Some(0));
    }

    proptest! {
        #[test]
        fn unstuffing_agrees_with_cobs(
            // Short ones as often as long ones: the ends are where the two could differ.
            mut bytes in prop_oneof![0..8_usize, 0..1100_usize]
                .prop_flat_map(|length| {
                    proptest::collection::vec(prop_oneof![1..6_u8, Just(255), any::<u8>()], length)
                }),
        ) {
            let mut expected = bytes.clone();
            let length = cobs::decode_in_place(&mut expected).ok();
            let zero = bytes.contains(&0);
            let found = unstuff(&mut bytes);
            // With zeros in it, which never come here, it is no frame.
            prop_assert!(zero || found == length, "{found:?} {length:?}");
            if let (Some(found), false) = (found, zero) {
                prop_assert_eq!(&bytes[..found], &expected[..found]);
            }
        }

        #[test]
        fn unstuffing_undoes_stuffing(
            bytes in proptest::collection::vec(prop_oneof![Just(0), Just(1), any::<u8>()], 1..1018),
            runs: bool,
        ) {
            // Also runs of more than 254 bytes that are not zero.
            let bytes: Vec<u8> = bytes.into_iter().map(|byte| if runs { byte | 1 } else { byte }).collect();
            let mut stuffed = vec![0; cobs::max_encoding_length(bytes.len())];
            let length = cobs::encode(&bytes, &mut stuffed);
            let found = unstuff(&mut stuffed[..length]);
            prop_assert_eq!(found, Some(bytes.len()));
            prop_assert_eq!(&stuffed[..bytes.len()], &bytes[..]);
        }
    }
}
