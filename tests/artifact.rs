//! Files: pictures, latents, and how they are written.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Error, ErrorKind};

use proptest::prelude::*;
use sega::artifact::{ArtifactError, Existing, Picture, latents, may_write, png, write_atomically};

fn picture() -> Picture {
    Picture { width: 3, height: 2, rgb: (0..18).map(|value| value * 13).collect() }
}

proptest! {
    #![proptest_config(crate::cases::cases(256))]

    #[test]
    fn any_recipe_survives_in_a_picture(text in "\\PC{0,400}(\n\\PC{0,40}){0,5}") {
        let bytes = png::encode(&picture(), &text).unwrap();
        prop_assert_eq!(png::recipe(&bytes).unwrap(), Some(text));
    }
}

#[test]
fn pixels_survive() {
    let bytes = png::encode(&picture(), "sega 1\n").unwrap();
    let mut reader = ::png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((info.width, info.height), (3, 2));
    assert_eq!(pixels, picture().rgb);
}

#[test]
fn a_picture_without_a_recipe_says_so() {
    let mut bytes = Vec::new();
    let mut encoder = ::png::Encoder::new(&mut bytes, 1, 1);
    encoder.set_color(::png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&[1, 2, 3]).unwrap();
    assert_eq!(png::recipe(&bytes).unwrap(), None);
    assert!(png::recipe(b"no picture").is_err());
}

#[test]
fn levels_round_to_nearest_and_halves_to_even() {
    let planes = [0.0, 0.5 / 255.0, 1.0, 1.5 / 255.0, 2.0, -1.0];
    let picture = Picture::from_planes(2, 1, &planes);
    assert_eq!(picture.rgb, [0, 255, 255, 0, 2, 0]);
}

#[test]
fn latents_are_a_tensor() {
    let bytes = latents([1, 2, 1, 2], &[1.0, 2.0, 3.0, -4.0]).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensor = tensors.tensor("latents").unwrap();
    assert_eq!(tensor.shape(), [1, 2, 1, 2]);
    assert_eq!(tensor.data()[12..], (-4.0f32).to_le_bytes());
    assert!(latents([1, 2, 2, 2], &[1.0]).is_err());
}

#[test]
fn a_failed_write_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    fs::write(&path, "before").unwrap();
    for (kind, full) in [(ErrorKind::StorageFull, true), (ErrorKind::Other, false)] {
        let error = write_atomically(&path, Existing::Replace, |file| {
            file.write_all(b"half")?;
            Err(Error::from(kind))
        })
        .unwrap_err();
        assert_eq!(matches!(error, ArtifactError::Full { .. }), full);
        assert!(error.to_string().contains("a.png"));
        assert_eq!(fs::read(&path).unwrap(), b"before");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

#[test]
fn existing_files_are_kept_or_replaced_as_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    write_atomically(&path, Existing::Keep, |file| file.write_all(b"1")).unwrap();
    let error = write_atomically(&path, Existing::Keep, |file| file.write_all(b"2")).unwrap_err();
    assert!(matches!(error, ArtifactError::Exists { .. }));
    assert_eq!(fs::read(&path).unwrap(), b"1");
    write_atomically(&path, Existing::Replace, |file| file.write_all(b"3")).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"3");
    assert!(may_write(&path, Existing::Replace).is_ok());
    let nowhere = folder.path().join("nowhere/a.png");
    assert!(matches!(may_write(&nowhere, Existing::Keep), Err(ArtifactError::NoFolder { .. })));
}

#[test]
#[cfg(unix)]
fn a_new_file_is_readable_as_any_other() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (ours, usual) = (folder.path().join("ours"), folder.path().join("usual"));
    write_atomically(&ours, Existing::Keep, |file| file.write_all(b"1")).unwrap();
    fs::write(&usual, "1").unwrap();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&ours), mode(&usual));
    fs::set_permissions(&usual, fs::Permissions::from_mode(0o600)).unwrap();
    write_atomically(&usual, Existing::Replace, |file| file.write_all(b"2")).unwrap();
    assert_eq!(mode(&usual) & 0o777, 0o600);
}
