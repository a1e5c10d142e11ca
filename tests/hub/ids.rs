//! Names of models.

use sega::model::hub::HubId;

#[test]
fn ids_are_told_from_paths() {
    let parse = |text: &str| HubId::parse(text).map(|id| (id.repository(), id.revision().to_owned(), id.file));
    let id = |revision: &str, file: Option<&str>| {
        Some(("owner/name".to_owned(), revision.to_owned(), file.map(str::to_owned)))
    };
    assert_eq!(parse("owner/name"), id("main", None));
    assert_eq!(parse("owner/name@v1.0"), id("v1.0", None));
    assert_eq!(parse("owner/name@refs/pr/3"), id("refs/pr/3", None));
    assert_eq!(parse("owner/name/a/b.safetensors"), id("main", Some("a/b.safetensors")));
    assert_eq!(parse("owner/name@v1/b.safetensors"), id("v1", Some("b.safetensors")));
    for path in [
        "",
        "mini",
        "/owner/name",
        "./owner/name",
        "../owner/name",
        "owner/../name",
        "owner/",
        "/",
        "a/b/c",
        "models/a.safetensors",
        "models/a.ckpt",
        "owner/name@",
        "owner/name@../x",
        "owner/name@a/../b.safetensors",
        "owner/name/../b.safetensors",
        "ow ner/name",
        "owner/name?x",
        "owner/name@a?b",
        "C:\\a/b",
        "owner/na--me",
    ] {
        assert_eq!(parse(path), None, "{path}");
    }
    for text in ["owner/name@v1/b.safetensors", "owner/name"] {
        assert_eq!(HubId::parse(text).unwrap().to_string(), text);
    }
}
