//! Headers of safetensors files, right, wrong and malicious.

#![allow(clippy::unwrap_used)]

use std::fs;

use proptest::prelude::*;
use safetensors::SafeTensors;
use sega::model::header::{Header, HeaderError};

/// The bytes of a file with this header and so many bytes behind it.
fn file(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; data]].concat()
}

/// What is wrong with a file, which must be the same read from disk and from memory.
fn fault(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    fs::write(&path, bytes).unwrap();
    let error = Header::read(&path).unwrap_err();
    let HeaderError::Corrupt { fault, .. } = &error else { panic!("{error}") };
    assert!(error.to_string().contains("a.safetensors"), "{error}");
    assert_eq!(fault.to_string(), Header::parse(bytes).unwrap_err().to_string());
    fault.to_string()
}

#[test]
fn a_header_says_what_is_there() {
    let text = r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"F16","shape":[2,3],"data_offsets":[8,20]},
        "a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"none":{"dtype":"F32","shape":[0],"data_offsets":[8,8]}} "#;
    let header = Header::parse(&file(text, 20)).unwrap();
    assert_eq!(header.shape("b"), Some(&[2, 3][..]));
    assert_eq!(header.shape("c"), None);
    assert_eq!(header.metadata["format"], "pt");
    assert_eq!(header.data_start, 8 + text.len() as u64);
    assert!(header.has_prefix("no") && !header.has_prefix("c"));
}

#[test]
fn faults_name_their_tensor() {
    let one = |info: &str, data: usize| fault(&file(&format!(r#"{{"x.weight":{info}}}"#), data));
    let faults = [
        fault(b""),
        fault(b"short"),
        fault(&u64::MAX.to_le_bytes()),
        fault(&[&(1_u64 << 40).to_le_bytes()[..], b"{}"].concat()),
        fault(&[&9_u64.to_le_bytes()[..], b"{}"].concat()),
        fault(&file("no", 0)),
        fault(&file("[1]", 0)),
        fault(&[&2_u64.to_le_bytes()[..], &[0xff, 0xfe]].concat()),
        fault(&file(r#"{"x":1}"#, 0)),
        fault(&file(&"[".repeat(100_000), 0)),
        one(r#"{"dtype":"F31","shape":[1],"data_offsets":[0,4]}"#, 4),
        one(r#"{"dtype":"F32","shape":[2],"data_offsets":[0,4]}"#, 4),
        one(r#"{"dtype":"F32","shape":[18446744073709551615,2],"data_offsets":[0,4]}"#, 4),
        one(r#"{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}"#, 0),
        one(r#"{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}"#, 4),
        one(r#"{"dtype":"F32","shape":[1],"data_offsets":[4,0]}"#, 4),
        one(r#"{"dtype":"F32","shape":[1],"data_offsets":[4,8]}"#, 8),
        one(r#"{"dtype":"F32","shape":[1],"data_offsets":[18446744073709551612,18446744073709551615]}"#, 4),
        one(r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#, 3),
        one(r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#, 5),
        fault(&file(
            r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#,
            12,
        )),
        fault(&file(
            r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#,
            1,
        )),
    ];
    insta::assert_snapshot!(faults.join("\n"));
}

/// A file that is right.
fn right() -> Vec<u8> {
    file(
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F16","shape":[2,3],"data_offsets":[8,20]}}"#,
        20,
    )
}

proptest! {
    #![proptest_config(crate::cases::cases(2000))]

    /// Whatever is done to a file, it is refused, or its tensors are those that the library reads.
    #[test]
    fn no_change_is_believed(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(), whole in any::<bool>(),
    ) {
        let mut bytes = right();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if !whole {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(header) = Header::parse(&bytes) {
            let theirs = SafeTensors::deserialize(&bytes).unwrap();
            prop_assert_eq!(theirs.len(), header.tensors.len());
            for (name, info) in &header.tensors {
                let view = theirs.tensor(name).unwrap();
                prop_assert_eq!(view.shape(), &info.shape[..]);
            }
        }
    }

    /// Headers put together from pieces that mean something.
    #[test]
    fn no_header_panics(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"a\"", "\"dtype\"", "\"F32\"", "\"shape\"", "\"data_offsets\"", "0", "4",
            "18446744073709551615", "-1", "1e400", "null", "\"__metadata__\"", "\"\\ud800\"",
            r#""a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#, r#""b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}"#,
        ]), 0..12),
        data in 0_usize..16,
    ) {
        let bytes = file(&pieces.concat(), data);
        let _ = Header::parse(&bytes);
        let bytes = file(&format!("{{{}}}", pieces.concat()), data);
        let _ = Header::parse(&bytes);
    }
}
