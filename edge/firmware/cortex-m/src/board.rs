//! What differs between boards. Each has a linker script in `boards/`.

/// Name of the board, as of the cargo feature and of QEMU's machine.
#[cfg(feature = "mps2-an386")]
pub const NAME: &str = "mps2-an386";
/// Name of the board, as of the cargo feature and of QEMU's machine.
#[cfg(feature = "mps2-an500")]
pub const NAME: &str = "mps2-an500";

/// Whether the processor has caches to turn on: a Cortex-M7.
pub const CACHES: bool = cfg!(feature = "mps2-an500");

// ARM MPS2+ with FPGA image AN386 (Cortex-M4F) or AN500 (Cortex-M7): DAI0386, DAI0500. The two agree in all that is
// used here.

/// Clock of processor and peripherals, hertz.
pub const CLOCK: u32 = 25_000_000;
/// Base address of the serial port to the host.
pub const HOST_PORT: usize = 0x4000_4000;
/// Interrupt of its receiver.
pub const HOST_RECEIVED: u16 = 0;
/// Base address of the serial port for defmt's logs.
pub const LOG_PORT: usize = 0x4000_5000;
/// Base address of the board's lights and switches.
pub const LIGHTS: usize = 0x4002_8000;

/// Speed of the port to the host, bits a second.
pub const HOST_BAUD: u32 = 115_200;
/// Speed of the port for logs, bits a second.
pub const LOG_BAUD: u32 = 1_000_000;
