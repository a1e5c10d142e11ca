//! How often a property is tried.

use proptest::test_runner::Config;

/// As many cases of a property as usual, or as `SEGA_CASES` says: hunting for faults by hand takes more than every change can.
/// What fails is shown in its smallest form, for a test of its own, and kept in no file.
pub(crate) fn cases(usual: u32) -> Config {
    let wanted = std::env::var("SEGA_CASES").ok().and_then(|count| count.parse().ok());
    let cases = wanted.unwrap_or(usual);
    // What a property does not apply to may be as much as half of what is drawn.
    Config { cases, max_global_rejects: cases.max(1024), failure_persistence: None, ..Config::default() }
}
