//! Files that change, go and come, in all the ways that editors and others know.

use std::fs;
use std::io::Write;
use std::time::{Duration, SystemTime};

use super::{RECIPE, Watch, spawn, wait};

#[test]
fn a_deleted_recipe_may_come_back() {
    let watch = Watch::new(RECIPE);
    watch.event("rendered");
    fs::remove_file(watch.path("a.sega")).unwrap();
    watch.event("missing");
    assert!(watch.path("a.png").exists());
    watch.write(&RECIPE.replace("strength 5", "strength 6"));
    watch.event("mended");
    assert_eq!(watch.event("rendered")["resumed_at"], 4);
}

#[test]
fn a_deleted_folder_may_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("a.sega"), RECIPE).unwrap();
    let watch = Watch::begin(folder, &["inner/a.sega", "--no-page"]);
    watch.event("rendered");
    fs::remove_dir_all(&inner).unwrap();
    watch.event("missing");
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("a.sega"), RECIPE.replace("strength 5", "strength 6")).unwrap();
    watch.event("rendered");
    // The new folder is watched as the old one was.
    fs::write(inner.join("a.sega"), RECIPE.replace("strength 5", "strength 7")).unwrap();
    watch.event("rendered");
}

#[test]
#[cfg(unix)]
fn editors_save_in_many_ways() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("real")).unwrap();
    fs::write(folder.path().join("real/recipe"), RECIPE).unwrap();
    std::os::unix::fs::symlink("real/recipe", folder.path().join("a.sega")).unwrap();
    let watch = Watch::begin(folder, &["a.sega", "--no-page"]);
    watch.event("rendered");
    let with = |strength: u32| RECIPE.replace("strength 5", &format!("strength {strength}"));
    let changed_to = |strength: u32| {
        let event = watch.event("rendered");
        assert_eq!(event["changes"][0]["after"], strength.to_string(), "{event}");
    };
    // Through the link, in place.
    watch.write_in_place(&with(6));
    changed_to(6);
    // The link's target is replaced by another file of its name, as sed and vim do.
    fs::write(watch.path("real/recipe.new"), with(7)).unwrap();
    fs::rename(watch.path("real/recipe.new"), watch.path("real/recipe")).unwrap();
    changed_to(7);
    // The link itself is replaced by a file.
    watch.write(&with(8));
    changed_to(8);
    // The old file is moved out of the way first, as emacs does.
    fs::rename(watch.path("a.sega"), watch.path("a.sega~")).unwrap();
    watch.write_in_place(&with(9));
    changed_to(9);
}

#[test]
fn a_folder_of_recipes_and_what_comes_into_it() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.sega"), RECIPE).unwrap();
    fs::write(folder.path().join("b.sega"), RECIPE.replace("42", "[1, 2]")).unwrap();
    let watch = Watch::begin(folder, &[".", "--no-page"]);
    for name in ["a.sega", "b.sega", "b.sega"] {
        assert_eq!(watch.event("rendered")["recipe"], name);
    }
    fs::write(watch.path("c.sega"), RECIPE.replace("steps   8", "steps 5")).unwrap();
    assert_eq!(watch.event("rendered")["recipe"], "c.sega");
    // One that comes with mistakes; nothing of it stays, as there is nothing yet.
    fs::write(watch.path("d.sega"), "sega 1\n").unwrap();
    let broken = watch.event("broken");
    assert_eq!((&broken["recipe"], broken["message"].as_str().unwrap().contains("stays")), (&"d.sega".into(), false));
    fs::write(watch.path("d.sega"), RECIPE.replace("steps   8", "steps 4")).unwrap();
    assert_eq!(watch.event("mended")["recipe"], "d.sega");
    assert_eq!(watch.event("rendered")["steps"], 4);
    fs::remove_file(watch.path("d.sega")).unwrap();
    assert_eq!(watch.event("missing")["recipe"], "d.sega");
    let pictures: Vec<String> = watch.files().into_iter().filter(|name| name.ends_with(".png")).collect();
    assert_eq!(pictures, ["a.png", "b-1.png", "b-2.png", "c.png", "d.png"]);
}

#[test]
fn two_watchers_agree() {
    let watch = Watch::new(RECIPE);
    let (mut child, events) = spawn(&watch.folder, &["a.sega", "--no-page"]);
    for strength in ["5", "6", "7"] {
        let text = RECIPE.replace("strength 5", &format!("strength {strength}"));
        watch.write(&text);
        watch.event("rendered");
        wait(&events, "rendered");
        assert_eq!(watch.picture(), watch.run(&text));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// What no event tells of, as on a network mount: the recipe's folder is behind a link, which leads elsewhere now.
#[test]
#[cfg(unix)]
fn what_nobody_tells_of_is_found_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    for (name, strength) in [("old", 5), ("new", 6)] {
        fs::create_dir_all(folder.path().join(name).join("inner")).unwrap();
        let text = RECIPE.replace("strength 5", &format!("strength {strength}"));
        fs::write(folder.path().join(name).join("inner/a.sega"), text).unwrap();
    }
    std::os::unix::fs::symlink("old", folder.path().join("now")).unwrap();
    let watch = Watch::begin(folder, &["now/inner/a.sega", "--no-page"]);
    watch.event("rendered");
    std::os::unix::fs::symlink("new", watch.path("next")).unwrap();
    fs::rename(watch.path("next"), watch.path("now")).unwrap();
    assert_eq!(watch.event("rendered")["changes"][0]["after"], "6");
    assert!(watch.path("new/inner/a.png").exists());
    // The folder that it leads to is watched from now on.
    fs::write(watch.path("new/inner/a.sega"), RECIPE).unwrap();
    assert_eq!(watch.event("rendered")["changes"][0]["after"], "5");
}

/// A clock that was put back or forward, so that what is newer looks older.
#[test]
fn times_mean_nothing() {
    let watch = Watch::new(RECIPE);
    watch.event("rendered");
    let day = Duration::from_secs(24 * 60 * 60);
    for (strength, time) in
        [("6", SystemTime::UNIX_EPOCH), ("7", SystemTime::now() + 999 * day), ("8", SystemTime::now() - day)]
    {
        let new = fs::File::create(watch.path("new")).unwrap();
        (&new).write_all(RECIPE.replace("strength 5", &format!("strength {strength}")).as_bytes()).unwrap();
        new.set_modified(time).unwrap();
        drop(new);
        fs::rename(watch.path("new"), watch.path("a.sega")).unwrap();
        assert_eq!(watch.event("rendered")["changes"][0]["after"], strength);
    }
    // A time alone is no change.
    fs::File::options().write(true).open(watch.path("a.sega")).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    std::thread::sleep(Duration::from_millis(700));
    assert!(watch.events.try_iter().all(|event| event["event"] != "rendered"));
}

#[test]
fn several_recipes_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.sega"), RECIPE).unwrap();
    fs::write(folder.path().join("b.sega"), RECIPE.replace("woman", "man")).unwrap();
    let watch = Watch::begin(folder, &["a.sega", "b.sega", "--no-page"]);
    for name in ["a.sega", "b.sega"] {
        assert_eq!(watch.event("rendered")["recipe"], name);
    }
    let text = RECIPE.replace("woman", "man").replace("strength 5", "strength 6");
    fs::write(watch.path("b.sega"), &text).unwrap();
    let event = watch.event("rendered");
    assert_eq!((&event["recipe"], &event["resumed_at"]), (&"b.sega".into(), &4.into()));
    assert_eq!(watch.picture(), watch.run(RECIPE));
    assert_eq!(fs::read(watch.path("b.png")).unwrap(), watch.run(&text));
}
