//! Looking for CUDA before the tensor library does, because it panics where a part is missing.
//!
//! Only files are looked at, nothing is loaded: the kernel driver's traces, the libraries where the dynamic loader
//! would find them, and the headers where `cubecl-cuda` 0.11.3 (`install::cuda_path`) looks for them. Linux only.

use std::{
    env,
    ffi::OsString,
    fmt, fs,
    path::{Path, PathBuf},
};

/// The driver's library, as the loader is asked for it.
const DRIVER_LIBRARY: &[&str] = &["libcuda.so.1", "libcuda.so"];
/// The run-time compiler's library, likewise.
const NVRTC_LIBRARY: &[&str] = &["libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11"];
/// A header that every generated kernel in half precision includes.
const HEADER: &str = "include/cuda_fp16.h";
/// What a loaded kernel driver shows: NVIDIA's own, WSL's, Jetson's.
const DRIVER_TRACES: &[&str] =
    &["/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/nvhost-gpu", "/dev/nvmap"];
/// Where loaders look without being told, and where WSL, Jetson and NixOS keep the driver.
const LIBRARY_FOLDERS: &[&str] = &[
    "/lib",
    "/usr/lib",
    "/lib64",
    "/usr/lib64",
    "/usr/local/lib",
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib/wsl/lib",
    "/usr/lib/aarch64-linux-gnu/nvidia",
    "/usr/lib/aarch64-linux-gnu/tegra",
    "/run/opengl-driver/lib",
];
/// Where a toolkit keeps its libraries, inside its folder.
const TOOLKIT_LIBRARIES: &[&str] = &["lib64", "lib", "targets/x86_64-linux/lib", "targets/sbsa-linux/lib"];

/// Whether CUDA can be used, and if not, what is missing first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CudaStatus {
    /// No NVIDIA kernel driver.
    NoDriver,
    /// The kernel driver without its library `libcuda.so.1`, as in a container started without GPUs.
    MissingDriverLibrary,
    /// No run-time compiler `libnvrtc` where the loader looks; the folder of one elsewhere, if any.
    MissingNvrtc(Option<PathBuf>),
    /// No CUDA headers in the folder looked at, if any; the folder of a toolkit elsewhere, if any.
    MissingHeaders {
        /// What `$CUDA_PATH` or the usual places gave.
        looked_in: Option<PathBuf>,
        /// A toolkit that has them.
        found_in: Option<PathBuf>,
    },
    /// Everything is there.
    Ready,
}

impl CudaStatus {
    /// Nothing, if CUDA can be used.
    ///
    /// # Errors
    /// If not: one line with what is missing and what to do.
    pub fn ready(&self) -> Result<(), String> {
        match self {
            Self::Ready => Ok(()),
            missing => Err(missing.to_string()),
        }
    }
}

impl fmt::Display for CudaStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDriver => f.write_str("no NVIDIA driver found"),
            Self::MissingDriverLibrary => f.write_str(
                "an NVIDIA driver is loaded, but libcuda.so.1 is missing: install the driver's CUDA library (Debian: \
                 libcuda1), or start the container with `--gpus all`",
            ),
            Self::MissingNvrtc(Some(folder)) => {
                let folder = folder.display();
                write!(f, "libnvrtc is in {folder}, where the loader does not look: export LD_LIBRARY_PATH={folder}")
            }
            Self::MissingNvrtc(None) => f.write_str(
                "the CUDA run-time compiler libnvrtc is missing: install the CUDA toolkit 12 or 13, of no newer \
                 version than `nvidia-smi` shows (at least its packages cuda-nvrtc, cuda-cudart-dev and cuda-cccl)",
            ),
            Self::MissingHeaders { found_in: Some(folder), .. } => {
                write!(f, "the CUDA headers are not looked for in {0}: export CUDA_PATH={0}", folder.display())
            }
            Self::MissingHeaders { looked_in: Some(folder), .. } => write!(
                f,
                "the CUDA headers are missing ({} does not exist): install the CUDA toolkit (at least its packages \
                 cuda-cudart-dev and cuda-cccl), or set CUDA_PATH to its folder",
                folder.join(HEADER).display()
            ),
            Self::MissingHeaders { looked_in: None, .. } => f.write_str(
                "the CUDA headers are missing (no /usr/local/cuda, no CUDA_PATH): install the CUDA toolkit (at least \
                 its packages cuda-cudart-dev and cuda-cccl), or set CUDA_PATH to its folder",
            ),
            Self::Ready => f.write_str("CUDA is ready"),
        }
    }
}

/// What is here.
#[must_use]
pub fn cuda_status() -> CudaStatus {
    Machine::this().status()
}

/// Whether an NVIDIA kernel driver is loaded.
#[must_use]
pub fn driver_present() -> bool {
    Machine::this().driver_loaded()
}

