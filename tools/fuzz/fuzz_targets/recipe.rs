//! Recipes: mistakes with their places, or a recipe that its canonical form does not change.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sega::recipe;
use sega::source::Source;
use sega::syntax::format::format;

fuzz_target!(|text: &str| {
    let source = Source::new("a.sega", text);
    let checked = recipe::parse(&source);
    for diagnostic in checked.diagnostics.iter().flatten() {
        assert!(diagnostic.span().end <= text.len());
    }
    if checked.recipe.is_some() {
        let formatted = format(&checked.file, &source).expect("it can be read, but not formatted");
        let again = Source::new("a.sega", &formatted);
        let twice = recipe::parse(&again);
        assert!(twice.recipe.is_some(), "the canonical form is broken: {formatted}");
        assert_eq!(format(&twice.file, &again).expect("it can be read, but not formatted"), formatted);
    }
});
