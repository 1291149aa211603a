//! Time, by the processor's own timer.

use crate::board;
use core::sync::atomic::{AtomicU32, Ordering};
use cortex_m::peripheral::{SYST, syst::SystClkSource};
use cortex_m_rt::exception;

/// Ticks after which the 24-bit timer starts anew.
const PERIOD: u32 = 1 << 24;

/// How often it has.
static PERIODS: AtomicU32 = AtomicU32::new(0);

/// Starts the time.
pub fn start(mut timer: SYST) {
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(PERIOD - 1);
    timer.clear_current();
    timer.enable_counter();
    timer.enable_interrupt();
}

#[exception]
fn SysTick() {
    // Only this handler writes it.
    PERIODS.store(PERIODS.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

/// Microseconds since the start; wraps after some hundred years.
pub fn micros() -> u64 {
    loop {
        let periods = PERIODS.load(Ordering::Relaxed);
        let left = SYST::get_current();
        // Else it started anew between the two.
        if periods == PERIODS.load(Ordering::Relaxed) {
            let ticks = u64::from(periods) * u64::from(PERIOD) + u64::from(PERIOD - 1 - left);
            return ticks / u64::from(board::CLOCK / 1_000_000);
        }
    }
}
