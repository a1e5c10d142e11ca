//! `sega models`: the models in the cache.

use serde_json::json;

use super::Failure;
use super::cli::{ModelsArgs, ModelsCommand};
use super::hub::{Asked, get, settings};
use super::interruption::Interruption;
use super::report::{Report, bytes};
use crate::model::hub::{self, Cache, CachedModel, HubError, HubId, Snapshot, Verdict, Wanted};

/// What `sega models` cannot do.
#[derive(Debug, thiserror::Error)]
enum ModelsError {
    /// A name that no hub has.
    #[error("`{0}` is no hub id; one is `owner/name`, `owner/name@revision` or `owner/name/file.safetensors`")]
    NotAnId(String),
    /// A model that is not in the cache.
    #[error("`{id}` is not in the cache at `{cache}`; `sega models` lists what is")]
    NotCached { id: String, cache: String },
    /// Damaged files.
    #[error("{0}; take each away with `sega models remove` and fetch it again with `sega models add`")]
    Damaged(String),
}

/// Lists, fetches, removes or checks models.
pub(super) fn models(args: &ModelsArgs, report: &mut Report) -> Result<(), Failure> {
    let interruption = Interruption::watch(report);
    let cache = Cache::at(settings().cache);
    match &args.command {
        None => list(&cache, report),
        Some(ModelsCommand::Add(ids)) => each(&ids.ids, |id| add(&id, ids.half, report, &interruption)),
        Some(ModelsCommand::Remove(ids)) => each(&ids.ids, |id| {
            if !interruption.hold_off(|| cache.remove(&id))? {
                return Err(not_cached(&id, &cache).into());
            }
            report.item("removed", || json!(id.to_string()));
            report.remark(&format!("removed `{id}`"));
            Ok(())
        }),
        Some(ModelsCommand::Verify(ids)) => verify(&ids.ids, &cache, report, &interruption),
    }
}

fn each(ids: &[String], mut deed: impl FnMut(HubId) -> Result<(), Failure>) -> Result<(), Failure> {
    // All are read before anything is done.
    let ids = ids.iter().map(|id| parse(id)).collect::<Result<Vec<_>, _>>()?;
    ids.into_iter().try_for_each(&mut deed)
}

fn parse(id: &str) -> Result<HubId, ModelsError> {
    HubId::parse(id).ok_or_else(|| ModelsError::NotAnId(id.to_owned()))
}

fn not_cached(id: &HubId, cache: &Cache) -> ModelsError {
    ModelsError::NotCached { id: id.to_string(), cache: cache.root().display().to_string() }
}

fn list(cache: &Cache, report: &mut Report) -> Result<(), Failure> {
    let models = cache.models()?;
    report.field("cache", || json!(cache.root().display().to_string()));
    report.field("models", || json!(models.iter().map(as_json).collect::<Vec<_>>()));
    if models.is_empty() {
        report.text(&format!("no models in {}; `sega models add owner/name` fetches one\n", cache.root().display()));
        return Ok(());
    }
    let rows: Vec<[String; 4]> = models.iter().flat_map(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    let total = models.iter().map(|model| model.bytes).sum();
    let mut text = format!("{}: {}\n\n", cache.root().display(), bytes(total));
    for [name, size, family, state] in &rows {
        let [first, second, third] = widths;
        let line = format!("{name:first$}  {size:>second$}  {family:third$}  {state}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    report.text(&text);
    Ok(())
}

/// A line for each state of a model.
fn rows(model: &CachedModel) -> Vec<[String; 4]> {
    let name = |snapshot: &Snapshot| match snapshot.names.first() {
        Some(main) if main == "main" => model.id.repository(),
        Some(name) => format!("{}@{name}", model.id.repository()),
        None => format!("{}@{}", model.id.repository(), snapshot.commit),
    };
    let row = |(index, snapshot): (usize, &Snapshot)| {
        // The states of a model share their files; what they take together stands once.
        let size = if index == 0 { bytes(model.bytes) } else { String::new() };
        let family = snapshot.family.unwrap_or("other").to_owned();
        let state = match (snapshot.whole, snapshot.family) {
            (true, _) => "",
            (false, Some(_)) => "incomplete",
            (false, None) => "no model for this program",
        };
        [name(snapshot), size, family, state.to_owned()]
    };
    model.snapshots.iter().enumerate().map(row).collect()
}

fn as_json(model: &CachedModel) -> serde_json::Value {
    json!({
        "id": model.id.repository(),
        "folder": model.folder.display().to_string(),
        "bytes": model.bytes,
        "snapshots": model.snapshots.iter().map(|snapshot| json!({
            "commit": snapshot.commit,
            "names": snapshot.names,
            "folder": snapshot.folder.display().to_string(),
            "family": snapshot.family,
            "whole": snapshot.whole,
        })).collect::<Vec<_>>(),
    })
}

fn add(id: &HubId, half: bool, report: &mut Report, interruption: &Interruption) -> Result<(), Failure> {
    let mut fetch = |wanted| get(id, wanted, Asked::Anew, report, &|| interruption.raised());
    let path = match fetch(Wanted::Model { half }) {
        // What is no model may be an autoencoder for one, or a LoRA.
        Err(Failure::Run(error)) if matches!(error.downcast_ref(), Some(HubError::NotAModel { .. })) => {
            fetch(Wanted::Autoencoder { half }).or_else(|_| fetch(Wanted::Lora)).map_err(|_| Failure::Run(error))?
        }
        other => other?,
    };
    report.item("added", || json!({ "id": id.to_string(), "path": path.display().to_string() }));
    report.remark(&format!("`{id}` is in {}", path.display()));
    Ok(())
}

fn verify(ids: &[String], cache: &Cache, report: &mut Report, interruption: &Interruption) -> Result<(), Failure> {
    let wanted = ids.iter().map(|id| parse(id)).collect::<Result<Vec<_>, _>>()?;
    let models = cache.models()?;
    if let Some(id) = wanted.iter().find(|id| !models.iter().any(|model| model.id.repository() == id.repository())) {
        return Err(not_cached(id, cache).into());
    }
    let mut damaged = Vec::new();
    for model in models {
        let id = model.id.repository();
        if !wanted.is_empty() && !wanted.iter().any(|wanted| wanted.repository() == id) {
            continue;
        }
        let mut counts = [0, 0, 0];
        let result = hub::verify(&model, &mut |path, verdict| {
            counts[verdict.clone() as usize] += 1;
            if verdict == Verdict::Damaged {
                damaged.push(format!("`{id}`: {} is damaged", path.display()));
            }
            !interruption.raised()
        });
        match result {
            Err(HubError::Interrupted) => return Err(Failure::Interrupted),
            result => result?,
        }
        let [sound, bad, unknown] = counts;
        report.item("verified", || json!({ "id": id, "sound": sound, "damaged": bad, "unknown": unknown }));
        report.remark(&format!("{id}: {sound} sound, {bad} damaged, {unknown} without a checksum"));
    }
    if damaged.is_empty() { Ok(()) } else { Err(ModelsError::Damaged(damaged.join("; ")).into()) }
}
