//! What an exception was, in words.

use core::fmt;

/// What the processor says about an exception.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Number of the vector, 0 to 15.
    pub vector: u64,
    /// `ESR_EL1`: the exception's class and details.
    pub esr: u64,
    /// `ELR_EL1`: the instruction.
    pub elr: u64,
    /// `FAR_EL1`: the address that was accessed, where the class has one.
    pub far: u64,
    /// The link register: where the function that faulted was called from, or a later call of it.
    pub link: u64,
}

impl Fault {
    /// The exception's class.
    #[must_use]
    pub const fn class(&self) -> &'static str {
        match self.vector % 4 {
            1 => return "interrupt",
            2 => return "fast interrupt",
            3 => return "system error",
            _ => {}
        }
        match self.esr >> 26 & 0x3f {
            0x00 => "unknown instruction",
            0x07 => "SIMD access",
            0x0e => "illegal state",
            0x15 => "supervisor call",
            0x20 | 0x21 => "instruction abort",
            0x22 => "misaligned instruction",
            0x24 | 0x25 => "data abort",
            0x26 => "misaligned stack",
            0x2c => "floating-point exception",
            0x3c => "breakpoint instruction",
            _ => "exception",
        }
    }

    /// Why an abort happened; empty for other exceptions.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        if !self.vector.is_multiple_of(4) || !matches!(self.esr >> 26 & 0x3f, 0x20 | 0x21 | 0x24 | 0x25) {
            return "";
        }
        match self.esr & 0x3f {
            0x04..=0x07 => ", not mapped",
            0x09..=0x0b => ", access flag",
            0x0d..=0x0f => ", not permitted",
            0x21 => ", misaligned",
            _ => "",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nested = if matches!(self.vector, 4..8) { " while an exception was handled" } else { "" };
        write!(
            f,
            "{}{}{nested}: ESR {:#010x} ELR {:#x} FAR {:#x} LR {:#x}",
            self.class(),
            self.reason(),
            self.esr,
            self.elr,
            self.far,
            self.link
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_said_in_words() {
        let fault = Fault { vector: 0, esr: 0x9600_0045, elr: 0x8_1234, far: 0x10, link: 0x8_2000 };
        assert_eq!(
            fault.to_string(),
            "data abort, not mapped: ESR 0x96000045 ELR 0x81234 FAR 0x10 LR 0x82000",
            "a store to an unmapped page, translation fault of level 1"
        );
        for (vector, esr, class, reason) in [
            (0, 0x8600_000f, "instruction abort", ", not permitted"),
            (0, 0x9600_0061, "data abort", ", misaligned"),
            (0, 0xf200_0001, "breakpoint instruction", ""),
            (0, 0x0200_0000, "unknown instruction", ""),
            (3, 0xbf00_0000, "system error", ""),
        ] {
            let fault = Fault { vector, esr, ..fault };
            assert_eq!((fault.class(), fault.reason()), (class, reason), "{esr:#x}");
        }
        assert!(Fault { vector: 4, ..fault }.to_string().contains("while an exception was handled: ESR"));
    }

    #[test]
    fn the_longest_report_fits_a_log_message() {
        for vector in 0..16 {
            for class in 0..64_u64 {
                let esr = class << 26 | 0x0f;
                let fault = Fault { vector, esr, elr: u64::MAX, far: u64::MAX, link: u64::MAX };
                assert!(fault.to_string().len() <= 200, "{fault}");
            }
        }
    }
}
