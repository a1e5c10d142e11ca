#!/usr/bin/env bash
# Everything that needs a CUDA device, in one call: unpacks or builds, checks, times.
#
#   benches/gpu.sh [STAGE...]              all of them, in this order:
#     card       which card, driver and libraries
#     programs   unpacks the programs of BUNDLE (benches/gpu_bundle.sh makes it), or builds them
#     first      recipes/first.sega on the card in every precision, beside the CPU; where this fails, all ends
#     kernels    each kernel against its twin on the CPU, and the reference's tables of whole renders on the card
#     sd15       Stable Diffusion 1.5 at 512x512 beside diffusers: 1, 3 and 8 concepts, 1 and 4 pictures, ranges
#     sdxl       SDXL at 1024x1024 beside diffusers: without concepts, with 1, 3 and 8, 1 and 4 pictures
#     limits     what the card does at most: bytes copied, bf16 multiplied
#     soak       renders in a row: memory and seconds must stay what they are
#     profile    which kernels an evaluation of the U-Net spends its time in
#     sanitize   the kernels under compute-sanitizer
#     parity     the jobs of tools/reference/parity.py in f32
#     claims     what edits achieve on mini, in f16
#     compiled   beside diffusers with its U-Net compiled, which takes minutes to begin
#     cards      a list of seeds on two cards, where there are two
#
# A stage that fails does not end the others; the exit code says whether one did. What it prints goes into OUT/log.txt, a line for each
# stage into OUT/summary.txt, figures into OUT/figures.jsonl, as soon as they are there; what was found belongs into benches/gpu.md, with date, card,
# driver and commands. Where a machine is lent for minutes: LIMIT=500 benches/gpu.sh ends in time, the summary names the stages that were
# left out, and a second call takes those.
#
# DEVICE=cpu does the same on the CPU and on models in miniature, which exercises this script; nothing that it prints is a result.
# Environment: OUT (what is to be kept; target/gpu), WORK (what is made on the way: programs, checkpoints, compiled kernels; target/gpu/work), BUNDLE
# (target/gpu-bundle where that is there), PYTHON (one with torch), FEATURES (cuda,cudnn,flash-attn), LIMIT (seconds for all; none),
# STAGE_LIMIT (seconds for each; 1200, or a third of LIMIT), RENDERS (2000), JOBS (a part of the names of parity's jobs), RUNS (3; 1 in a trial).
# shellcheck disable=SC2329  # stages are called by their names
set -uo pipefail
cd "$(dirname "$0")/.." || exit
device=${DEVICE:-cuda}
folder() { mkdir -p "$1" && (cd "$1" && pwd); }
out=$(folder "${OUT:-target/gpu}") || exit
work=$(folder "${WORK:-target/gpu/work}") || exit
bin=$work/bin
models=$work/models
python=${PYTHON:-python3}
features=${FEATURES:-cuda,cudnn,flash-attn}
libraries=
bundle=${BUNDLE:-target/gpu-bundle}
[ -e "$bundle/programs.tar.xz" ] || bundle=
if [ "$device" = cpu ]; then
  pictures=${RENDERS:-40}; runs=${RUNS:-1}; half=f32; steps=2; kinds=(tiny tiny-xl); latent_sides=(16 16)
else
  pictures=${RENDERS:-2000}; runs=${RUNS:-3}; half=f16; steps=20; kinds=(sd15 sdxl); latent_sides=(64 128)
fi
# What Python prints comes at once, and is there when a stage is ended; its libraries have nothing to tell.
export PYTHONUNBUFFERED=1 PYTHONWARNINGS=ignore TRANSFORMERS_VERBOSITY=error DIFFUSERS_VERBOSITY=error TQDM_DISABLE=1 HF_HUB_DISABLE_PROGRESS_BARS=1
# Nothing is to be asked of a network that may not be there.
export HF_HUB_OFFLINE=1 DO_NOT_TRACK=1
# Kernels that the driver has compiled for this card, for the programs that come after the first.
export CUDA_CACHE_PATH=$work/compiled CUDA_CACHE_MAXSIZE=4294967296
if [ -d "$work/site" ]; then
  export PYTHONPATH=$work/site${PYTHONPATH:+:$PYTHONPATH}
