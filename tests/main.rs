//! One test binary; a file for each stage of the pipeline.
