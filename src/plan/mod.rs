//! A recipe lowered to the numbers of every step.

pub mod scheduler;
