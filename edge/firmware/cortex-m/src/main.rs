//! Takes images over a serial line and answers with features.
//!
//! Design decision: no executor. There is one job at a time, its input comes through one interrupt and its encoding
//! fills the processor; `cortex-m-rt` starts it, and the loop is `edge::serve`, the same as on other boards.
#![no_std]
#![no_main]

mod board;
mod clock;
mod end;
mod logs;
mod registers;
mod uart;

use common::{
    model::{EncoderSpec, Pooling, SpecError},
    wire::{LogLevel, Message},
};
use core::convert::Infallible;
use cortex_m::peripheral::{NVIC, Peripherals};
use cortex_m_rt::{entry, exception};
use edge::{
    drivers::BusyPin,
    native::{Encoder, Kernels, Line, Model, NativeError, Patches},
    serve::{Buffers, Encode, Server, log},
};
use embedded_hal::digital::{ErrorType, OutputPin};
use heapless::String;
use registers::Registers;
use static_cell::ConstStaticCell;

/// What follows from the built-in model.
mod sizes {
    include!(concat!(env!("OUT_DIR"), "/sizes.rs"));
}

static IMAGE: ConstStaticCell<[u8; sizes::IMAGE]> = ConstStaticCell::new([0; sizes::IMAGE]);
static VISIBLE: ConstStaticCell<[u8; sizes::VISIBLE]> = ConstStaticCell::new([0; sizes::VISIBLE]);
static NOISE: ConstStaticCell<[f32; sizes::PATCHES]> = ConstStaticCell::new([0.0; sizes::PATCHES]);
static IDS: ConstStaticCell<[u32; sizes::PATCHES]> = ConstStaticCell::new([0; sizes::PATCHES]);
static LINES: ConstStaticCell<[Line; sizes::WORKSPACE]> = ConstStaticCell::new([Line::ZERO; sizes::WORKSPACE]);

/// The model's tensors are used where they lie.
#[repr(C, align(64))]
struct Aligned<T: ?Sized>(T);

static MODEL: &Aligned<[u8]> = &Aligned(*include_bytes!(env!("ENCODER_NATIVE")));

#[entry]
fn main() -> ! {
    match run() {
        Ok(never) => match never {},
        Err(error) => end::end(format_args!("the built-in model does not run: {error}")),
    }
}

fn run() -> Result<Infallible, NativeError> {
    let Some(mut core) = Peripherals::take() else { end::end(format_args!("the peripherals are taken")) };
    if board::CACHES {
        core.SCB.enable_icache();
        core.SCB.enable_dcache(&mut core.CPUID);
    }
    clock::start(core.SYST);
    logs::open();
    let (reader, writer) = uart::open();
    // SAFETY: its handler is ready.
    unsafe { NVIC::unmask(Interrupt) };
    defmt::info!("{=str}, {=u32} Hz", board::NAME, board::CLOCK);

    let model = Model::parse(&MODEL.0)?;
    let kernels = Kernels::best();
    let encoder = Encoder::new(model, kernels, sizes::MAX_VISIBLE, LINES.take())?;
    let micros = clock::micros();
    defmt::info!("model {}, kernels {=str}, ready after {=u64} us", model.spec().hash, kernels.name, micros);
    let Ok(pin) = BusyPin::new(Light::new());
    let buffers = Buffers { image: IMAGE.take(), patches: VISIBLE.take(), noise: NOISE.take(), ids: IDS.take() };
    let mut runtime = String::<32>::new();
    // Names of kernels are short.
    let _ = core::fmt::write(&mut runtime, format_args!("native int8 {}", kernels.name));
    let program = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));
    let mut server =
        Server::new(Shown { encoder, pin }, clock::micros, buffers, (&runtime, program)).map_err(SpecError::from)?;
    end::remember(server.hello().clone());
    let state = format_args!("{}, up to {} of {} patches", board::NAME, sizes::MAX_VISIBLE, sizes::PATCHES);
    let Ok(_) = server.run(reader, writer, &[Message::Log(log(LogLevel::Info, state))]) else {
        end::end(format_args!("the port failed"))
    };
    end::end(format_args!("the port ended"))
}

/// The receiver's interrupt.
#[derive(Clone, Copy)]
struct Interrupt;

// SAFETY: the number does not change.
unsafe impl cortex_m::interrupt::InterruptNumber for Interrupt {
    fn number(self) -> u16 {
        board::HOST_RECEIVED
    }
}

#[exception]
unsafe fn DefaultHandler(number: i16) {
    match u16::try_from(number) {
        Ok(board::HOST_RECEIVED) => uart::interrupt(),
        _ => end::end(format_args!("unexpected exception {number}")),
    }
}

/// An encoder whose work shows on a light.
struct Shown {
    encoder: Encoder<'static>,
    pin: BusyPin<Light>,
}

impl Encode for Shown {
    type Error = NativeError;

    fn spec(&self) -> &EncoderSpec {
        self.encoder.spec()
    }

    fn encode(&mut self, patches: &[u8], ids: &[u32], pooling: Pooling) -> Result<&[f32], NativeError> {
        let Self { encoder, pin } = self;
        let begun = clock::micros();
        let Ok(features) = pin.during(|| encoder.encode(Patches::Pixels(patches), ids));
        defmt::debug!("{=usize} patches in {=u64} us", ids.len(), clock::micros().saturating_sub(begun));
        features.map(|features| features.pooled(pooling))
    }
}

/// The first of the board's lights.
struct Light(Registers<1>);

impl Light {
    fn new() -> Self {
        // SAFETY: the register of the lights.
        Self(unsafe { Registers::new(board::LIGHTS) })
    }
}

impl ErrorType for Light {
    type Error = Infallible;
}

impl OutputPin for Light {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.0.write::<0>(0);
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        self.0.write::<0>(1);
        Ok(())
    }
}
