//! The CMSDK APB UART of MPS2 boards: 8 data bits, no parity, one stop bit, and a buffer of a single byte each way.
//!
//! An interrupt moves received bytes into a ring, so that none is lost while the program works. If the ring is full,
//! the interrupt pauses: more bytes than one are then lost on a real line, the checksum of their frame fails, and the
//! host learns it.

use crate::{board, registers::Registers};
use core::{
    cell::{Ref, RefCell},
    convert::Infallible,
};
use cortex_m::asm;
use critical_section::{CriticalSection, Mutex};
use embedded_io::{ErrorType, Read, Write};
use heapless::spsc::{Consumer, Producer, Queue};
use static_cell::StaticCell;

/// Received bytes that wait for the program: two frames.
const RING: usize = 2048;

const DATA: usize = 0;
const STATE: usize = 1;
const CONTROL: usize = 2;
/// Read: which interrupts are pending. Written: which end.
const INTERRUPTS: usize = 3;
const DIVISOR: usize = 4;

const FULL_TO_SEND: u32 = 1 << 0;
const RECEIVED: u32 = 1 << 1;

const SENDER: u32 = 1 << 0;
const RECEIVER: u32 = 1 << 1;
const RECEIVER_INTERRUPT: u32 = 1 << 3;

/// In [`INTERRUPTS`].
const RECEIVER_PENDING: u32 = 1 << 1;

/// A port's registers.
#[derive(Debug, Clone, Copy)]
pub struct Port(Registers<5>);

impl Port {
    /// The port to the host.
    pub const fn host() -> Self {
        // SAFETY: the board has a port there.
        Self(unsafe { Registers::new(board::HOST_PORT) })
    }

    /// The port for logs.
    pub const fn logs() -> Self {
        // SAFETY: the board has a port there.
        Self(unsafe { Registers::new(board::LOG_PORT) })
    }

    /// Sets the speed and turns the sender on.
    pub fn open_to_send(self, baud: u32) {
        // The hardware takes no divisor below 16.
        self.0.write::<DIVISOR>((board::CLOCK / baud).max(16));
        self.0.write::<CONTROL>(SENDER);
    }

    /// Sends, waiting for each byte's turn.
    pub fn send(self, bytes: &[u8]) {
        for byte in bytes {
            while self.0.read::<STATE>() & FULL_TO_SEND != 0 {}
            self.0.write::<DATA>(u32::from(*byte));
        }
    }

    fn received(self) -> Option<u8> {
        (self.0.read::<STATE>() & RECEIVED != 0).then(|| self.0.read::<DATA>() as u8)
    }
}

/// What the interrupt works with.
struct Receiving {
    ring: Producer<'static, u8>,
    paused: bool,
}

impl Receiving {
    /// Moves what has come into the ring; with a full ring, pauses.
    fn move_all(&mut self) {
        let port = Port::host();
        port.0.write::<INTERRUPTS>(RECEIVER_PENDING);
        self.paused = false;
        while self.ring.ready() {
            match port.received() {
                // There is room.
                Some(byte) => drop(self.ring.enqueue(byte)),
                None => return,
            }
        }
        self.paused = true;
    }
}

static RECEIVING: Mutex<RefCell<Option<Receiving>>> = Mutex::new(RefCell::new(None));
static QUEUE: StaticCell<Queue<u8, RING>> = StaticCell::new();

/// Takes what the host's port has received, and sets whether it may interrupt.
fn receive(section: CriticalSection<'_>) {
    // It is borrowed only here and in `open`, never twice: nothing interrupts a critical section.
    if let Ok(mut receiving) = RECEIVING.borrow(section).try_borrow_mut()
        && let Some(receiving) = receiving.as_mut()
    {
        receiving.move_all();
        let interrupt = if receiving.paused { 0 } else { RECEIVER_INTERRUPT };
        Port::host().0.write::<CONTROL>(SENDER | RECEIVER | interrupt);
        // What came between is not announced any more.
        if !receiving.paused && Port::host().0.read::<STATE>() & RECEIVED != 0 {
            receiving.move_all();
        }
    }
}

/// The receiver's interrupt.
#[inline(never)]
pub fn interrupt() {
    critical_section::with(receive);
}

/// Opens the port to the host. The interrupt [`board::HOST_RECEIVED`] must be enabled, and call [`interrupt`].
///
/// # Panics
/// If called twice.
pub fn open() -> (Reader, Writer) {
    let (producer, consumer) = QUEUE.init(Queue::new()).split();
    Port::host().open_to_send(board::HOST_BAUD);
    critical_section::with(|section| {
        RECEIVING.borrow_ref_mut(section).replace(Receiving { ring: producer, paused: false });
        receive(section);
    });
    (Reader { ring: consumer }, Writer)
}

/// Gives what was received, and sleeps until there is something.
pub struct Reader {
    ring: Consumer<'static, u8>,
}

impl ErrorType for Reader {
    type Error = Infallible;
}

impl Read for Reader {
    #[inline(never)]
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        loop {
            let mut count = 0;
            for place in &mut *buffer {
                let Some(byte) = self.ring.dequeue() else { break };
                *place = byte;
                count += 1;
            }
            // There is room again: also for what stopped the interrupt.
            critical_section::with(|section| {
                let paused = |receiving: Ref<'_, Option<Receiving>>| receiving.as_ref().is_some_and(|it| it.paused);
                if RECEIVING.borrow(section).try_borrow().is_ok_and(paused) {
                    receive(section);
                }
            });
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            critical_section::with(|_| {
                // An interrupt between the two ends the sleep, though it runs only afterwards.
                if !self.ring.ready() {
                    asm::wfi();
                }
            });
        }
    }
}

/// Sends to the host.
pub struct Writer;

impl ErrorType for Writer {
    type Error = Infallible;
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        Port::host().send(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
