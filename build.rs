//! Compiles our CUDA kernels where the feature `cuda` asks for them; does nothing otherwise.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where they are. Each file NAME.cu becomes `OUT_DIR/NAME.ptx`.
const FOLDER: &str = "src/engine/cuda";
const KERNELS: [&str; 6] = ["combine", "finish", "gate", "guide", "keep_largest", "norm"];
/// What they include.
const HEADERS: [&str; 2] = ["numbers.cuh", "select.cuh"];
/// PTX of an old architecture is compiled by the driver for the card at hand; CUDA 13 knows none that is older.
const ARCHITECTURE: &str = "compute_75";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    for variable in ["NVCC", "CUDA_HOME", "CUDA_PATH"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    for header in HEADERS {
        println!("cargo:rerun-if-changed={FOLDER}/{header}");
    }
    for kernel in KERNELS {
        let source = format!("{FOLDER}/{kernel}.cu");
        println!("cargo:rerun-if-changed={source}");
        let ptx = out.join(format!("{kernel}.ptx"));
        let mut nvcc = Command::new(nvcc());
        // Products and sums are rounded one by one, as on the CPU.
        nvcc.args(["-ptx", "-arch", ARCHITECTURE, "-fmad=false", "-o"]).arg(&ptx).arg(&source);
        match nvcc.status() {
            Ok(status) if status.success() => {}
            Ok(status) => panic!("nvcc could not compile {source} ({status})"),
            Err(error) => {
                panic!("{:?}: {error}; the feature `cuda` needs NVIDIA's compiler: set CUDA_HOME", nvcc.get_program())
            }
        }
    }
}

/// The compiler: `NVCC`, that of `CUDA_HOME` or `CUDA_PATH`, or whatever is called `nvcc`.
fn nvcc() -> PathBuf {
    let of_toolkit = |variable| env::var_os(variable).map(|home| Path::new(&home).join("bin/nvcc"));
    let named = env::var_os("NVCC").map(PathBuf::from);
    named.or_else(|| of_toolkit("CUDA_HOME")).or_else(|| of_toolkit("CUDA_PATH")).unwrap_or_else(|| "nvcc".into())
}
