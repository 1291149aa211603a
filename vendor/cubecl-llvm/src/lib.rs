//! What `cubecl-cuda` names of `cubecl-llvm`, and no LLVM: see the README beside this crate.
//!
//! `cubecl-cuda` compiles kernels either as CUDA C++ with NVRTC (feature `cuda-cpp` of `cubecl`, the one used here)
//! or through LLVM. Both are always in the build, chosen by value; so the types of the second must exist, and nothing
//! ever reaches them. Should something do so after all, [`PlironCompiler`] answers with an error that says why.

use core::fmt;
use cubecl_core::prelude::KernelDefinition;
use cubecl_core::{CompilationError, Compiler, ir::nvidia::SmArch};
use cubecl_environment::backtrace::BackTrace;
use cubecl_runtime::kernel::BufferIOAttr;

pub mod nvptx {
    //! What is particular to NVIDIA's virtual instruction set.

    pub mod ptx_version {
        //! The PTX version that the LLVM path would write.

        use core::fmt;

        /// A PTX version; never made, because no PTX is written here (NVRTC chooses its own).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum PtxVersion {}

        impl PtxVersion {
            /// No version for any `driver`.
            #[must_use]
            pub fn for_driver(_driver: i32) -> Option<Self> {
                None
            }
        }

        impl fmt::Display for PtxVersion {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {}
            }
        }
    }
}

pub mod shared {
    //! What the GPU targets have in common.

    pub mod lowered_features {
        //! What of a device the LLVM path can use.

        use cubecl_core::ir::DeviceProperties;

        /// The GPU families that can be asked about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum GpuTarget {
            /// NVIDIA.
            Nvptx,
        }

        /// Takes nothing away: called for the LLVM path alone, which refuses every kernel anyway.
        pub fn restrict_features(_properties: &mut DeviceProperties, _target: GpuTarget) {}
    }
}

/// What would be compiled for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LlvmTarget {
    /// NVIDIA GPUs.
    #[default]
    Nvptx,
}

/// The compiler that refuses every kernel.
#[derive(Clone, Debug, Default)]
pub struct PlironCompiler {
    /// What would be compiled for.
    pub target: LlvmTarget,
}

/// What a caller may ask of the compiler.
#[derive(Clone, Debug, Default)]
pub struct PlironOptions {
    /// An AMD architecture's name: the other family of callers writes `None`.
    pub arch: Option<core::convert::Infallible>,
    /// The NVIDIA architecture.
    pub sm_arch: Option<SmArch>,
    /// The PTX version.
    pub ptx_version: Option<nvptx::ptx_version::PtxVersion>,
    /// Whether scalars travel in the kernel's parameter block.
    pub grid_constants: bool,
}

/// A compiled kernel; never made.
#[derive(Clone, Debug)]
pub struct NvptxModule {
    /// PTX, ended by a zero.
    pub ptx: Vec<core::ffi::c_char>,
    /// The kernel's name in it.
    pub entrypoint: String,
    /// The intermediate form, for logs.
    pub ir: String,
    /// Shared memory for a launch, in bytes.
    pub shared_memory_size: usize,
    /// Which buffers are read and written, in order.
    pub io: Vec<BufferIOAttr>,
}

/// What a compilation gives; never made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PlironArtifact {
    /// For NVIDIA.
    NvptxCode(NvptxModule),
}

impl fmt::Display for PlironArtifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::NvptxCode(module) = self;
        f.write_str(&module.ir)
    }
}

impl Compiler for PlironCompiler {
    type Representation = PlironArtifact;
    type CompilationOptions = PlironOptions;

    fn compile(&mut self, _: KernelDefinition, _: &PlironOptions) -> Result<PlironArtifact, CompilationError> {
        Err(CompilationError::Generic {
            reason:
                "this build has no LLVM: enable the feature `cubecl/cuda-cpp`, so that NVRTC compiles the kernels \
                     (vendor/cubecl-llvm/README.md)"
                    .into(),
            backtrace: BackTrace::capture(),
        })
    }

    fn extension(&self) -> &'static str {
        "ll"
    }

    fn lang_tag(&self) -> &'static str {
        "llvm"
    }
}