fi
if [ -z "${CUDA_LIB_DIRS:-}" ]; then
  # Where PyTorch has brought CUDA's libraries, the program may use those.
  libraries=$("$python" -c 'import importlib.util, os
print(os.path.dirname(os.path.dirname(importlib.util.find_spec("torch").origin)) + "/nvidia")' 2>/dev/null) || libraries=
  CUDA_LIB_DIRS=
  for place in "$libraries/cu13/lib" "$libraries/cudnn/lib" /usr/local/cuda/lib64 /usr/local/nvidia/lib64; do
    [ -d "$place" ] && CUDA_LIB_DIRS=${CUDA_LIB_DIRS:+$CUDA_LIB_DIRS:}$place
  done
  if [ -n "$CUDA_LIB_DIRS" ]; then
    # What those libraries open themselves is looked for there, too.
    export CUDA_LIB_DIRS LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$CUDA_LIB_DIRS
  fi
fi

# A tool of the toolkit, which need not be where programs are looked for.
tool() {
  command -v "$1" && return
  local place
  for place in /usr/local/cuda*/bin /usr/local/cuda*/"$1" /opt/nvidia/*/* "$libraries"/cu13/bin; do
    if [ -f "$place/$1" ] && [ -x "$place/$1" ]; then
      echo "$place/$1"
      return
    fi
  done
  echo "there is no $1 here" >&2
  return 1
}

card() {
  if [ "$device" = cpu ]; then
    echo "no card: this is a trial on the CPU"
  else
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv
  fi
  date --utc
  nproc
  echo "libraries: ${CUDA_LIB_DIRS:-those of the system}"
  git log -1 --format='commit %h of %cd' 2>/dev/null
  "$python" -c 'import torch, sys; print("torch", torch.__version__, "python", sys.version.split()[0])'
}

# Puts sega, tests, claims and side_by_side into $bin.
programs() {
  mkdir -p "$bin"
  if [ -n "$bundle" ]; then
    tar -xJf "$bundle/programs.tar.xz" -C "$bin" || return
    # The tests look for their tables in the folder where they were built.
    local root
    root=$(cat "$bundle/root") || return
    if [ ! -e "$root" ]; then
      mkdir -p "$(dirname "$root")" && ln -s "$PWD" "$root" || echo "$root cannot be made: the tables of whole renders will be missed" >&2
    fi
    if compgen -G "$bundle/wheels/*.whl" >/dev/null; then
      "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$work/site" "$bundle"/wheels/*.whl || return
    fi
  else
    local with=()
    [ "$device" = cpu ] || with=(--features "$features")
    cargo build --release --locked "${with[@]}" || return
    cp target/release/sega "$bin/" || return
    built() { "$python" -c 'import json, sys
for line in sys.stdin:
    made = json.loads(line)
    if made.get("executable") and made["target"]["name"] == sys.argv[1] and sys.argv[2] in made["target"]["kind"]:
        print(made["executable"])' "$@"; }
    cp "$(cargo test --release --locked "${with[@]}" --test sega --no-run --message-format json | built sega test)" "$bin/tests" || return
    for bench in claims side_by_side; do
      cp "$(cargo bench --locked "${with[@]}" --bench "$bench" --no-run --message-format json | built "$bench" bench)" "$bin/$bench" || return
    done
  fi
  "$bin/sega" --version || return
  # What the comparisons need, so that it is said now.
  PYTHONPATH=$work/site${PYTHONPATH:+:$PYTHONPATH} "$python" -c 'import diffusers, peft, safetensors, transformers
print("diffusers", diffusers.__version__, "transformers", transformers.__version__, "peft", peft.__version__)'
}

first() {
  local made=$work/first precision
  rm -rf "$made" && mkdir -p "$made" || return
  "$bin/sega" run recipes/first.sega --device cpu --precision f32 -o "$made/cpu.png" --latents "$made/cpu.safetensors" || return
  # The first of them waits while the driver compiles kernels; the second is the same again.
  for precision in f32 again f16 bf16; do
    CUDA_LIB_DEBUG=1 "$bin/sega" run recipes/first.sega --device "$device" --precision "${precision/again/f32}" -o "$made/$precision.png" \
      --latents "$made/$precision.safetensors" --json > "$made/$precision.json" || { cat "$made/$precision.json"; return 1; }
  done
  cp "$made/f16.png" "$out/first.png"
  "$python" - "$made" <<'PYTHON'
import json, sys
from safetensors.numpy import load_file
import numpy as np
folder, failed = sys.argv[1], False
read = lambda name: load_file(f"{folder}/{name}.safetensors")["latents"].astype(np.float64)
theirs = read("cpu")
# A threshold may keep another of two nearly equal numbers, and all that follows is then a little different.
for name, bound in dict(f32=1e-2, again=1e-2, f16=.05, bf16=.1).items():
    ours, told = read(name), json.load(open(f"{folder}/{name}.json"))["pictures"][0]
    distance = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
    failed |= not distance <= bound
    print(f"{name:<5} {told['seconds']:.3f} s, first step after {told['first_step_after_seconds']:.2f} s; distance to f32 on the CPU {distance:.1e} (at most {bound:g})")
sys.exit(failed)
PYTHON
}

# The programs must have been built for a card, or there is nothing to run, which would be well.
tests_for_cards() {
  "$bin/tests" --ignored cuda --list | grep -q ': test$' || { echo "the tests were built without the feature cuda" >&2; return 1; }
}

kernels() {
  if [ "$device" = cpu ]; then
    "$bin/tests" kernels::
  else
    tests_for_cards || return
    # f32 as it is: cuDNN would round it to TF32.
    NVIDIA_TF32_OVERRIDE=0 "$bin/tests" --ignored cuda --nocapture --test-threads 1
  fi
}

beside() {
  "$python" benches/side_by_side/side_by_side.py "$@" --device "$device" --bin "$bin" --json "$out/figures.jsonl"
}

limits() {
  beside limits
}

# A checkpoint of this shape, with random weights; a path that is printed.
checkpoint() {
  local kind=$1
  if [ ! -e "$models/$kind/made" ]; then
    mkdir -p "$models"
    "$python" tools/reference/checkpoint.py "$kind" "$models/$kind" --half --device "$device" --vocab models/mini/tokenizer >&2 &&
      # Both decode in the render's precision: the reference's side does so whatever this says, ours would take f32.
      sed -i 's/"force_upcast": true/"force_upcast": false/' "$models/$kind/vae/config.json" &&
      touch "$models/$kind/made" || return
  fi
  echo "$models/$kind"
}

# MODEL JOB PIXELS and more arguments: renders beside diffusers.
renders() {
  local model=$1 job=$2 pixels=$3
  shift 3
  [ "$device" = cpu ] && pixels=$((pixels / 8))
  echo "-- $job $pixels $*"
  beside render "$model" "benches/side_by_side/jobs/$job.json" --pixels "$pixels" --steps "$steps" "$@"
}

# MODEL LATENT_SIDE ROWS and more arguments: the U-Net beside diffusers.
unet() {
  echo "-- the U-Net, $3 rows ${*:4}"
  beside unet "$1" --size "$2" --rows "$3" --precision "$half" "${@:4}"
}

sd15() {
  local model failed=0 concepts
  model=$(checkpoint "${kinds[0]}") || return
  renders "$model" eight 512 --concepts 3 --runs "$runs" --precision "$half" || failed=1
  renders "$model" half 512 --runs "$runs" --precision "$half" || failed=1
  unet "$model" "${latent_sides[0]}" 5 --runs $((3 * runs)) || failed=1
  renders "$model" eight 512 --concepts 3 --pictures 4 --runs 1 --precision "$half" || failed=1
  for concepts in 1 8; do
    renders "$model" eight 512 --concepts "$concepts" --runs "$runs" --precision "$half" || failed=1
  done
  renders "$model" eight 512 --concepts 3 --runs "$runs" --precision bf16 || failed=1
  unet "$model" "${latent_sides[0]}" 2 --runs $((3 * runs)) || failed=1
  return "$failed"
}

sdxl() {
  local model failed=0 concepts
  model=$(checkpoint "${kinds[1]}") || return
  # Without concepts: the reference's plain pipeline, at equal rows.
  for concepts in 0 3; do
    renders "$model" eight 1024 --concepts "$concepts" --runs $(((runs + 1) / 2)) --precision "$half" || failed=1
  done
  unet "$model" "${latent_sides[1]}" 5 --runs "$runs" || failed=1
  for concepts in 1 8; do
    renders "$model" eight 1024 --concepts "$concepts" --runs 1 --precision "$half" || failed=1
  done
  renders "$model" eight 1024 --concepts 3 --pictures 4 --runs 1 --precision "$half" || failed=1
  return "$failed"
}

compiled() {
  local model failed=0
  model=$(checkpoint "${kinds[0]}") || return
  renders "$model" eight 512 --concepts 3 --runs "$runs" --precision "$half" --compile || failed=1
  unet "$model" "${latent_sides[0]}" 5 --runs $((3 * runs)) --compile || failed=1
  return "$failed"
}

profile() {
  local model failed=0 at ncu
  if [ "$device" = cpu ]; then
    echo "left out on the CPU"
    return
  fi
  ncu=$(tool ncu) || return
  for at in 0 1; do
    model=$(checkpoint "${kinds[$at]}") || return
    echo "-- ${kinds[$at]}, 5 rows"
    beside profile "$model" --size "${latent_sides[$at]}" --rows 5 --precision "$half" --ncu "$ncu" || failed=1
  done
  return "$failed"
}

# The memory that this machine's cards, or this process, have in use, in MiB.
in_use() {
  if [ "$device" = cpu ]; then
    awk '/VmRSS/ { print int($2 / 1024) }' "/proc/$1/status"
  else
    nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits | awk '{ sum += $1 } END { print sum }'
  fi
}

soak() {
  local made=$work/soak
  rm -rf "$made" && mkdir -p "$made" || return
  sed -e "s/^seed .*/seed 1 to $pictures/" -e 's/^steps .*/steps 6/' -e 's/warmup .*/warmup 1/' recipes/first.sega > "$made/many.sega"
  "$bin/sega" run "$made/many.sega" -o "$made/many.png" --device "$device" --precision "$half" --json > "$made/said.json" & local pid=$!
  : > "$made/memory"
  while kill -0 "$pid" 2>/dev/null; do
    in_use "$pid" >> "$made/memory" 2>/dev/null
    sleep "$([ "$device" = cpu ] && echo 0.1 || echo 1)"
  done
  wait "$pid" || { cat "$made/said.json"; return 1; }
  "$python" - "$made" "$pictures" <<'PYTHON'
import json, statistics, sys
folder, count = sys.argv[1], int(sys.argv[2])
seconds = [picture["seconds"] for picture in json.load(open(folder + "/said.json"))["pictures"]]
memory = [int(line) for line in open(folder + "/memory") if line.strip()]
assert len(seconds) == count, f"{len(seconds)} pictures of {count}"
quarter = max(count // 4, 1)
# The first renders compile kernels.
early, late = statistics.median(seconds[quarter:2 * quarter]), statistics.median(seconds[-quarter:])
half = memory[len(memory) // 4:]
growth = max(half[-max(len(half) // 4, 1):]) - max(half[:max(len(half) // 4, 1)])
print(f"{count} renders: median {1e3 * early:.1f} ms in the second quarter, {1e3 * late:.1f} ms in the last; memory {min(memory)} to {max(memory)} MiB, "
      f"{growth:+d} MiB from the second quarter to the last")
sys.exit(late > 1.15 * early or growth > 64)
PYTHON
}

parity() {
  local only=()
  [ -n "${JOBS:-}" ] && only=(--only "$JOBS")
  [ "$device" = cpu ] && [ -z "${JOBS:-}" ] && only=(--only one-ddim)
  NVIDIA_TF32_OVERRIDE=0 "$python" tools/reference/parity.py --sega "$bin/sega" --work "$work/parity" --device "$device" "${only[@]}"
}

sanitize() {
  if [ "$device" = cpu ]; then
    echo "left out on the CPU; the tests of the kernels have a page behind every buffer that cannot be touched"
    return
  fi
  local failed=0 kind sanitizer
  tests_for_cards || return
  sanitizer=$(tool compute-sanitizer) || return
  for kind in memcheck racecheck initcheck; do
    echo "-- $kind"
    # The kernels by themselves; the tools make everything some hundred times as slow.
    timeout "${SANITIZE_LIMIT:-150}" "$sanitizer" --tool "$kind" --error-exitcode 9 --print-limit 20 \
      "$bin/tests" --ignored kernels::on_a_card --test-threads 1 || failed=1
  done
  return "$failed"
}

claims() {
  local few=()
  [ "$device" = cpu ] && few=(--only one --seeds 2 --each 2 --steps 4)
  "$bin/claims" --bench --quick --workers 1 --device "$device" --precision "$half" --out "$work/claims" "${few[@]}"
}

cards() {
  local list=cuda:0,cuda:1 made
  if [ "$device" = cpu ]; then
    list=cpu,cpu
  elif [ "$(nvidia-smi -L | wc -l)" -lt 2 ]; then
    echo "there is one card: left out"
    return
  fi
  made=$(mktemp -d)
  sed 's/^seed .*/seed 1 to 8/' recipes/first.sega > "$made/many.sega"
  "$bin/sega" run "$made/many.sega" -o "$made/one.png" --device "${list%%,*}" &&
    "$bin/sega" run "$made/many.sega" -o "$made/two.png" --device "$list" || return
  for seed in 1 2 3 4 5 6 7 8; do
    cmp "$made/one-$seed.png" "$made/two-$seed.png" || return
  done
  echo "the same pictures"
}

# A stage by itself, which the loop below asks for, so that it can be ended when it takes too long.
if [ "${1:-}" = --one ]; then
  "$2"
  exit
fi

all=(card programs first kernels sd15 sdxl limits soak profile sanitize parity claims compiled cards)
[ $# -gt 0 ] || set -- "${all[@]}"
failed=0
for stage in "$@"; do
  case " ${all[*]} " in
    *" $stage "*) ;;
    *) echo "there is no stage \`$stage\`: take some of ${all[*]}" >&2; exit 2 ;;
  esac
done
stage_limit=${STAGE_LIMIT:-$([ -n "${LIMIT:-}" ] && echo $((LIMIT / 3)) || echo 1200)}
left_out=()
for stage in "$@"; do
  limit=$stage_limit
  if [ -n "${LIMIT:-}" ]; then
    left=$((LIMIT - SECONDS))
    # What is begun should come to something.
    if [ "$left" -lt 15 ]; then
      left_out+=("$stage")
      continue
    fi
    limit=$((left < limit ? left : limit))
  fi
  echo "== $stage" | tee -a "$out/log.txt"
  began=$SECONDS
  timeout --kill-after 10 "$limit" "$BASH" benches/gpu.sh --one "$stage" 2>&1 | tee -a "$out/log.txt"
  code=${PIPESTATUS[0]}
  verdict=$(case $code in 0) echo well ;; 124 | 137) echo "ENDED after its $limit s" ;; *) echo "FAILED ($code)" ;; esac)
  echo "== $stage: $verdict, $((SECONDS - began)) s" | tee -a "$out/summary.txt" "$out/log.txt"
  [ "$code" = 0 ] && continue
  failed=1
  case $stage in
    programs | first)
      echo "== without this nothing else can be had: the end" | tee -a "$out/summary.txt" "$out/log.txt"
      break ;;
  esac
done
if [ "${#left_out[@]}" -gt 0 ]; then
  echo "== for want of time left out: ${left_out[*]}" | tee -a "$out/summary.txt" "$out/log.txt"
  failed=1
fi
echo
cat "$out/summary.txt"
exit $failed
