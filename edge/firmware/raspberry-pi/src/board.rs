//! Which board this is, and where its peripherals are.

/// A supported board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Board {
    /// Raspberry Pi 3 (BCM2837, Cortex-A53), also Zero 2.
    Pi3,
    /// Raspberry Pi 4 (BCM2711, Cortex-A72).
    Pi4,
}

impl Board {
    /// The board with the processor that `MIDR_EL1` names, or none that is supported.
    #[must_use]
    pub const fn from_midr(midr: u64) -> Option<Self> {
        // Implementer (Arm is 0x41) and part number.
        match (midr >> 24 & 0xff, midr >> 4 & 0xfff) {
            (0x41, 0xd03) => Some(Self::Pi3),
            (0x41, 0xd08) => Some(Self::Pi4),
            _ => None,
        }
    }

    /// What the board calls itself in its first message.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pi3 => "Raspberry Pi 3",
            Self::Pi4 => "Raspberry Pi 4",
        }
    }

    /// Address of the peripherals that both boards have.
    #[must_use]
    pub const fn peripherals(self) -> usize {
        match self {
            Self::Pi3 => 0x3f00_0000,
            Self::Pi4 => 0xfe00_0000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boards_are_told_by_their_processor() {
        // Values of a BCM2837 and a BCM2711; a Cortex-A76 (Pi 5) and another maker's core are none.
        assert_eq!(Board::from_midr(0x410f_d034), Some(Board::Pi3));
        assert_eq!(Board::from_midr(0x410f_d083), Some(Board::Pi4));
        assert_eq!(Board::from_midr(0x414f_d0b1), None);
        assert_eq!(Board::from_midr(0x510f_d034), None);
    }
}
