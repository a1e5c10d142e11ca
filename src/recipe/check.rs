//! From the tree to the recipe, or to every mistake in it at once.

use std::collections::HashMap;

use super::concepts::{Around, ConceptDraft, check_together};
use super::fields::{COMPAT, FIELDS, Field, Level, Place, SWITCH};
use super::loras::{LORA, LoraDraft};
use super::pairs::pairs;
use super::scope::{Known, Scope, settings_behind};
use super::tags::check_tags;
use super::values::{Reader, first_line};
use super::{Recipe, Rule, suggest};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::model::training::{Prediction, SchedulerKind, Sigmas, Spacing};
use crate::quantity::{Beta, ClipSkip, Eta, GuidanceScale, Momentum, Seed, Steps};
use crate::source::{Source, Span, Spanned};
use crate::syntax::{self, Block, Entry, File, Literal, Setting, Value};

/// What checking a recipe gives.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The recipe; `None` if there is an error.
    pub recipe: Option<Recipe>,
    /// All errors and warnings; `None` if there are none.
    pub diagnostics: Option<Diagnostics>,
    /// The tree of the text.
    pub file: File,
}

impl Checked {
    /// The recipe with its warnings, or everything that is wrong.
    pub fn into_result(self) -> Result<(Recipe, Option<Diagnostics>), Diagnostics> {
        match (self.recipe, self.diagnostics) {
            (Some(recipe), diagnostics) => Ok((recipe, diagnostics)),
            (None, Some(diagnostics)) => Err(diagnostics),
            (None, None) => unreachable!("a recipe is missing only where an error says why"),
        }
    }
}

/// Reads and checks a recipe.
pub fn parse(source: &Source) -> Checked {
    let file = syntax::parse(source);
    let mut reader = Reader::new(source);
    let recipe = check(&mut reader, &file);
    let diagnostics = Diagnostics::new(reader.found);
    let sound = diagnostics.as_ref().is_none_or(|all| !all.has_errors());
    Checked { recipe: recipe.filter(|_| sound), diagnostics, file }
}

