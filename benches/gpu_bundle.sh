#!/usr/bin/env bash
# Makes what benches/gpu.sh needs on a machine with a card and without a network: BUNDLE=FOLDER benches/gpu.sh.
#
#   benches/gpu_bundle.sh [FOLDER]         (target/gpu-bundle)
#
# In it: the programs, built for CUDA without a card (tools/cuda/build.sh) and packed, and diffusers as a wheel. The machine with the card
# needs a checkout, xz, and Python with torch, transformers, peft, safetensors, NumPy and Pillow.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-target/gpu-bundle}
programs=$folder/programs
mkdir -p "$programs" "$folder/wheels"
pwd > "$folder/root"

tools/cuda/build.sh
built() { python3 -c 'import json, sys
for line in sys.stdin:
    made = json.loads(line)
    if made.get("executable") and made["target"]["name"] == sys.argv[1] and sys.argv[2] in made["target"]["kind"]:
        print(made["executable"])' "$@"; }
strip -o "$programs/sega" target/cuda/release/sega
for name in claims side_by_side; do
  strip -o "$programs/$name" "$(MESSAGES=json tools/cuda/build.sh --bench $name | built $name bench)"
done
strip -o "$programs/tests" "$(MESSAGES=json tools/cuda/build.sh --test sega | built sega test)"
# Together: what they have in common, the embedded model and candle's kernels, is packed once.
tar -cf - -C "$programs" sega claims side_by_side tests | xz -9 > "$folder/programs.tar.xz"
rm -r "$programs"

echo "== wheels"
python3 -m pip download -q --no-deps --only-binary=:all: -d "$folder/wheels" 'diffusers==0.42.1' importlib-metadata zipp
ls -l "$folder" "$folder/wheels"
