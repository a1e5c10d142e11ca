#!/bin/sh
# The kernels' tests with NEON, on a machine that has none: built for aarch64 and run by an emulator.
# On Debian, first:
#     apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static
#     rustup target add aarch64-unknown-linux-gnu
# Arguments are cargo's.
set -eu
cd "$(dirname "$0")/.."
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -L /usr/aarch64-linux-gnu"
# What the program depends on is not what is tested: it need not be fast, but built soon. (Two of them can only be built
# so that they are fast.)
exec cargo test --locked --target aarch64-unknown-linux-gnu --config 'profile.dev.package."*".opt-level=0' \
    --config profile.dev.package.gemm-common.opt-level=3 --config profile.dev.package.gemm-f16.opt-level=3 \
    --no-default-features --features engine --lib kernel "$@"
