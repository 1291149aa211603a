//! Pins of the header.

use crate::{board::Board, clock::Delay, mmio::Registers};
use core::convert::Infallible;
use embedded_hal::{
    delay::DelayNs as _,
    digital::{ErrorType, OutputPin},
};

const SELECT: usize = 0x00;
const SET: usize = 0x1c;
const CLEAR: usize = 0x28;
/// Pi 3: the kind of pull, then the pins that take it.
const PULL: usize = 0x94;
const PULL_CLOCK: usize = 0x98;
/// Pi 4: two bits a pin.
const PULLS: usize = 0xe4;

/// Pins 0 to 31 are in the first word of each set of registers.
const PINS: u32 = 32;

/// What a pin does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// Is read.
    Input = 0,
    /// Is written.
    Output = 1,
    /// The first alternate function: PL011 on pins 14 and 15.
    Alternate0 = 4,
}

/// All pins.
#[derive(Debug)]
pub struct Gpio {
    board: Board,
    registers: Registers<0xf4>,
}

impl Gpio {
    /// The pins of `board`.
    #[must_use]
    pub fn new(board: Board) -> Self {
        // SAFETY: the GPIO block of both boards; it touches no memory.
        let registers = unsafe { Registers::new(board.peripherals() + 0x20_0000) };
        Self { board, registers }
    }

    /// Sets what pin 0 to 57 does.
    pub fn set_function(&mut self, pin: u32, function: Function) {
        let (register, shift) = (SELECT + (pin / 10 * 4) as usize, pin % 10 * 3);
        self.registers.modify(register, |old| old & !(7 << shift) | (function as u32) << shift);
    }

    /// Connects pin 0 to 31 to a resistor to 3.3 V: an open line is idle then, not noise.
    pub fn pull_up(&mut self, pin: u32) {
        debug_assert!(pin < PINS);
        match self.board {
            Board::Pi3 => {
                // The manual wants 150 cycles before and after.
                self.registers.write(PULL, 2);
                Delay.delay_us(5);
                self.registers.write(PULL_CLOCK, 1 << pin);
                Delay.delay_us(5);
                self.registers.write(PULL, 0);
                self.registers.write(PULL_CLOCK, 0);
            }
            Board::Pi4 => {
                let (register, shift) = (PULLS + (pin / 16 * 4) as usize, pin % 16 * 2);
                self.registers.modify(register, |old| old & !(3 << shift) | 1 << shift);
            }
        }
    }

    /// Makes pin 0 to 31 an output.
    pub fn output(&mut self, pin: u32) -> Output {
        debug_assert!(pin < PINS);
        self.set_function(pin, Function::Output);
        Output { pin, gpio: Self::new(self.board) }
    }
}

/// A pin that is written. Setting and clearing are single writes that leave other pins alone.
#[derive(Debug)]
pub struct Output {
    pin: u32,
    gpio: Gpio,
}

impl ErrorType for Output {
    type Error = Infallible;
}

impl OutputPin for Output {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.gpio.registers.write(CLEAR, 1 << self.pin);
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        self.gpio.registers.write(SET, 1 << self.pin);
        Ok(())
    }
}
