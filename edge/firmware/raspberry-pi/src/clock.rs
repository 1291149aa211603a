//! Time, by the generic timer.

use crate::cpu;
use embedded_hal::delay::DelayNs;

/// Microseconds since the counter started; wraps after 500 thousand years.
#[must_use]
pub fn micros() -> u64 {
    let (count, frequency) = cpu::counter();
    // A firmware that set no frequency must not stop the program.
    let frequency = frequency.max(1);
    count / frequency * 1_000_000 + count % frequency * 1_000_000 / frequency
}

/// Waits by counting.
#[derive(Debug, Clone, Copy, Default)]
pub struct Delay;

impl DelayNs for Delay {
    fn delay_ns(&mut self, ns: u32) {
        let (start, frequency) = cpu::counter();
        let ticks = (u64::from(ns) * frequency).div_ceil(1_000_000_000);
        while cpu::counter().0.wrapping_sub(start) < ticks {}
    }
}
