#!/usr/bin/env bash
# Everything that needs a CUDA device, in one call: unpacks or builds, checks, times.
#
#   benches/gpu.sh [STAGE...]              all of them, in this order:
#     card       which card, driver and libraries
#     programs   unpacks the programs of BUNDLE (benches/gpu_bundle.sh makes it), or builds them
#     kernels    each kernel against its twin on the CPU, and the reference's tables of whole renders on the card
#     limits     what the card does at most: bytes copied, bf16 multiplied
#     sd15       Stable Diffusion 1.5 at 512x512 beside diffusers: 1, 3 and 8 concepts, 1 and 4 pictures, ranges
#     soak       renders in a row: memory and seconds must stay what they are
#     parity     the jobs of tools/reference/parity.py in f32
#     sanitize   the kernels under compute-sanitizer
#     claims     what edits achieve on mini, in f16
#     sdxl       SDXL at 1024x1024 beside diffusers
#     cards      a list of seeds on two cards, where there are two
#
# A stage that fails does not end the others; the exit code says whether one did. What it prints goes into $OUT/STAGE.log, figures
# into $OUT/figures.jsonl, and what was found belongs into benches/gpu.md, with date, card, driver and commands.
#
# DEVICE=cpu does the same on the CPU and on models in miniature, which exercises this script; nothing that it prints is a result.
# Environment: OUT (target/gpu), BUNDLE, PYTHON (one with torch), FEATURES (cuda), RENDERS (2000), JOBS (a part of the names of parity's
# jobs), STAGE_LIMIT (seconds; 1200), MODELS (where checkpoints are made).
# shellcheck disable=SC2329  # stages are called by their names
set -uo pipefail
cd "$(dirname "$0")/.." || exit
device=${DEVICE:-cuda}
out=$(mkdir -p "${OUT:-target/gpu}" && cd "${OUT:-target/gpu}" && pwd)
bin=$out/bin
models=${MODELS:-$out/models}
python=${PYTHON:-python3}
features=${FEATURES:-cuda}
if [ "$device" = cpu ]; then
  renders=${RENDERS:-40}; half=f32; steps=2
else
  renders=${RENDERS:-2000}; half=f16; steps=20
fi
if [ -n "${BUNDLE:-}" ] && [ -d "$out/site" ]; then
  export PYTHONPATH=$out/site
fi
if libraries=$("$python" -c 'import os, torch; print(os.path.dirname(os.path.dirname(torch.__file__)) + "/nvidia")' 2>/dev/null); then
  # Where PyTorch has brought CUDA's libraries, the program may use those.
  export CUDA_LIB_DIRS=${CUDA_LIB_DIRS:-$libraries/cu13/lib:$libraries/cudnn/lib}
fi

card() {
  if [ "$device" = cpu ]; then
    echo "no card: this is a trial on the CPU"
  else
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv
  fi
  date --utc
  "$python" -c 'import torch, sys; print("torch", torch.__version__, "python", sys.version.split()[0])'
}

