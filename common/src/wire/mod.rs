//! The serial protocol between a board and the host. `docs/wire.md` is its specification.
//!
//! Bytes and meaning are apart: [`frame`] turns a payload into bytes that survive a noisy line and back, [`message`]
//! and [`command`] say what payloads mean, [`assemble`] joins features that were split over several frames.
//!
//! ```
//! use common::wire::{Damage, Decoder, MAX_FRAME, Message, Sender};
//!
//! let mut buffer = [0; MAX_FRAME];
//! let frame = Sender::new().encode(&Message::BuiltIn(2), &mut buffer)?;
//!
//! // The receiver takes byte after byte. Noise costs no more than the frame it is in: a zero ends both.
//! let mut decoder = Decoder::new();
//! let noise = [7, 1, 0];
//! let mut received = noise.iter().chain(frame).filter_map(|byte| decoder.push(*byte));
//! assert_eq!(received.next(), Some(Err(Damage::Framing)));
//! assert!(matches!(received.next(), Some(Ok(received)) if received.message == Message::BuiltIn(2)));
//! # Ok::<(), common::wire::WireError>(())
//! ```

#[cfg(feature = "alloc")]
pub mod assemble;
pub mod command;
pub mod frame;
pub mod message;

#[cfg(feature = "alloc")]
pub use assemble::{Assembler, Feature};
pub use command::{Choice, ImagePart, MAX_PIXELS, Settings};
pub use frame::{Damage, Decoder, MAX_FRAME, Received, Sender, WireError};
pub use message::{
    ClassNames, ClassScore, ErrorCode, FeaturePart, Hello, Log, LogLevel, MAX_NAMES, MAX_VALUES, Message, Statistics,
    class_name_of, name_of,
};

/// Version of the framing and of the messages.
pub const PROTOCOL: u8 = 1;

/// The messages in words; its CRC-32 is the schema's hash, which `Hello` carries.
pub const SCHEMA: &str = "\
Message=Hello|Features|Statistics|Log|Error|Classes|Class|Image|Settings|Ask|BuiltIn;\
Hello{schema:u32,model:[u8;8],image_height:u32,image_width:u32,channels:u32,patch_size:u32,patches:u32,\
feature_dim:u32,pooling:Pooling,runtime:str32,program:str32};\
Features{frame:u32,name:str64,kept:u32,patches:u32,pooling:Pooling,micros:u32,total:u32,offset:u32,values:[f32]};\
Statistics{frames:u32,skipped:u32,bytes:u64,encode_micros:u64};\
Log{level:Error|Warn|Info|Debug,text:str200};\
Error{code:Damaged|Unsupported|Busy};\
Classes{total:u32,offset:u32,names:[str64]};\
Class{frame:u32,class:u32,score:f32};\
Image{frame:u32,total:u32,offset:u32,pixels:[u8]};\
Settings{keep:f64,choice:Choice,seed:u64,pooling:Pooling};\
BuiltIn=u32;\
Choice=Random|Grid|Block|All;\
Pooling=Cls|Mean|MeanNorm";

/// CRC-32/ISO-HDLC (the one of Ethernet and zip).
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(bytes)
}

/// The hash of [`SCHEMA`].
pub const SCHEMA_HASH: u32 = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(SCHEMA.as_bytes());

/// Schemas of earlier versions, whose messages are all among today's: a receiver reads them too.
pub const OLDER_SCHEMAS: [u32; 2] = [0x584e_3723, 0xfe76_eeb3];
