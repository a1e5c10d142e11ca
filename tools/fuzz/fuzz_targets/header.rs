//! Headers of safetensors files: one that is believed is one that the format's own library reads.
#![no_main]

use libfuzzer_sys::fuzz_target;
use safetensors::SafeTensors;
use sega::model::header::Header;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(header) = Header::parse(bytes) {
        let theirs = SafeTensors::deserialize(bytes).expect("the library refuses it");
        assert_eq!(theirs.len(), header.tensors.len());
        for (name, info) in &header.tensors {
            assert_eq!(theirs.tensor(name).expect("a tensor is missing").shape(), &info.shape[..]);
        }
    }
});
