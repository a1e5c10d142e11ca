//! Answers that no hub gives: whatever they are, there is a message, or a file that is what its checksum says.

use std::ops::ControlFlow;

use proptest::prelude::*;
use sega::model::hub::{Hub, HubError, HubId, Progress, Wanted};

use super::server::Behaviour;
use super::{FULL, HALF, Scene, repository};

/// Fetches a model by a hub that answers so. A second attempt is not waited for.
fn fetch(scene: &Scene, wanted: Wanted) -> Result<(), HubError> {
    let settings = scene.impatient();
    let mut watch = |progress: Progress<'_>| match progress {
        Progress::Retrying { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    Hub::new(&settings).get(&HubId::parse("owner/name").unwrap(), wanted, &mut watch).map(drop)
}

/// Whatever came of it, the cache is sound, and with right answers the model comes.
fn check(scene: &Scene, result: Result<(), HubError>) {
    if let Err(error) = result {
        assert!(!error.to_string().is_empty());
    }
    scene.assert_sound();
    scene.server.behave(|_| Behaviour::Right);
    scene.get("owner/name", FULL).unwrap();
    scene.assert_sound();
}

/// Lists of files put together from pieces that mean something.
fn listing() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "null",
        "-1",
        "1e999",
        "\"sha\"",
        "\"0123456789abcdef0123456789abcdef01234567\"",
        "\"siblings\"",
        "\"rfilename\"",
        "{\"rfilename\": \"unet/config.json\"}",
        "{\"rfilename\": \"../../etc/passwd\"}",
        "{\"rfilename\": \"/etc/passwd\"}",
        "{\"rfilename\": \"unet//config.json\"}",
        "{\"rfilename\": \"\\ud800\"}",
        "{\"rfilename\": 7}",
        "\u{0}",
    ]);
    let names = prop::collection::vec("[a-z./\\\\]{0,12}", 0..4).prop_map(|names| {
        let files: Vec<_> = names.iter().map(|name| serde_json::json!({ "rfilename": name })).collect();
        serde_json::json!({ "sha": super::COMMIT, "siblings": files }).to_string()
    });
    prop_oneof![prop::collection::vec(pieces, 0..10).prop_map(|pieces| pieces.concat()), names]
}

proptest! {
    #![proptest_config(crate::cases::cases(40))]

    /// The n-th answer, of whatever kind, has some of its bytes changed, in the head or in the body, or breaks off.
    #[test]
    fn answers_with_wrong_bytes(
        number in 0_usize..24,
        changes in prop::collection::vec((0_usize..600, any::<u8>()), 0..4),
        end in prop::option::of(0_usize..2000),
    ) {
        let scene = Scene::new(repository());
        let mut count = 0;
        scene.server.behave(move |_| {
            count += 1;
            if count == number + 1 { Behaviour::Changed(changes.clone(), end) } else { Behaviour::Right }
        });
        let result = fetch(&scene, HALF);
        check(&scene, result);
    }

    /// Every answer has changed bytes.
    #[test]
    fn nothing_but_wrong_bytes(changes in prop::collection::vec((0_usize..400, any::<u8>()), 1..3)) {
        let scene = Scene::new(repository());
        scene.server.behave(move |_| Behaviour::Changed(changes.clone(), None));
        let result = fetch(&scene, FULL);
        check(&scene, result);
    }

    #[test]
    fn lists_of_nonsense(listing in listing()) {
        let scene = Scene::new(repository());
        scene.server.behave(move |request| {
            if request.path.contains("/revision/") { Behaviour::Answer(listing.clone()) } else { Behaviour::Right }
        });
        let result = fetch(&scene, FULL);
        check(&scene, result);
        // Nothing has left the cache.
        let here: Vec<_> = std::fs::read_dir(scene.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        prop_assert_eq!(here, ["hub"]);
    }

    /// Redirects to anywhere, and headers of any kind.
    #[test]
    fn redirects_to_nowhere(status in prop::sample::select(vec![200_u16, 204, 206, 301, 302, 303, 307, 308, 400, 418, 599, 999]), to in prop::sample::select(vec![
        "Location: \r\n", "Location: //\r\n", "Location: /\r\n", "Location: ftp://x/\r\n", "Location: http://\r\n", "Location: http://[::\r\n",
        "Location: http://127.0.0.1:1/\r\n", "Location: ../x\r\n", "Location: \u{1}\r\n", "Content-Range: bytes 5-\r\n", "Content-Range: bytes 99999999999999999999-\r\n",
        "Content-Range: x\r\n", "ETag: ../../x\r\n", "ETag: \"\"\r\n", "X-Linked-Size: -1\r\nX-Linked-Etag: a\r\n", "X-Linked-Size: 18446744073709551615\r\nX-Linked-Etag: a\r\n",
        "Retry-After: 99999999999\r\n", "\r\n", ": \r\n", "",
    ]), files in any::<bool>()) {
        let scene = Scene::new(repository());
        scene.server.behave(move |request| {
            if request.path.contains("/revision/") != files { Behaviour::Status(status, to) } else { Behaviour::Right }
        });
        let result = fetch(&scene, FULL);
        check(&scene, result);
    }
}
