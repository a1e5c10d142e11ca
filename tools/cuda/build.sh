#!/usr/bin/env bash
# Builds sega for CUDA on a machine that has neither a card nor NVIDIA's toolkit, from nothing, and checks what can be checked
# there: that the program starts, says that there is no CUDA device, and renders on the CPU.
#
#   tools/cuda/build.sh [CARGO'S ARGUMENTS]          such as --bench claims; FEATURES=cuda,cudnn,flash-attn, FOLDER=~/.cache/sega-cuda, MESSAGES=json
#   tools/cuda/build.sh clippy|check|test [CARGO'S ARGUMENTS]       that instead, such as clippy --all-targets -- -D warnings
#
# Needs Rust, gcc, Python with pip, and a network: the compiler (nvcc 13.0, 110 MB) and, for `flash-attn`, CUTLASS's headers come from PyPI
# into FOLDER. Of candle's kernels those are compiled that sega uses (tools/cuda/nvcc); `flash-attn` takes some 20 minutes of a processor. The program opens
# CUDA's libraries when it first calls them, by their usual names and in the folders of CUDA_LIB_DIRS, so that one program serves
# those who have a card and those who have none. It is in target/cuda/release. A toolkit that is installed is not needed, nor used:
# with one, `cargo build --release --features cuda` is all there is to do.
set -euo pipefail
cd "$(dirname "$0")/../.."
# What is said goes to the standard error where the standard output is for a script.
exec 3>&1
[ -z "${MESSAGES:-}" ] || exec 1>&2
features=${FEATURES:-cuda}
folder=${FOLDER:-$HOME/.cache/sega-cuda}
mkdir -p "$folder"

echo "== the compiler"
if [ ! -x "$folder/pip/nvidia/cu13/bin/nvcc" ]; then
  # No newer: a driver takes the code of compilers of its own age, and of older ones.
  python3 -m pip install -q --no-compile --root-user-action=ignore --target "$folder/pip" 'cuda-toolkit[nvcc,cccl,cudart,crt,nvvm]==13.0.*'
fi
export CUDA_HOME=$folder/pip/nvidia/cu13
export PATH=$CUDA_HOME/bin:$PATH
export NVCC=$PWD/tools/cuda/nvcc NVCC_STASH=$folder/stash
# Without it the build asks a card; 80 is the oldest that all of candle's kernels are for.
export CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-80}
CUDAFORGE_THREADS=${CUDAFORGE_THREADS:-$(nproc)}
export CUDAFORGE_THREADS
nvcc --version | tail -n 1

echo "== stand-ins for the libraries"
cargo fetch --locked --quiet
# The folder of a dependency's sources.
crate() {
  cargo metadata --locked --format-version 1 --features "$features" | python3 -c 'import json, os, sys
print(next(os.path.dirname(p["manifest_path"]) for p in json.load(sys.stdin)["packages"] if p["name"] == sys.argv[1]))' "$1"
}
python3 tools/cuda/link_stubs.py "$(crate cudarc)" "$folder/link"
ln -sf "$CUDA_HOME/lib/libcudart_static.a" "$folder/link/libcudart.a"
export LIBRARY_PATH=$folder/link

if [[ ",$features," == *,flash-attn,* ]]; then
  echo "== CUTLASS"
  flash=$(crate candle-flash-attn)
  commit=$(sed -n 's/^const CUTLASS_COMMIT: &str = "\(.*\)";/\1/p' "$flash/build.rs")
  if [ ! -d "$folder/cutlass" ]; then
    # The release that this commit is.
    python3 -m pip install -q --no-compile --no-deps --root-user-action=ignore --target "$folder/cutlass" 'nvidia-cutlass==3.5.0.0'
  fi
  # Where the crate's build looks for a checkout of it; it asks git for no more than the commit's name.
  export CUDAFORGE_HOME=$folder/cudaforge
  checkout=$CUDAFORGE_HOME/git/checkouts/cutlass-${commit:0:16}
  if [ ! -d "$checkout/.git" ]; then
    mkdir -p "$checkout"
    git init --quiet "$checkout"
    echo "$commit" > "$checkout/.git/HEAD"
  fi
  ln -sfn "$folder/cutlass/cutlass_library/source/include" "$checkout/include"
fi

case ${1:-} in
  clippy | check | test)
    echo "== $1, with $features"
    work=$1
    shift
    exec cargo "$work" --locked --target-dir target/cuda --features "$features" "$@" ;;
esac
echo "== build, with $features"
if [ -n "${MESSAGES:-}" ]; then
  # For scripts, which look for what was built in it.
  exec cargo build --release --locked --target-dir target/cuda --features "$features" --message-format "$MESSAGES" "$@" >&3
fi
cargo build --release --locked --target-dir target/cuda --features "$features" "$@"
sega=target/cuda/release/sega
if [ ! -x "$sega" ]; then
  echo "built; the program itself was not asked for"
  exit
fi

echo "== it starts"
"$sega" --version
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if command -v nvidia-smi >/dev/null && nvidia-smi -L | grep -q GPU; then
  echo "there is a card: benches/gpu.sh checks the rest"
  exit
fi

echo "== it says that there is no CUDA device"
if "$sega" run recipes/first.sega --device cuda -o "$work/cuda.png" 2>"$work/said"; then
  echo "it rendered on a CUDA device, and there is none" >&2
  exit 1
fi
cat "$work/said"
# shellcheck disable=SC2016
grep -q 'there is no device `cuda:0`' "$work/said"

echo "== it renders on the CPU, by itself and when told to"
for device in auto cpu; do
  "$sega" run recipes/first.sega --device "$device" -o "$work/$device.png" --latents "$work/$device.safetensors"
done
cmp "$work/auto.safetensors" "$work/cpu.safetensors"
echo "well"