/// The places to look at, so that tests can make their own.
struct Machine {
    root: PathBuf,
    library_path: Option<OsString>,
    cuda_path: Option<String>,
}

impl Machine {
    fn this() -> Self {
        Self {
            root: "/".into(),
            library_path: env::var_os("LD_LIBRARY_PATH"),
            // An empty one counts, and a name that is not UTF-8 does not: as for `cubecl-cuda`.
            cuda_path: env::var("CUDA_PATH").ok(),
        }
    }

    fn status(&self) -> CudaStatus {
        let loader = self.loader_folders();
        if !self.driver_loaded() {
            return CudaStatus::NoDriver;
        }
        if !self.any_holds(&loader, DRIVER_LIBRARY) {
            return CudaStatus::MissingDriverLibrary;
        }
        if !self.any_holds(&loader, NVRTC_LIBRARY) {
            let inside = |toolkit: PathBuf| TOOLKIT_LIBRARIES.iter().map(move |folder| toolkit.join(folder));
            let mut elsewhere = self.toolkits().into_iter().flat_map(inside);
            return CudaStatus::MissingNvrtc(elsewhere.find(|folder| self.holds(folder, NVRTC_LIBRARY)));
        }
        let looked_in = self.header_toolkit();
        if looked_in.as_deref().is_some_and(|toolkit| self.has_headers(toolkit)) {
            return CudaStatus::Ready;
        }
        let found_in = self.toolkits().into_iter().find(|toolkit| self.has_headers(toolkit));
        CudaStatus::MissingHeaders { looked_in, found_in }
    }

    fn driver_loaded(&self) -> bool {
        DRIVER_TRACES.iter().any(|trace| self.exists(Path::new(trace)))
    }

    /// In the loader's order: the environment, the system's configuration, the fixed places.
    fn loader_folders(&self) -> Vec<PathBuf> {
        let mut folders: Vec<PathBuf> = self.library_path.iter().flat_map(env::split_paths).collect();
        folders.retain(|folder| !folder.as_os_str().is_empty());
        let mut configurations = vec![self.real(Path::new("/etc/ld.so.conf"))];
        configurations.extend(self.entries(Path::new("/etc/ld.so.conf.d")));
        for text in configurations.iter().filter_map(|file| fs::read_to_string(file).ok()) {
            folders.extend(text.lines().map(str::trim).filter(|line| line.starts_with('/')).map(PathBuf::from));
        }
        folders.extend(LIBRARY_FOLDERS.iter().map(PathBuf::from));
        folders
    }

    /// The toolkit whose headers are used, chosen as `cubecl-cuda` does.
    fn header_toolkit(&self) -> Option<PathBuf> {
        let usual = [("/usr/local/cuda", "/usr/local/cuda"), ("/opt/cuda", "/opt/cuda"), ("/usr/bin/nvcc", "/usr")];
        self.cuda_path.as_ref().map(PathBuf::from).or_else(|| {
            usual.iter().find(|(sign, _)| self.exists(Path::new(sign))).map(|(_, toolkit)| PathBuf::from(toolkit))
        })
    }

    /// Folders of toolkits that may be here, the newest of several versions first.
    fn toolkits(&self) -> Vec<PathBuf> {
        let is_version =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("cuda-"));
        let mut versions: Vec<_> = self.entries(Path::new("/usr/local")).into_iter().filter(is_version).collect();
        versions.sort_by_key(|path| std::cmp::Reverse(version(path)));
        let versions = versions.iter().filter_map(|path| path.strip_prefix(&self.root).ok());
        let mut toolkits: Vec<PathBuf> = self.cuda_path.iter().map(PathBuf::from).collect();
        toolkits.extend(["/usr/local/cuda", "/opt/cuda", "/usr"].map(PathBuf::from));
        toolkits.extend(versions.map(|path| Path::new("/").join(path)));
        toolkits
    }

    fn has_headers(&self, toolkit: &Path) -> bool {
        self.exists(&toolkit.join(HEADER))
    }

    fn any_holds(&self, folders: &[PathBuf], names: &[&str]) -> bool {
        folders.iter().any(|folder| self.holds(folder, names))
    }

    fn holds(&self, folder: &Path, names: &[&str]) -> bool {
        names.iter().any(|name| self.exists(&folder.join(name)))
    }

    fn exists(&self, path: &Path) -> bool {
        self.real(path).exists()
    }

    fn entries(&self, folder: &Path) -> Vec<PathBuf> {
        fs::read_dir(self.real(folder)).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    }

    /// An absolute path below the root in use.
    fn real(&self, path: &Path) -> PathBuf {
        path.strip_prefix("/").map_or_else(|_| path.to_owned(), |inside| self.root.join(inside))
    }
}

