//! The arithmetic of training: f32, or f32 with matrix products in bf16.

use super::{Chosen, gain};
use crate::model::{MaeConfig, ops::Ops};
use burn::tensor::{Device, FloatDType};
use clap::ValueEnum;
use kernels::{Bf16, Engine};
use serde::{Deserialize, Serialize};

/// `auto` takes bf16 on a CPU if it is so many times as fast as fp32.
const LEAST_GAIN: f64 = 1.2;

/// The arithmetic that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum PrecisionChoice {
    /// bf16 on a CUDA device that has it, and on a CPU where it is measured to be faster; else fp32.
    #[default]
    Auto,
    /// 32-bit floating point throughout.
    Fp32,
    /// Matrix products in bf16; parameters, optimizer, norms, softmax, GELU and loss in 32 bits.
    Bf16,
}

/// The arithmetic of a training, as `run.toml` holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 32-bit floating point throughout.
    #[default]
    Fp32,
    /// Matrix products in bf16 (He et al. 2021 trained in mixed precision, too); all else f32.
    Bf16,
}

/// Why a device or a run has no such arithmetic. The command line adds what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrecisionError {
    /// The device of this description cannot.
    #[error("{0} cannot compute in bf16")]
    NoBf16(String),
    /// The run goes on in the arithmetic of its beginning.
    #[error("this run began in {} and goes on in it", .0.name())]
    Began(Precision),
}

impl PrecisionChoice {
    /// What it means on a device, for the training of `model`: without one, `auto` is fp32 on every CPU.
    ///
    /// # Errors
    /// If the device cannot compute in bf16.
    pub fn on(self, chosen: &Chosen, model: Option<&MaeConfig>) -> Result<Precision, PrecisionError> {
        let supported = chosen.device.supports_dtype(FloatDType::BF16);
        let gain = || model.and_then(gain::of_bf16).filter(|gain| *gain > LEAST_GAIN);
        match self {
            Self::Auto if chosen.cuda && supported => Ok(Precision::Bf16),
            Self::Auto
                if !chosen.cuda
                    && let Some((gain, engine)) = gain().zip(Bf16::detect()) =>
            {
                let name = engine.name();
                console::say!(
                    "products bf16 by {name}, {gain:.1} times as fast as fp32 here (--precision fp32 is exact)"
                );
                Ok(Precision::Bf16)
            }
            Self::Auto | Self::Fp32 => Ok(Precision::Fp32),
            Self::Bf16 if supported => {
                if !chosen.cuda && Engine::bf16().is_none() {
                    console::note!(
                        "note: this processor has no bf16 instructions: they are emulated and slower than fp32; for \
                         checking only"
                    );
                }
                Ok(Precision::Bf16)
            }
            Self::Bf16 => Err(PrecisionError::NoBf16(chosen.description.clone())),
        }
    }

    /// The precision of a run that goes on: that of its beginning.
    ///
    /// # Errors
    /// If another is asked for, or the device lacks it.
    pub fn resumed(self, recorded: Precision, chosen: &Chosen) -> Result<Precision, PrecisionError> {
        let recorded_choice = Self::from(recorded);
        if self != Self::Auto && self != recorded_choice {
            return Err(PrecisionError::Began(recorded));
        }
        recorded_choice.on(chosen, None)
    }
}

impl From<Precision> for PrecisionChoice {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::Fp32 => Self::Fp32,
            Precision::Bf16 => Self::Bf16,
        }
    }
}

impl Precision {
    /// As it is written on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Bf16 => "bf16",
        }
    }

    /// The operations of a model under training on a device: fused ones where they are fast.
    #[must_use]
    pub fn ops(self, device: &Device) -> Ops {
        match self {
            Self::Fp32 => Ops::Fused,
            Self::Bf16 if *device == Device::flex() && Engine::bf16().is_some() => Ops::FusedBf16,
            Self::Bf16 => Ops::Bf16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{DeviceChoice, choose};

    #[test]
    fn auto_is_fp32_on_the_cpu_and_a_run_keeps_what_it_began_in() {
        let cpu = choose(DeviceChoice::Cpu).expect("the CPU");
        assert_eq!(PrecisionChoice::Auto.on(&cpu, None).expect("fp32"), Precision::Fp32);
        for recorded in [Precision::Fp32, Precision::Bf16] {
            let choice = PrecisionChoice::from(recorded);
            assert_eq!(choice.on(&cpu, None).expect("supported"), recorded);
            assert_eq!(PrecisionChoice::Auto.resumed(recorded, &cpu).expect("the same"), recorded);
            assert_eq!(choice.resumed(recorded, &cpu).expect("the same"), recorded);
        }
        let error = PrecisionChoice::Bf16.resumed(Precision::Fp32, &cpu).expect_err("another");
        assert!(error.to_string().contains("began in fp32"), "{error}");
    }
}
