//! The preview page's server, asked as browsers and others ask.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use super::{RECIPE, Watch};

/// A watch with its page, and the page's port.
fn served(recipe: &str) -> (Watch, u16) {
    served_keeping(recipe, "1024")
}

/// The same, which keeps at most so many MiB.
pub(super) fn served_keeping(recipe: &str, keep: &str) -> (Watch, u16) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.sega"), recipe).unwrap();
    let watch = Watch::begin(folder, &["a.sega", "--keep", keep]);
    let address = watch.event("serving")["address"].as_str().unwrap().to_owned();
    let port = address.trim_start_matches("http://127.0.0.1:").trim_end_matches('/').parse().unwrap();
    (watch, port)
}

/// What the server answers: status, headers, body.
pub(super) fn ask(port: u16, method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let host = format!("127.0.0.1:{port}");
    let own = if headers.iter().any(|(name, _)| *name == "Host") { vec![] } else { vec![("Host", host.as_str())] };
    let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n");
    for (name, value) in own.iter().chain(headers) {
        request += &format!("{name}: {value}\r\n");
    }
    stream.write_all((request + "\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head, answer[end + 4..].to_vec())
}

/// The next views that are sent, one after the other.
pub(super) fn views(port: u16) -> impl Iterator<Item = serde_json::Value> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(super::PATIENCE)).unwrap();
    write!(stream, "GET /events HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n").unwrap();
    BufReader::new(stream)
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| Some(serde_json::from_str(line.strip_prefix("data: ")?).unwrap()))
}

#[test]
fn the_page_and_its_parts() {
    let (_watch, port) = served(RECIPE);
    for (path, kind, word) in [
        ("/", "text/html", "<!doctype html>"),
        ("/page.css", "text/css", "--accent"),
        ("/page.js", "text/javascript", "EventSource"),
        ("/icon.svg", "image/svg+xml", "<svg"),
    ] {
        let (status, head, body) = ask(port, "GET", path, &[]);
        assert_eq!(status, 200, "{path}");
        assert!(head.contains(&format!("content-type: {kind}")), "{head}");
        assert!(head.contains("content-security-policy: default-src 'none'"), "{head}");
        assert!(String::from_utf8_lossy(&body).contains(word), "{path}");
    }
}

#[test]
fn only_pages_of_this_computer_are_answered() {
    let (_watch, port) = served(RECIPE);
    let own = format!("http://127.0.0.1:{port}");
    for path in ["/", "/events", "/picture/1"] {
        assert_eq!(ask(port, "GET", path, &[("Host", "example.org")]).0, 403, "{path}");
        assert_eq!(ask(port, "GET", path, &[("Host", "127.0.0.1:1")]).0, 403, "{path}");
        assert_eq!(ask(port, "GET", path, &[("Origin", "http://example.org")]).0, 403, "{path}");
        assert_eq!(ask(port, "GET", path, &[("Origin", "null")]).0, 403, "{path}");
    }
    assert_eq!(ask(port, "GET", "/", &[("Origin", &own)]).0, 200);
    assert_eq!(ask(port, "POST", "/ask/pause", &[("Origin", "http://example.org")]).0, 403);
    assert_eq!(ask(port, "POST", "/ask/pause", &[("Origin", &own)]).0, 204);
    assert_eq!(ask(port, "GET", "/ask/pause", &[]).0, 405);
}

#[test]
fn no_file_is_within_reach() {
    let (watch, port) = served(RECIPE);
    watch.event("rendered");
    for path in ["/a.sega", "/a.png", "/../a.sega", "/picture/../a.sega", "/picture/%2e%2e%2fa.sega", "/picture/a.png"]
    {
        let (status, _, body) = ask(port, "GET", path, &[]);
        assert!((400..500).contains(&status), "{path}: {status}");
        assert!(!String::from_utf8_lossy(&body).contains("portrait"), "{path}");
    }
}

#[test]
fn the_page_sees_what_happens() {
    let (watch, port) = served(RECIPE);
    watch.event("rendered");
    let mut views = views(port);
    let recipe = |view: &serde_json::Value| view["recipes"][0].clone();
    let first = recipe(&views.find(|view| view["recipes"][0]["standing"] == "done").unwrap());
    let picture = &first["pictures"][0];
    assert_eq!(
        (&picture["seed"], &picture["step"], &picture["previous"]),
        (&42.into(), &8.into(), &serde_json::Value::Null)
    );
    assert_eq!(picture["effects"][0]["name"], "glasses");
    let fetch = |id: &serde_json::Value| ask(port, "GET", &format!("/picture/{id}"), &[]);
    let (status, head, png) = fetch(&picture["current"]["id"]);
    assert!(status == 200 && head.contains("content-type: image/png"), "{head}");
    assert_eq!(png, watch.picture());
    assert_eq!(fetch(&picture["effects"][0]["image"]["id"]).0, 200);

    // An edit that takes long enough: a preview at least, then the picture beside the one before.
    watch.write(&RECIPE.replace("strength 5", "strength 9").replace("steps   8", "steps 600"));
    let previewed = recipe(&views.find(|view| !view["recipes"][0]["pictures"][0]["preview"].is_null()).unwrap());
    assert_eq!(previewed["standing"], "rendering");
    assert_eq!(previewed["changes"][0]["what"], "steps");
    assert_eq!(previewed["changes"][1]["what"], "glasses.strength");
    let done = |view: &serde_json::Value| !view["recipes"][0]["pictures"][0]["previous"].is_null();
    let after = recipe(&views.find(done).unwrap());
    assert_eq!(after["pictures"][0]["previous"], first["pictures"][0]["current"]);
    assert_eq!(after["pictures"][0]["resumed"], 0);

    // A mistake, over the last picture; mended, it is gone.
    watch.write(&RECIPE.replace("strength", "strenght"));
    let broken = recipe(&views.find(|view| !view["recipes"][0]["problem"].is_null()).unwrap());
    let mistake = &broken["problem"]["diagnostics"][0];
    assert!(mistake["source_line"].as_str().unwrap().contains("strenght"), "{mistake}");
    assert_eq!(broken["pictures"][0]["current"], after["pictures"][0]["current"]);
    watch.write(RECIPE);
    views.find(|view| view["recipes"][0]["problem"].is_null()).unwrap();
}

