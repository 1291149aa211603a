//! With which instructions, and in which arithmetic, products are computed.

use pulp::Arch;

/// Vector instructions, and those for products of bf16 numbers if that is how products are computed.
#[derive(Debug, Clone, Copy)]
pub struct Engine {
    arch: Arch,
    bf16: Option<Bf16>,
}

impl Engine {
    /// Products in f32 with the best instructions of this machine.
    #[must_use]
    pub fn f32() -> Self {
        Arch::new().into()
    }

    /// Products of factors rounded to bf16, summed in f32. `None` if this machine has no instructions for them.
    #[must_use]
    pub fn bf16() -> Option<Self> {
        let bf16 = Bf16::detect()?;
        Some(Self { arch: bf16.arch()?, bf16: Some(bf16) })
    }

    /// As [`Self::bf16`] with the instructions of `arch` for f32, which is slower than f32; for tests.
    #[must_use]
    pub fn portable_bf16(arch: Arch) -> Self {
        Self { arch, bf16: Some(Bf16::Portable) }
    }

    /// Instructions for all but products.
    #[must_use]
    pub fn arch(self) -> Arch {
        self.arch
    }

    /// Instructions for products in bf16.
    #[must_use]
    pub fn products(self) -> Option<Bf16> {
        self.bf16
    }

    /// Every engine of this machine in f32, then every one in bf16; for tests.
    #[must_use]
    pub fn every() -> Vec<Self> {
        let archs = crate::vector::every_arch();
        let f32 = archs.iter().map(|arch| Self::from(*arch));
        let portable = archs.iter().map(|arch| Self::portable_bf16(*arch));
        f32.chain(portable).chain(Self::bf16()).collect()
    }
}

impl From<Arch> for Engine {
    fn from(arch: Arch) -> Self {
        Self { arch, bf16: None }
    }
}

/// Instructions for products in bf16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bf16 {
    /// Two f32 products for one of pairs.
    Portable,
    /// `vdpbf16ps`.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// `bfdot`.
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Bf16 {
    /// What this machine has.
    #[must_use]
    pub fn detect() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx512bf16") && pulp::x86::V4::try_new().is_some() {
            return Some(Self::Avx512);
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("bf16") {
            return Some(Self::Neon);
        }
        None
    }

    /// The vector instructions that go with these.
    pub(crate) fn arch(self) -> Option<Arch> {
        match self {
            Self::Portable => Some(Arch::new()),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => pulp::x86::V4::try_new().map(Arch::V4),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => pulp::aarch64::Neon::try_new().map(Arch::Neon),
        }
    }

    /// As it is told.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "emulated",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "AVX-512 BF16",
            #[cfg(target_arch = "aarch64")]
            Self::Neon => "ARM BF16",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tests of other processors than this one's say what they expect, so that nothing is passed over in silence.
    #[test]
    fn bf16_is_found_where_it_is() {
        let Ok(expected) = std::env::var("EXPECT_BF16") else { return };
        assert_eq!(Bf16::detect().map_or("", Bf16::name), expected);
        assert_eq!(Engine::bf16().is_some(), !expected.is_empty());
    }
}
