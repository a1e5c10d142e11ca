//! Edits as fast as the disk takes them, and ends at any moment.

#![allow(clippy::print_stdout)]

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sega::artifact::png;

use super::page::{ask, views};
use super::{PATIENCE, RECIPE, Watch};

/// Numbers that are the same in every run (Knuth's MMIX generator).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// A recipe: another strength, other steps, a comment, another seed, or one that breaks off anywhere.
    fn recipe(&mut self) -> String {
        match self.below(6) {
            0 => RECIPE.replace("strength 5", &format!("strength {}", 1 + self.below(19))),
            1 => RECIPE.replace("steps   8", &format!("steps {}", 9 + self.below(5))),
            2 => RECIPE.replace("seed    42", &format!("seed {}", self.below(9))),
            3 => format!("# {}\n{RECIPE}", self.below(1000)),
            _ => RECIPE[..self.below(RECIPE.len() as u64) as usize].to_owned(),
        }
    }
}

/// Saves in one of the ways of editors.
fn save(watch: &Watch, chance: &mut Chance, text: &str) {
    match chance.below(4) {
        0 => watch.write(text),
        1 => {
            fs::remove_file(watch.path("a.sega")).unwrap();
            watch.write_in_place(text);
        }
        _ => watch.write_in_place(text),
    }
}

/// Edits as fast as the disk takes them, valid and broken, with a reader at the page: the last valid one is what remains,
/// on disk and on the page, and nothing else.
fn storm(edits: u64) {
    let (mut watch, port) = super::page::served_keeping(RECIPE, "32");
    watch.event("rendered");
    let seen = Arc::new(Mutex::new(serde_json::Value::Null));
    let over = Arc::new(AtomicBool::new(false));
    let reader = {
        let (seen, over) = (seen.clone(), over.clone());
        std::thread::spawn(move || {
            let mut count = 0;
            for view in views(port).take_while(|_| !over.load(Ordering::Relaxed)) {
                *seen.lock().unwrap() = view;
                count += 1;
            }
            count
        })
    };
    let mut chance = Chance(edits);
    let mut measured = vec![resources(watch.child.id())];
    for edit in 0..edits {
        let text = chance.recipe();
        save(&watch, &mut chance, &text);
        // Now and then a hand rests, so that renders get to any of their steps.
        if chance.below(16) == 0 {
            std::thread::sleep(Duration::from_millis(chance.below(60)));
        }
        if (edit + 1) % (edits / 4) == 0 {
            measured.push(resources(watch.child.id()));
            let files = watch.files();
            assert!(files.len() <= 4, "{files:?}");
        }
    }
    // No other recipe has this seed.
    let last = RECIPE.replace("seed    42", "seed 4242");
    watch.write(&last);
    let ended = Instant::now();
    while watch.event("rendered")["seed"] != 4242 {}
    let waited = ended.elapsed();
    assert_eq!(watch.picture(), watch.run(&last));
    // Nothing comes after it.
    std::thread::sleep(Duration::from_millis(600));
    assert!(watch.events.try_iter().all(|event| event["event"] != "rendered"));
    measured.push(resources(watch.child.id()));

    // The page has it too.
    let until = Instant::now() + PATIENCE;
    let recipe = loop {
        let recipe = seen.lock().unwrap()["recipes"][0].clone();
        if recipe["standing"] == "done" && recipe["pictures"][0]["seed"] == 4242 {
            break recipe;
        }
        assert!(Instant::now() < until, "{recipe}");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(recipe["problem"], serde_json::Value::Null);
    let shown = ask(port, "GET", &format!("/picture/{}", recipe["pictures"][0]["current"]["id"]), &[]).2;
    assert_eq!(shown, watch.picture());
    over.store(true, Ordering::Relaxed);

    println!("{edits} edits; the last one's picture {} ms after it", waited.as_millis());
    for Resources { handles, threads, kib } in &measured {
        println!("{handles} handles, {threads} threads, {} MiB", kib / 1024);
    }
    let (first, end) = (&measured[0], &measured[measured.len() - 1]);
    assert!(end.handles <= first.handles + 3, "{} handles became {}", first.handles, end.handles);
    assert!(end.threads <= first.threads + 1, "{} threads became {}", first.threads, end.threads);
    // What is kept is at most 32 MiB; the rest is what a render and the allocator need.
    assert!(end.kib <= first.kib + 128 * 1024, "{} KiB became {}", first.kib, end.kib);
    assert_eq!(watch.interrupt(), Some(130));
    assert_eq!(watch.files(), ["a.png", "a.sega"]);
    println!("{} views were sent to the page", reader.join().unwrap());
}

/// What a process holds; nothing where the system does not tell.
struct Resources {
    handles: usize,
    threads: usize,
    /// The memory that it has in use.
    kib: usize,
}

fn resources(process: u32) -> Resources {
    let count = |what: &str| fs::read_dir(format!("/proc/{process}/{what}")).map_or(0, Iterator::count);
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    Resources { handles: count("fd"), threads: count("task"), kib: memory.unwrap_or(0) }
}

#[test]
#[cfg(unix)]
fn a_storm_of_edits() {
    storm(400);
}

#[test]
#[cfg(unix)]
#[ignore = "takes half a minute or more"]
fn ten_thousand_edits() {
    storm(10_000);
}

#[test]
#[cfg(unix)]
fn ended_at_any_moment_it_leaves_whole_files() {
    let mut chance = Chance(1);
    for _ in 0..6 {
        let mut watch = Watch::new(RECIPE);
        let until = Instant::now() + Duration::from_millis(chance.below(900));
        while Instant::now() < until {
            watch.write_in_place(&chance.recipe());
            std::thread::sleep(Duration::from_millis(chance.below(40)));
        }
        // It may not have come to a handler of its own yet.
        assert_ne!(watch.interrupt(), Some(0));
        let files = watch.files();
        assert!(files == ["a.sega"] || files == ["a.png", "a.sega"], "{files:?}");
        if files.len() == 2 {
            assert!(png::recipe(&watch.picture()).unwrap().is_some());
        }
    }
}