#[test]
fn buttons_do_what_keys_do() {
    let (watch, port) = served(RECIPE);
    watch.event("rendered");
    assert_eq!(ask(port, "POST", "/ask/keep/0", &[]).0, 204);
    assert_eq!(watch.event("kept")["file"], "a-kept-1.png");
    assert_eq!(std::fs::read(watch.path("a-kept-1.png")).unwrap(), watch.picture());
    assert_eq!(ask(port, "POST", "/ask/keep/0", &[]).0, 204);
    assert_eq!(watch.event("kept")["file"], "a-kept-2.png");
    assert_eq!(ask(port, "POST", "/ask/pause", &[]).0, 204);
    watch.event("state");
    watch.write(&RECIPE.replace("strength 5", "strength 6"));
    std::thread::sleep(std::time::Duration::from_millis(700));
    assert!(watch.events.try_iter().all(|event| event["event"] != "rendered"));
    assert_eq!(ask(port, "POST", "/ask/pause", &[]).0, 204);
    watch.event("rendered");
    assert_eq!(ask(port, "POST", "/ask/again/0", &[]).0, 204);
    assert_eq!(watch.event("rendered")["unchanged"], true);
    assert_eq!(ask(port, "POST", "/ask/format", &[]).0, 404);
}

/// Warnings are of the picture that is shown: they stay until the next one begins.
#[test]
fn warnings_stay_with_their_picture() {
    let (watch, port) = served(&RECIPE.replace("seed    42", "seed    [1, 2]"));
    let warnings = || views(port).next().unwrap()["recipes"][0]["warnings"].clone();
    (0..2).for_each(|_| drop(watch.event("rendered")));
    let of_size = warnings();
    assert!(of_size.as_array().is_some_and(|all| all.len() == 1), "{of_size}");
    assert_eq!(ask(port, "POST", "/ask/pause", &[]).0, 204);
    watch.event("state");
    watch.write("broken");
    watch.event("broken");
    watch.write(&RECIPE.replace("strength 5", "strength 6"));
    watch.event("mended");
    assert_eq!(warnings(), of_size);
    assert_eq!(ask(port, "POST", "/ask/pause", &[]).0, 204);
    watch.event("rendered");
    assert_eq!(warnings(), of_size);
}

/// The address is the same, unless somebody else had the port at one of the two times: then it is tried elsewhere.
#[test]
fn a_page_finds_the_program_again() {
    let is_found = |_| {
        let (mut watch, port) = served(RECIPE);
        watch.event("rendered");
        let instance = views(port).next().unwrap()["instance"].clone();
        watch.interrupt();
        let (mut child, events) = super::spawn(&watch.folder, &["a.sega"]);
        let address = super::wait(&events, "serving")["address"].clone();
        let same = address == format!("http://127.0.0.1:{port}/");
        assert!(!same || views(port).next().unwrap()["instance"] != instance);
        child.kill().unwrap();
        child.wait().unwrap();
        same
    };
    assert!((0..3).any(is_found));
}

/// After an undo the picture has the number that it had: a page that has seen it need not fetch it again. And all is told
/// at once: no view between the two.
#[test]
fn an_undo_shows_what_the_page_has_already() {
    let (watch, port) = served(RECIPE);
    watch.event("rendered");
    let stronger = RECIPE.replace("strength 5", "strength 9");
    let mut views = views(port);
    let mut shown = |text: &str| {
        watch.write(text);
        watch.event("rendered");
        let strength = text.split("strength ").nth(1).unwrap()[..1].to_owned();
        let told = |view: &serde_json::Value| {
            let recipe = &view["recipes"][0];
            recipe["standing"] == "done" && recipe["changes"][0]["after"] == strength
        };
        let mut before = 0;
        let view = views.by_ref().inspect(|_| before += 1).find(told).unwrap();
        let picture = &view["recipes"][0]["pictures"][0];
        ((picture["current"]["id"].clone(), picture["previous"]["id"].clone()), before)
    };
    let ((edited, original), _) = shown(&stronger);
    let ((undone, previous), _) = shown(RECIPE);
    assert_eq!((&undone, &previous), (&original, &edited));
    let ((redone, previous), before) = shown(&stronger);
    assert_eq!((&redone, &previous), (&edited, &original));
    assert_eq!(before, 1, "views before the one with the picture");
}
