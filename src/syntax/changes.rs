//! What an edit changed, setting by setting. Comments, layout and the order of blocks are not changes.

use super::{Block, Entry, File, Literal, Setting, Value};
use crate::source::Source;

/// One difference between two recipes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The address of a setting (`steps`, `glasses.strength`), or the kind and name of a block (`plus glasses`).
    pub what: String,
    /// The value before, as it was written; `None` where it was not.
    pub before: Option<String>,
    /// The value now, as it is written; `None` where it is not.
    pub after: Option<String>,
}

/// A tree and the text that it is of.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    /// The tree.
    pub file: &'a File,
    /// Its source.
    pub source: &'a Source,
}

/// The differences between two recipes, in the order of the later one; what is gone stands at the end.
pub fn changes(before: Text<'_>, after: Text<'_>) -> Vec<Change> {
    let mut found = settings("", (&before.file.entries, before.source), (&after.file.entries, after.source));
    let (old, new) = (blocks(&before.file.entries), blocks(&after.file.entries));
    let mut matched = vec![false; old.len()];
    // By name first: what has kept its name is the same concept.
    let mut partner: Vec<Option<usize>> = (new.iter())
        .map(|block| take(&mut matched, |at| name(old[at]).is_some() && name(old[at]) == name(block)))
        .collect();
    // What says the same under another name was renamed.
    for (block, partner) in new.iter().zip(&mut partner).filter(|(_, partner)| partner.is_none()) {
        *partner = take(&mut matched, |at| same_content(old[at], block));
    }
    for (block, partner) in new.iter().zip(partner) {
        match partner {
            Some(at) => block_changes(&mut found, (old[at], before.source), (block, after.source)),
            None => found.push(Change { what: title(block), before: None, after: Some(texts(block, after.source)) }),
        }
    }
    let gone = old.iter().zip(&matched).filter(|(_, matched)| !**matched);
    found.extend(gone.map(|(block, _)| Change {
        what: title(block),
        before: Some(texts(block, before.source)),
        after: None,
    }));
    found
}

/// The first that is not taken and fits; takes it.
fn take(taken: &mut [bool], fits: impl Fn(usize) -> bool) -> Option<usize> {
    let at = (0..taken.len()).find(|&at| !taken[at] && fits(at))?;
    taken[at] = true;
    Some(at)
}

fn block_changes(found: &mut Vec<Change>, (old, before): (&Block, &Source), (new, after): (&Block, &Source)) {
    let mut change = |what: &str, from: String, to: String| {
        if from != to {
            found.push(Change { what: what.to_owned(), before: Some(from), after: Some(to) });
        }
    };
    let address = name(new).unwrap_or(&new.kind.value).to_owned();
    change("name", name(old).unwrap_or_default().to_owned(), name(new).unwrap_or_default().to_owned());
    change(&address, old.kind.value.clone(), new.kind.value.clone());
    change(&address, texts(old, before), texts(new, after));
    let body = |block: &'_ Block| block.body.clone().unwrap_or_default();
    found.extend(settings(&format!("{address}."), (&body(old), before), (&body(new), after)));
}

/// The changes among the settings of one level.
fn settings(prefix: &str, before: (&[Entry], &Source), after: (&[Entry], &Source)) -> Vec<Change> {
    let all = |entries: &[Entry]| -> Vec<Setting> {
        entries
            .iter()
            .filter_map(|entry| if let Entry::Setting(setting) = entry { Some(setting.clone()) } else { None })
            .collect()
    };
    let (old, new) = (all(before.0), all(after.0));
    let with_key = |settings: &[Setting], key: &str| settings.iter().find(|s| s.key.value == key).cloned();
    let mut found = Vec::new();
    for setting in &new {
        let earlier = with_key(&old, &setting.key.value);
        if earlier.as_ref().is_none_or(|earlier| earlier.values != setting.values) {
            found.push(Change {
                what: format!("{prefix}{}", setting.key.value),
                before: earlier.map(|earlier| written(&earlier.values, before.1)),
                after: Some(written(&setting.values, after.1)),
            });
        }
    }
    for setting in old.iter().filter(|setting| with_key(&new, &setting.key.value).is_none()) {
        found.push(Change {
            what: format!("{prefix}{}", setting.key.value),
            before: Some(written(&setting.values, before.1)),
            after: None,
        });
    }
    found
}

/// The blocks of a file.
fn blocks(entries: &[Entry]) -> Vec<&Block> {
    entries.iter().filter_map(|entry| if let Entry::Block(block) = entry { Some(block) } else { None }).collect()
}

/// A block's name.
fn name(block: &Block) -> Option<&str> {
    block.head.iter().find_map(|value| match &value.value {
        Literal::Word(word) => Some(word.as_str()),
        _ => None,
    })
}

/// A block's kind and name.
fn title(block: &Block) -> String {
    name(block).map_or_else(|| block.kind.value.clone(), |name| format!("{} {name}", block.kind.value))
}

/// What stands in a block's head beside its name.
fn texts(block: &Block, source: &Source) -> String {
    let others: Vec<Value> =
        block.head.iter().filter(|value| !matches!(value.value, Literal::Word(_))).cloned().collect();
    written(&others, source)
}

/// Whether two blocks differ in nothing but their names and comments.
fn same_content(a: &Block, b: &Block) -> bool {
    let head = |block: &Block| -> Vec<Literal> {
        block.head.iter().map(|v| v.value.clone()).filter(|value| !matches!(value, Literal::Word(_))).collect()
    };
    let body = |block: &Block| -> Vec<(String, Vec<Value>)> {
        let entries = block.body.iter().flatten();
        let mut settings: Vec<_> = entries
            .filter_map(|entry| match entry {
                Entry::Setting(setting) => Some((setting.key.value.clone(), setting.values.clone())),
                _ => None,
            })
            .collect();
        settings.sort_by(|a, b| a.0.cmp(&b.0));
        settings
    };
    a.kind.value == b.kind.value && head(a) == head(b) && body(a) == body(b)
}

/// Values as they are written, on one line, long ones cut short.
fn written(values: &[Value], source: &Source) -> String {
    const LONGEST: usize = 100;
    let text = values.iter().map(|value| source.slice(value.span)).collect::<Vec<_>>().join(" ");
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= LONGEST {
        return line;
    }
    format!("{}\u{2026}", line.chars().take(LONGEST - 1).collect::<String>())
}
