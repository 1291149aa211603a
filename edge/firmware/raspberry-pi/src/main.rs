//! `kernel8.img`: takes images over the serial line and answers with features.
#![no_std]
#![no_main]

use common::{
    model::{EncoderSpec, Pooling},
    wire::{LogLevel, Message},
};
use core::convert::Infallible;
use edge::{
    drivers::BusyPin,
    native::{Encoder, Kernels, Line, Model, NativeError, Patches},
    serve::{Buffers, Encode, Server, log},
};
use heapless::String;
use raspberry_pi::{
    board::Board,
    clock, cpu, exception,
    gpio::{Gpio, Output},
    mailbox::{Clock, Mailbox},
    uart,
};
use static_cell::ConstStaticCell;

/// Values of the largest image.
const MOST_VALUES: usize = 224 * 224 * 3;
/// Patches of the largest image.
const MOST_PATCHES: usize = 1024;
/// 4 MiB: more than a ViT-Tiny needs for 196 patches.
const WORKSPACE: usize = 1 << 16;
/// Pin 11 of the header.
const BUSY_PIN: u32 = 17;

static IMAGE: ConstStaticCell<[u8; MOST_VALUES]> = ConstStaticCell::new([0; MOST_VALUES]);
static PATCHES: ConstStaticCell<[u8; MOST_VALUES]> = ConstStaticCell::new([0; MOST_VALUES]);
static NOISE: ConstStaticCell<[f32; MOST_PATCHES]> = ConstStaticCell::new([0.0; MOST_PATCHES]);
static IDS: ConstStaticCell<[u32; MOST_PATCHES]> = ConstStaticCell::new([0; MOST_PATCHES]);
static LINES: ConstStaticCell<[Line; WORKSPACE]> = ConstStaticCell::new([Line::ZERO; WORKSPACE]);

/// The model's tensors are used where they lie.
#[repr(C, align(64))]
struct Aligned<T: ?Sized>(T);

static MODEL: &Aligned<[u8]> = &Aligned(*include_bytes!(env!("ENCODER_NATIVE")));

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    exception::end(format_args!("{info}"))
}

/// Called by boot.s on one core, with caches on and interrupts masked.
#[unsafe(no_mangle)]
extern "C" fn start() -> ! {
    match run() {
        Ok(never) => match never {},
        Err(error) => exception::end(format_args!("the built-in model does not run: {error}")),
    }
}

fn run() -> Result<Infallible, NativeError> {
    let Some(board) = Board::from_midr(cpu::midr()) else { cpu::halt() };
    let mut mailbox = Mailbox::open(board);
    let mut of_firmware = |call: fn(&mut Mailbox) -> Option<u32>| mailbox.as_mut().and_then(call);
    let serial_clock = of_firmware(|mailbox| mailbox.set_rate(Clock::Uart, uart::CLOCK));
    // It starts with the lowest rate, and there is no governor here.
    let core_clock = of_firmware(|mailbox| {
        let highest = mailbox.highest_rate(Clock::Arm)?;
        mailbox.set_rate(Clock::Arm, highest)?;
        mailbox.rate(Clock::Arm)
    });
    // Open only once, and here.
    let Some((reader, writer)) = uart::open(board, serial_clock.unwrap_or(uart::CLOCK)) else { cpu::halt() };

    let model = Model::parse(&MODEL.0)?;
    let kernels = Kernels::best();
    let patches = model.spec().grid().map_err(common::model::SpecError::from)?.patches();
    let encoder = Encoder::new(model, kernels, patches, LINES.take())?;
    let Ok(pin) = BusyPin::new(Gpio::new(board).output(BUSY_PIN));
    let buffers = Buffers { image: IMAGE.take(), patches: PATCHES.take(), noise: NOISE.take(), ids: IDS.take() };
    let mut runtime = String::<32>::new();
    // Names of kernels are short.
    let _ = core::fmt::write(&mut runtime, format_args!("native int8 {}", kernels.name));
    let program = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));
    let mut server = Server::new(Shown { encoder, pin }, clock::micros, buffers, (&runtime, program))
        .map_err(common::model::SpecError::from)?;
    exception::remember(server.hello().clone());

    let state = match (serial_clock, core_clock) {
        (Some(_), Some(hertz)) => log(LogLevel::Info, format_args!("{}, cores at {hertz} Hz", board.name())),
        _ => log(
            LogLevel::Warn,
            format_args!("{}: its firmware did not answer; clocks are as it set them", board.name()),
        ),
    };
    let Ok(_) = server.run(reader, writer, &[Message::Log(state)]) else { cpu::halt() };
    // A serial line has no end.
    cpu::halt()
}

/// An encoder whose work shows on a pin.
struct Shown {
    encoder: Encoder<'static>,
    pin: BusyPin<Output>,
}

impl Encode for Shown {
    type Error = NativeError;

    fn spec(&self) -> &EncoderSpec {
        self.encoder.spec()
    }

    fn encode(&mut self, patches: &[u8], ids: &[u32], pooling: Pooling) -> Result<&[f32], NativeError> {
        let Self { encoder, pin } = self;
        let Ok(features) = pin.during(|| encoder.encode(Patches::Pixels(patches), ids));
        features.map(|features| features.pooled(pooling))
    }
}