/// The whole file. The result is of use only if no error was reported.
fn check(reader: &mut Reader<'_>, file: &File) -> Option<Recipe> {
    let mut scope = Scope::default();
    if !check_edition(reader, file, &mut scope) {
        return None;
    }
    let blocks = gather(reader, file, &mut scope);
    check_required(reader, &scope);

    // Values come out as options where there is no default; absent and wrong are told apart by `valid`.
    let model = scope.read(reader, "model", Spanned::new(String::new(), Span::default()), |reader, field, value| {
        reader.text(field, value).map(|text| Spanned::new(text, value.span))
    });
    let vae = scope.read(reader, "vae", None, |reader, field, value| {
        reader.text(field, value).map(|text| Some(Spanned::new(text, value.span)))
    });
    let prompt = scope.read(reader, "prompt", String::new(), |reader, field, value| reader.text(field, value));
    let negative = scope.read(reader, "negative", String::new(), |reader, field, value| reader.text(field, value));
    let seeds = scope.read(reader, "seed", Vec::new(), |reader, field, value| reader.seeds(field, value));
    let size = scope.read(reader, "size", None, |reader, field, value| reader.size(field, value).map(Some));
    let clip_skip = scope.read(reader, "clip-skip", None, |reader, field, value| {
        ClipSkip::new(reader.count(field, value)?).ok().map(Some)
    });
    let scheduler = scope.read(reader, "scheduler", None, word(SchedulerKind::from_name));
    let eta =
        scope.read(reader, "eta", Eta::DEFAULT, |reader, field, value| Eta::new(reader.share(field, value)?).ok());
    let sigmas = scope.read(reader, "sigmas", None, word(Sigmas::from_name));
    let spacing = scope.read(reader, "spacing", None, word(Spacing::from_name));
    let prediction = scope.read(reader, "prediction", None, word(Prediction::from_name));
    let steps = scope
        .read(reader, "steps", Steps::DEFAULT, |reader, field, value| Steps::new(reader.count(field, value)?).ok());
    let guidance = scope.read(reader, "guidance", GuidanceScale::DEFAULT, |reader, field, value| {
        GuidanceScale::new(reader.real(field, value)?).ok()
    });
    let momentum = scope.read(reader, "momentum", Momentum::DEFAULT, |reader, field, value| {
        Momentum::new(reader.share(field, value)?).ok()
    });
    let beta =
        scope.read(reader, "beta", Beta::DEFAULT, |reader, field, value| Beta::new(reader.share(field, value)?).ok());
    let rule = scope.read(reader, "compat", Rule::Edition1, |reader, field, value| {
        reader.word(field, value).and_then(|word| COMPAT.contains(&word).then_some(Rule::Diffusers))
    });
    let overwrite = scope.read(reader, "overwrite", false, |reader, field, value| {
        reader.word(field, value).map(|word| word == SWITCH[1])
    });

    check_seeds(reader, &seeds.value);
    check_scheduler(reader, &scheduler, &eta, &sigmas, &spacing);
    let (mut drafts, mut loras) = (Vec::new(), Vec::new());
    for (block, line) in blocks {
        if block.kind.value == LORA {
            loras.push(LoraDraft::read(reader, block, line));
        } else {
            drafts.push(ConceptDraft::read(reader, block, line, &momentum, &beta));
        }
    }
    [prompt.span, negative.span].into_iter().flatten().for_each(|span| check_tags(reader, span));
    let around = Around { guidance: &guidance, steps: &steps, momentum: &momentum, beta: &beta, rule: &rule };
    check_together(reader, &drafts, &loras, &around);

    let concepts: Option<Vec<_>> = drafts.into_iter().map(ConceptDraft::finish).collect();
    Some(Recipe {
        model: model.value,
        vae: vae.value,
        prompt: prompt.value,
        negative: negative.value,
        seeds: seeds.value.into_iter().map(|(seed, _)| seed).collect(),
        clip_skip: clip_skip.value,
        size: size.value,
        scheduler: scheduler.value,
        eta: eta.value,
        sigmas: sigmas.value,
        spacing: spacing.value,
        prediction: prediction.value,
        steps: steps.value,
        guidance: guidance.value,
        rule: rule.value,
        overwrite: overwrite.value,
        loras: loras.into_iter().map(LoraDraft::finish).collect::<Option<_>>()?,
        concepts: concepts?,
    })
}

/// How [`Scope::read`] reads a word that names a `T`.
fn word<T>(
    from_name: impl Fn(&str) -> Option<T>,
) -> impl Fn(&mut Reader<'_>, &'static Field, &Value) -> Option<Option<T>> {
    move |reader, field, value| reader.word(field, value).map(&from_name)
}