/// The numbers in a name like `cuda-12.8`.
fn version(path: &Path) -> Vec<u32> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with these empty files.
    fn machine(root: &Path, files: &[&str]) -> Machine {
        for file in files {
            let path = root.join(file.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        Machine { root: root.to_owned(), library_path: None, cuda_path: None }
    }

    const DRIVER: &str = "/proc/driver/nvidia/version";
    const LIBCUDA: &str = "/usr/lib/x86_64-linux-gnu/libcuda.so.1";
    const NVRTC: &str = "/usr/lib/x86_64-linux-gnu/libnvrtc.so.12";

    #[test]
    fn says_what_is_missing_first() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        assert_eq!(machine(root, &[]).status(), CudaStatus::NoDriver);
        // A toolkit's library alone is no driver, as in a CUDA image on a machine without a GPU.
        assert_eq!(machine(root, &[NVRTC]).status(), CudaStatus::NoDriver);
        assert_eq!(machine(root, &[DRIVER]).status(), CudaStatus::MissingDriverLibrary);
        fs::remove_file(root.join(&NVRTC[1..])).unwrap();
        assert_eq!(machine(root, &[LIBCUDA]).status(), CudaStatus::MissingNvrtc(None));
        let missing = CudaStatus::MissingHeaders { looked_in: None, found_in: None };
        assert_eq!(machine(root, &[NVRTC]).status(), missing);
        // A folder without headers is looked in, and named.
        let status = machine(root, &["/usr/local/cuda/version.json"]).status();
        assert_eq!(
            status,
            CudaStatus::MissingHeaders { looked_in: Some("/usr/local/cuda".into()), found_in: None },
            "{status}"
        );
        assert!(status.to_string().contains("/usr/local/cuda/include/cuda_fp16.h does not exist"), "{status}");
        let status = machine(root, &["/usr/local/cuda/include/cuda_fp16.h"]).status();
        assert_eq!(status, CudaStatus::Ready);
        assert_eq!(status.ready(), Ok(()));
    }

    #[test]
    fn finds_libraries_where_the_loader_does() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let files = [DRIVER, LIBCUDA, "/usr/local/cuda/include/cuda_fp16.h", "/usr/local/cuda/lib64/libnvrtc.so.13"];
        let mut machine = machine(root, &files);
        let status = machine.status();
        assert_eq!(status, CudaStatus::MissingNvrtc(Some("/usr/local/cuda/lib64".into())));
        assert!(status.ready().unwrap_err().ends_with("export LD_LIBRARY_PATH=/usr/local/cuda/lib64"), "{status}");
        machine.library_path = Some("/nowhere::/usr/local/cuda/lib64".into());
        assert_eq!(machine.status(), CudaStatus::Ready);
        machine.library_path = None;
        fs::create_dir_all(root.join("etc/ld.so.conf.d")).unwrap();
        fs::write(root.join("etc/ld.so.conf.d/cuda.conf"), "# comment\n /usr/local/cuda/lib64 \n").unwrap();
        assert_eq!(machine.status(), CudaStatus::Ready);
    }

    #[test]
    fn names_the_newest_toolkit_that_is_not_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let nine = "/usr/local/cuda-12.9/include/cuda_fp16.h";
        let ten = "/usr/local/cuda-12.10/include/cuda_fp16.h";
        let mut machine = machine(folder.path(), &["/dev/dxg", "/usr/lib/wsl/lib/libcuda.so.1", NVRTC, nine, ten]);
        let found_in = Some(PathBuf::from("/usr/local/cuda-12.10"));
        assert_eq!(machine.status(), CudaStatus::MissingHeaders { looked_in: None, found_in: found_in.clone() });
        assert!(machine.status().to_string().ends_with("export CUDA_PATH=/usr/local/cuda-12.10"));
        // A wrong CUDA_PATH hides what the usual places have.
        machine.cuda_path = Some("/wrong".into());
        assert_eq!(machine.status(), CudaStatus::MissingHeaders { looked_in: Some("/wrong".into()), found_in });
        machine.cuda_path = Some("/usr/local/cuda-12.9".into());
        assert_eq!(machine.status(), CudaStatus::Ready);
    }

    #[test]
    fn each_state_is_one_line() {
        let toolkit = || Some(PathBuf::from("/usr/local/cuda-13.0"));
        for status in [
            CudaStatus::NoDriver,
            CudaStatus::MissingDriverLibrary,
            CudaStatus::MissingNvrtc(None),
            CudaStatus::MissingNvrtc(toolkit()),
            CudaStatus::MissingHeaders { looked_in: None, found_in: None },
            CudaStatus::MissingHeaders { looked_in: toolkit(), found_in: None },
            CudaStatus::MissingHeaders { looked_in: toolkit(), found_in: toolkit() },
        ] {
            let line = status.ready().unwrap_err();
            assert!(!line.contains('\n') && !line.contains("  "), "{line}");
        }
    }
}