# Puts sega, tests, claims and side_by_side into $bin.
programs() {
  mkdir -p "$bin"
  if [ -n "${BUNDLE:-}" ]; then
    tar -xJf "$BUNDLE/programs.tar.xz" -C "$bin" || return
    # The tests look for their tables in the folder where they were built.
    local root
    root=$(cat "$BUNDLE/root") || return
    [ -e "$root" ] || { mkdir -p "$(dirname "$root")" && ln -s "$PWD" "$root"; } || return
    if compgen -G "$BUNDLE/wheels/*.whl" >/dev/null; then
      "$python" -m pip install -q --no-index --no-deps --no-compile --upgrade --target "$out/site" "$BUNDLE"/wheels/*.whl
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
  "$bin/sega" --version
}

kernels() {
  if [ "$device" = cpu ]; then
    "$bin/tests" kernels::
  else
    "$bin/tests" --ignored cuda --nocapture --test-threads 1
  fi
}

limits() {
  "$python" benches/side_by_side/side_by_side.py limits --device "$device" --json "$out/figures.jsonl"
}

# A checkpoint of this shape, with random weights; a path that is printed.
checkpoint() {
  local kind=$1
  if [ "$device" = cpu ]; then
    [ "$kind" = sd15 ] && kind=tiny || kind=tiny-xl
  fi
  if [ ! -e "$models/$kind/model_index.json" ]; then
    mkdir -p "$models"
    "$python" tools/reference/checkpoint.py "$kind" "$models/$kind" --half --device "$device" --vocab models/mini/tokenizer >&2 || return
  fi
  echo "$models/$kind"
}

# MODEL JOB PIXELS and more arguments: renders beside diffusers.
beside() {
  local model=$1 job=$2 pixels=$3
  shift 3
  [ "$device" = cpu ] && pixels=$((pixels / 8))
  echo "-- $job $pixels $*"
  "$python" benches/side_by_side/side_by_side.py render "$model" "benches/side_by_side/jobs/$job.json" --pixels "$pixels" \
    --device "$device" --bin "$bin" --json "$out/figures.jsonl" "$@"
}

sd15() {
  local model failed=0
  model=$(checkpoint sd15) || return
  for rows in 2 5; do
    "$python" benches/side_by_side/side_by_side.py unet "$model" --rows "$rows" --size "$([ "$device" = cpu ] && echo 16 || echo 64)" --runs 5 \
      --precision "$half" --device "$device" --bin "$bin" --json "$out/figures.jsonl" --compile || failed=1
  done
  beside "$model" eight 512 --concepts 3 --runs 3 --precision "$half" --steps "$steps" --compile || failed=1
  beside "$model" half 512 --runs 3 --precision "$half" --steps "$steps" || failed=1
  for concepts in 1 8; do
    beside "$model" eight 512 --concepts "$concepts" --runs 2 --precision "$half" --steps "$steps" || failed=1
  done
  beside "$model" eight 512 --concepts 3 --pictures 4 --runs 1 --precision "$half" --steps "$steps" || failed=1
  beside "$model" eight 512 --concepts 3 --runs 2 --precision bf16 --steps "$steps" || failed=1
  return "$failed"
}

sdxl() {
  local model failed=0
  model=$(checkpoint sdxl) || return
  for concepts in 1 3 8; do
    beside "$model" eight 1024 --concepts "$concepts" --runs 1 --precision "$half" --steps "$steps" || failed=1
  done
  beside "$model" eight 1024 --concepts 3 --pictures 4 --runs 1 --precision "$half" --steps "$steps" || failed=1
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
  local work=$out/soak
  rm -rf "$work" && mkdir -p "$work" || return
  sed -e "s/^seed .*/seed 1 to $renders/" -e 's/^steps .*/steps 6/' -e 's/warmup .*/warmup 1/' recipes/first.sega > "$work/many.sega"
  "$bin/sega" run "$work/many.sega" -o "$work/many.png" --device "$device" --precision "$half" --json > "$work/said.json" & local pid=$!
  : > "$work/memory"
  while kill -0 "$pid" 2>/dev/null; do
    in_use "$pid" >> "$work/memory" 2>/dev/null
    sleep "$([ "$device" = cpu ] && echo 0.1 || echo 1)"
  done
  wait "$pid" || { cat "$work/said.json"; return 1; }
  "$python" - "$work" "$renders" <<'PYTHON'
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
  "$python" tools/reference/parity.py --sega "$bin/sega" --work "$out/parity" --device "$device" "${only[@]}"
}

sanitize() {
  if [ "$device" = cpu ]; then
    echo "left out on the CPU; the tests of the kernels have a page behind every buffer that cannot be touched"
    return
  fi
  local failed=0
  for tool in memcheck racecheck initcheck; do
    echo "-- $tool"
    # The smallest cases; the tools make everything some hundred times as slow.
    compute-sanitizer --tool "$tool" --error-exitcode 9 --print-limit 20 \
      "$bin/tests" --ignored kernels::on_a_card --test-threads 1 || failed=1
  done
  return "$failed"
}

claims() {
  local few=()
  [ "$device" = cpu ] && few=(--only one --seeds 2 --each 2 --steps 4)
  "$bin/claims" --bench --quick --workers 1 --device "$device" --precision "$half" --out "$out/claims" "${few[@]}"
}

cards() {
  local list=cuda:0,cuda:1 work
  if [ "$device" = cpu ]; then
    list=cpu,cpu
  elif [ "$(nvidia-smi -L | wc -l)" -lt 2 ]; then
    echo "there is one card: left out"
    return
  fi
  work=$(mktemp -d)
  sed 's/^seed .*/seed 1 to 8/' recipes/first.sega > "$work/many.sega"
  "$bin/sega" run "$work/many.sega" -o "$work/one.png" --device "${list%%,*}" &&
    "$bin/sega" run "$work/many.sega" -o "$work/two.png" --device "$list" || return
  for seed in 1 2 3 4 5 6 7 8; do
    cmp "$work/one-$seed.png" "$work/two-$seed.png" || return
  done
  echo "the same pictures"
}

# A stage by itself, which the loop below asks for, so that it can be ended when it takes too long.
if [ "${1:-}" = --one ]; then
  "$2"
  exit
fi

all=(card programs kernels limits sd15 soak parity sanitize claims sdxl cards)
[ $# -gt 0 ] || set -- "${all[@]}"
failed=0
for stage in "$@"; do
  case " ${all[*]} " in
    *" $stage "*) ;;
    *) echo "there is no stage \`$stage\`: take some of ${all[*]}" >&2; exit 2 ;;
  esac
done
for stage in "$@"; do
  echo "== $stage"
  began=$SECONDS
  timeout --kill-after 10 "${STAGE_LIMIT:-1200}" "$BASH" benches/gpu.sh --one "$stage" 2>&1 | tee "$out/$stage.log"
  code=${PIPESTATUS[0]}
  echo "== $stage: $([ "$code" = 0 ] && echo well || echo "FAILED ($code)"), $((SECONDS - began)) s" | tee -a "$out/summary.log"
  [ "$code" = 0 ] || failed=1
done
exit $failed