/// Whether the file is written in an edition that can be read. Reports if not, or if `sega 1` is not its beginning.
fn check_edition(reader: &mut Reader<'_>, file: &File, scope: &mut Scope<'_>) -> bool {
    let start = Span::default();
    let mut entries = file.entries.iter().filter(|entry| !matches!(entry, Entry::Blank | Entry::Comment(_))).peekable();
    let Some(first) = entries.peek().copied() else {
        let help = "begin with three lines: `sega 1`, `model \"mini\"`, `prompt \"a portrait of a woman\"`";
        let message = "the recipe is empty";
        reader.report(Diagnostic::new(Code::MissingEdition, message).at(start, "nothing here yet").help(help));
        return false;
    };
    let edition = entries.find_map(|entry| match entry {
        Entry::Setting(setting) if setting.key.value == "sega" => Some(setting),
        _ => None,
    });
    if let Some(setting) = edition {
        let known = check_number(reader, setting);
        if known && !std::ptr::eq(first, entry_of(file, setting)) {
            let message = "`sega 1` is not the first line";
            let help = "move it to the top of the file";
            reader
                .report(Diagnostic::new(Code::MissingEdition, message).at(setting.span, "must come first").help(help));
        }
        return known;
    }
    let place = match first {
        Entry::Setting(setting) => setting.span,
        Entry::Block(block) => block.span,
        Entry::Junk(span) => *span,
        Entry::Comment(_) | Entry::Blank => start,
    };
    let keys = pairs(reader.source.slice(first_line(reader.source, place)), place.start, Level::Recipe);
    let misspelt = keys.first().is_some_and(|pair| {
        suggest::nearest(pair.key, ["sega"]).is_some() || suggest::setting(pair.key, Level::Recipe) == Some("sega")
    });
    if !misspelt {
        let message = "the recipe does not say its edition";
        let help = "make `sega 1` the first line of the file";
        let place = Span::new(place.start, place.start);
        reader.report(Diagnostic::new(Code::MissingEdition, message).at(place, "`sega 1` goes before this").help(help));
    }
    scope.excuse("sega");
    true
}

/// Whether the number of an edition allows to read on. Reports all but 1; a greater one means a language that is not
/// known here.
fn check_number(reader: &mut Reader<'_>, setting: &Setting) -> bool {
    let number = match &setting.values[..] {
        [only] => match &only.value {
            Literal::Number(number) => number.integer(),
            _ => None,
        },
        _ => None,
    };
    if number == Some(1) {
        return true;
    }
    let later = number.is_some_and(|number| number > 1);
    let written = reader.written(setting.span);
    let message = match setting.values.is_empty() {
        true => "the edition of the language is missing".to_owned(),
        false => format!("this program does not know the edition `{written}`"),
    };
    let help = match reader.one_by_one(setting.span) {
        _ if later => "this program reads `sega 1`; a later edition needs a later program".to_owned(),
        Some(line) => format!("write `{line}`"),
        None => "write `sega 1`".to_owned(),
    };
    let mark = first_line(reader.source, setting.span);
    reader.report(Diagnostic::new(Code::UnknownEdition, message).at(mark, "not edition 1").help(help));
    !later
}

/// The entry that holds a setting.
fn entry_of<'a>(file: &'a File, wanted: &Setting) -> &'a Entry {
    let holds = |entry: &&Entry| matches!(entry, Entry::Setting(setting) if std::ptr::eq(setting, wanted));
    file.entries.iter().find(holds).unwrap_or(&file.entries[0])
}

/// Sorts the file's entries into settings and blocks, each with all that belongs to its head; reports what is neither.
fn gather<'a>(reader: &mut Reader<'_>, file: &'a File, scope: &mut Scope<'a>) -> Vec<(&'a Block, Span)> {
    let mut blocks = Vec::new();
    // Inside of a concept whose text has no closing quotes and therefore swallowed the opening brace.
    let mut swallowed = false;
    let mut before: Option<&Entry> = None;
    let mut rest = &file.entries[..];
    while let [entry, behind @ ..] = rest {
        rest = behind;
        match entry {
            Entry::Setting(setting) => {
                let key = setting.key.value.as_str();
                let inner = Field::all(key).any(|field| field.place != Place::Recipe);
                if swallowed && inner {
                    reader.broken(&setting.values);
                } else {
                    swallowed = false;
                    rest = &behind[scope.add(reader, setting, behind)..];
                }
            }
            Entry::Block(block) => {
                swallowed = swallows_brace(block);
                let kind = block.kind.value.as_str();
                let shape_of_setting = block.body.is_none()
                    && !matches!(kind, "plus" | "minus" | LORA)
                    && suggest::block_synonym(kind).is_none()
                    && suggest::nearest(kind, ["plus", "minus"]).is_none();
                if shape_of_setting {
                    scope.misread(reader, block);
                } else {
                    let (count, line) = settings_behind(reader, block, behind);
                    rest = &behind[count..];
                    blocks.push((block, line));
                }
            }
            Entry::Junk(span) if swallowed && reader.source.slice(*span).starts_with('}') => swallowed = false,
            Entry::Junk(span) => rest = &behind[scope.junk(reader, *span, before, behind)..],
            Entry::Comment(_) | Entry::Blank => {}
        }
        before = Some(entry);
    }
    blocks
}

