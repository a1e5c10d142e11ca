#!/usr/bin/env bash
# Everything that needs a CUDA device, in one call: builds, checks, times. Needs a Rust toolchain, NVIDIA's compiler (CUDA_HOME
# or nvcc on the path) and a card. What it prints goes into benches/gpu.md, with the date.
set -euo pipefail
cd "$(dirname "$0")/.."
features=${FEATURES:-cuda}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

echo "== the card"
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv

echo "== build, with $features"
cargo build --release --locked --features "$features"
sega=target/release/sega

echo "== thresholds to the bit, and the reference's tables within 1e-4, on cuda"
cargo test --release --locked --features "$features" -- --ignored cuda --nocapture

echo "== one recipe on each device: seconds of the render"
for precision in f32 f16 bf16; do
  for device in cpu cuda; do
    # The first render compiles the kernels for the card.
    "$sega" run recipes/several.sega -o "$work/warm.png" --force --device "$device" --precision "$precision" >/dev/null
    "$sega" run recipes/several.sega -o "$work/$device-$precision.png" --latents "$work/$device-$precision.safetensors" \
      --device "$device" --precision "$precision" --json | grep -o '"seconds": *[0-9.]*' | sed "s/^/$device $precision /"
  done
done

echo "== a hundred renders in a row: memory on the card before and after"
used() { nvidia-smi --query-compute-apps=used_memory --format=csv,noheader,nounits | paste -sd+ | sed 's/^$/0/' | bc; }
sed 's/^seed .*/seed 1 to 100/' recipes/first.sega > "$work/many.sega"
"$sega" run "$work/many.sega" -o "$work/many.png" --device cuda & soak=$!
sleep 10; echo "after 10 s: $(used) MiB"
wait "$soak"
