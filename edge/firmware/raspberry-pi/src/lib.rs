//! A Raspberry Pi 3 or 4 without an operating system: start, memory, serial line, interrupts, clock, pins.
//!
//! Design decision: `unsafe` is confined to what makes registers and instructions reachable: a block of registers is
//! made once, with an address that the board has, and is safe to use from then on. What needs neither compiles and is
//! tested on the development machine.
#![cfg_attr(not(test), no_std)]

pub mod board;
pub mod fault;
pub mod mmu;

#[cfg(target_os = "none")]
pub mod clock;
#[cfg(target_os = "none")]
pub mod cpu;
#[cfg(target_os = "none")]
pub mod exception;
#[cfg(target_os = "none")]
pub mod gpio;
#[cfg(target_os = "none")]
pub mod interrupt;
#[cfg(target_os = "none")]
pub mod mailbox;
#[cfg(target_os = "none")]
mod memory;
#[cfg(target_os = "none")]
pub mod mmio;
#[cfg(target_os = "none")]
pub mod uart;
#[cfg(target_os = "none")]
pub mod watchdog;
