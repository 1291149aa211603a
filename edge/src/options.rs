//! Options that `edge` and the commands of `host` that encode share, and what they mean.

use crate::{
    model_folder::{ModelError, ModelFolder, Precision},
    native::Kernels,
    native_file::NativeFile,
    select::Select,
};
use console::misuse;
use std::path::Path;

/// `--runtime`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Runtime {
    /// ONNX through tract.
    Tract,
    /// The native int8 encoder.
    Native,
}

/// Options of every command that encodes.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct RuntimeArgs {
    /// What computes: the native int8 encoder, or ONNX in tract [default: native if the model has it and --precision
    /// is not given].
    #[arg(long, value_enum)]
    pub runtime: Option<Runtime>,
    /// Form of the model for tract [default: f32 if the folder has it, else its most exact].
    #[arg(long, value_enum)]
    pub precision: Option<Precision>,
    /// Kernels of the native encoder [default: the best for this machine].
    #[arg(long, value_name = "NAME")]
    pub kernels: Option<String>,
    /// Threads of the native encoder [default: 1].
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

impl RuntimeArgs {
    /// The runtime for this model.
    ///
    /// # Errors
    /// As misuse, if options contradict each other or the model has no native encoder.
    pub fn choose(&self, folder: &ModelFolder) -> anyhow::Result<Runtime> {
        let chosen = self.runtime.unwrap_or(match self.precision {
            None if folder.has_native() => Runtime::Native,
            _ => Runtime::Tract,
        });
        match chosen {
            Runtime::Native => {
                if self.precision.is_some() {
                    return Err(misuse("--precision is for --runtime tract; the native encoder computes in 8 bits"));
                }
                folder.native().map_err(|error| misuse(error.to_string()))?;
            }
            Runtime::Tract => {
                if !cfg!(feature = "tract") {
                    let message = "this edge was built without tract, and runs models with encoder.native only";
                    return Err(misuse(message));
                }
                for (option, given) in [("--kernels", self.kernels.is_some()), ("--threads", self.threads.is_some())]
                {
                    if given {
                        return Err(misuse(format!(
                            "{option} is for --runtime native; tract computes on one thread"
                        )));
                    }
                }
            }
        }
        kernels(self.kernels.as_deref())?;
        if self.threads == Some(0) {
            return Err(misuse("--threads must be at least 1"));
        }
        Ok(chosen)
    }

    /// The native encoder's file, if the native runtime was chosen.
    ///
    /// # Errors
    /// As [`Self::choose`]; or if the file cannot be read.
    pub fn open(&self, folder: &ModelFolder) -> anyhow::Result<Option<NativeFile>> {
        match self.choose(folder)? {
            Runtime::Native => Ok(Some(NativeFile::open(folder)?)),
            Runtime::Tract => Ok(None),
        }
    }
}

/// The kernels of this name, or the best for this machine.
///
/// # Errors
/// As misuse, if there are none of this name or this machine cannot run them.
pub fn kernels(name: Option<&str>) -> anyhow::Result<&'static Kernels> {
    let Some(name) = name else { return Ok(Kernels::best()) };
    Kernels::named(name).ok_or_else(|| {
        let usable = Kernels::all().map(|kernels| kernels.name).collect::<Vec<_>>().join(", ");
        misuse(format!("--kernels {name}: this machine can run {usable}"))
    })
}

/// Opens a model folder; a path that is none is misuse.
///
/// # Errors
/// If it is no model folder, or damaged.
pub fn open_model(path: &Path) -> anyhow::Result<ModelFolder> {
    match ModelFolder::open(path) {
        Err(error @ ModelError::NoModel(_)) => Err(misuse(error.to_string())),
        other => Ok(other?),
    }
}

/// How patches are chosen, by the options `--select` and `--keep`: all patches at 1, random ones below, unless
/// `select` says otherwise.
///
/// # Errors
/// As misuse, if `keep` lies outside (0, 1] or contradicts `select`.
pub fn strategy(select: Option<Select>, keep: f64) -> anyhow::Result<Select> {
    check_keep(keep)?;
    match select {
        None if keep < 1.0 => Ok(Select::Random),
        None => Ok(Select::All),
        Some(Select::All) if keep < 1.0 => {
            Err(misuse(format!("--select all keeps every patch, but --keep is {keep}")))
        }
        Some(select) => Ok(select),
    }
}

/// Refuses shares outside (0, 1].
///
/// # Errors
/// As misuse.
pub fn check_keep(keep: f64) -> anyhow::Result<()> {
    if keep > 0.0 && keep <= 1.0 {
        return Ok(());
    }
    Err(misuse(format!("--keep {keep} is not above 0 and at most 1")))
}
