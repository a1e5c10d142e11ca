//! How attributes depend on one another: which a portrait shows, and which may rightly change with an edit.

use crate::oracle::Vocabulary;

/// The attributes that belong to an attribute: an edit of the one may change the others, and that is no fault.
fn related(group: &str) -> &'static [&'static str] {
    match group {
        // Caps, beanies and scarves have one colour, and a hat covers hair.
        "hat" => &["accent", "hair", "hair_colour"],
        "scarf" => &["accent"],
        "hair" | "beard" => &["hair_colour"],
        "place" => &["plain_colour"],
        "style" => &["clothes", "hair_colour", "accent", "lipstick", "plain_colour", "fur"],
        _ => &[],
    }
}

/// Whether a portrait with these logits shows an attribute at all.
fn shows(vocabulary: &Vocabulary, logits: &[f32], group: &str) -> bool {
    let value = |group| vocabulary.value(logits, group);
    let person = || matches!(value("subject"), "woman" | "man");
    let coloured = || value("style") == "none";
    match group {
        "hair" => person(),
        "clothes" | "lipstick" => coloured(),
        "hair_colour" => coloured() && (value("beard") == "yes" || person() && value("hair") != "bald"),
        "accent" => coloured() && (value("scarf") == "yes" || matches!(value("hat"), "cap" | "beanie")),
        "plain_colour" => coloured() && value("place") == "plain",
        "fur" => coloured() && matches!(value("subject"), "cat" | "dog"),
        _ => true,
    }
}

/// The attributes that an edit of `edited` should leave and that show both before and after: each, and whether it stayed
/// as it was.
pub(crate) fn others<'v>(
    vocabulary: &'v Vocabulary,
    before: &[f32],
    after: &[f32],
    edited: &[&str],
) -> Vec<(&'v str, bool)> {
    let free = |group: &str| edited.iter().any(|edited| *edited == group || related(edited).contains(&group));
    let shown = |group: &str| shows(vocabulary, before, group) && shows(vocabulary, after, group);
    let stayed = |group: &str| vocabulary.value(before, group) == vocabulary.value(after, group);
    let compared = vocabulary.groups().filter(|group| !free(group) && shown(group));
    compared.map(|group| (group, stayed(group))).collect()
}
