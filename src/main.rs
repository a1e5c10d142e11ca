//! The program.

use std::process::ExitCode;

/// Outputs of a network's layers come and go in the same sizes.
#[cfg(feature = "engine")]
#[global_allocator]
static ALLOCATOR: &sega::engine::kernel::KeepBlocks = &sega::engine::kernel::BLOCKS;

fn main() -> ExitCode {
    sega::app::main()
}