/// Whether an unclosed text in a block's head ends with what was meant as its brace.
fn swallows_brace(block: &Block) -> bool {
    block.body.is_none()
        && block.head.iter().any(|value| {
            matches!(&value.value, Literal::Text(text) if !text.closed && text.content.trim_end().ends_with('{'))
        })
}

/// Every recipe names its model and its prompt.
fn check_required(reader: &mut Reader<'_>, scope: &Scope<'_>) {
    let mut place = Span::default();
    for field in FIELDS.iter().filter(|field| field.required) {
        if let Some((_, setting)) = scope.get(field.key) {
            place = Span::new(setting.span.end, setting.span.end);
        } else if !scope.excused.contains(&field.key) {
            let message = format!("the recipe has no `{}`", field.key);
            let help = format!("add a line: `{}`; it is {}", field.example, field.meaning);
            let label = format!("`{}` goes on a line below", field.key);
            reader.report(Diagnostic::new(Code::MissingSetting, message).at(place, label).help(help));
        }
    }
}

/// Warns of seeds that paint the same picture twice.
fn check_seeds(reader: &mut Reader<'_>, seeds: &[(Seed, Span)]) {
    let mut seen: HashMap<Seed, Span> = HashMap::new();
    // One warning for each place, however many of its seeds are there already.
    let mut warned = None;
    for (seed, span) in seeds {
        if let Some(first) = seen.get(seed).filter(|_| warned != Some(*span)) {
            warned = Some(*span);
            let message = format!("the seed {} is there twice", seed.0);
            reader.report(
                Diagnostic::new(Code::RepeatedSeed, message)
                    .at(*span, "the same picture again")
                    .at(*first, "first here")
                    .help("take one of them away"),
            );
        }
        seen.entry(*seed).or_insert(*span);
    }
}

/// `eta`, `sigmas karras` and `spacing` do not go with every scheduler.
fn check_scheduler(
    reader: &mut Reader<'_>,
    scheduler: &Known<Option<SchedulerKind>>,
    eta: &Known<Eta>,
    sigmas: &Known<Option<Sigmas>>,
    spacing: &Known<Option<Spacing>>,
) {
    let (Some(kind), Some(kind_span)) = (scheduler.value, scheduler.span) else { return };
    let mut lacks = |setting: &str, span: Span, has: fn(SchedulerKind) -> bool| {
        let able: Vec<&str> = SchedulerKind::ALL.iter().filter(|kind| has(**kind)).map(|kind| kind.name()).collect();
        let message = format!("the scheduler `{kind}` has no `{setting}`");
        let help = format!("leave it out, or take a scheduler that has it: {}", super::fields::list(&able));
        reader.report(
            Diagnostic::new(Code::SchedulerLacks, message)
                .at(span, format!("not with `{kind}`"))
                .at(kind_span, "the scheduler is set here")
                .help(help),
        );
    };
    if let (Some(span), true, false) = (eta.span, eta.valid, kind.has_eta()) {
        lacks("eta", span, SchedulerKind::has_eta);
    }
    if let (Some(span), Some(Sigmas::Karras), false) = (sigmas.span, sigmas.value, kind.has_karras()) {
        lacks("sigmas karras", span, SchedulerKind::has_karras);
    }
    if let (Some(span), Some(_), false) = (spacing.span, spacing.value, kind.has_spacing()) {
        lacks("spacing", span, SchedulerKind::has_spacing);
    }
}
