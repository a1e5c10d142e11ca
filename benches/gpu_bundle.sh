#!/usr/bin/env bash
# Makes what benches/gpu.sh needs on a machine with a card and without a network: BUNDLE=FOLDER benches/gpu.sh.
#
#   benches/gpu_bundle.sh [FOLDER]         (target/gpu-bundle; FEATURES=cuda,cudnn,flash-attn)
#
# In it: the programs, built for CUDA without a card (tools/cuda/build.sh) and packed, and diffusers as a wheel. The machine with the card
# needs a checkout, xz, and Python with torch, transformers, peft, safetensors, NumPy and Pillow.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-target/gpu-bundle}
export FEATURES=${FEATURES:-cuda,cudnn,flash-attn}
programs=$folder/programs
mkdir -p "$programs" "$folder/wheels"
pwd > "$folder/root"

MESSAGES=json tools/cuda/build.sh --bin sega --bench claims --bench side_by_side --test sega > "$folder/messages"
built() {
  python3 -c 'import json, sys
for line in open(sys.argv[1]):
    made = json.loads(line)
    if made.get("executable") and made["target"]["name"] == sys.argv[2] and sys.argv[3] in made["target"]["kind"]:
        print(made["executable"])' "$folder/messages" "$@"
}
strip -o "$programs/sega" "$(built sega bin)"
strip -o "$programs/tests" "$(built sega test)"
for name in claims side_by_side; do
  strip -o "$programs/$name" "$(built $name bench)"
done
rm "$folder/messages"
"$programs/sega" --version

echo "== packed"
# With a dictionary that all of them fit in: what they have in common, the embedded model and the kernels, is packed once.
tar -cf - -C "$programs" sega claims side_by_side tests | xz --lzma2=preset=9,dict=512MiB > "$folder/programs.tar.xz"
rm -r "$programs"

echo "== wheels"
python3 -m pip download -q --no-deps --only-binary=:all: -d "$folder/wheels" 'diffusers==0.42.1' importlib-metadata zipp
ls -l "$folder" "$folder/wheels"
