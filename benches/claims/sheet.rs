//! The contact sheet: portraits before and after an edit, side by side.

use std::path::Path;

use embedded_graphics::mono_font::ascii::{FONT_6X10, FONT_7X13_BOLD};
use embedded_graphics::pixelcolor::Rgb888;
use sega::artifact::{Existing, Picture, write_atomically};

use crate::Fault;
use crate::canvas::{CORNER, Canvas};
use crate::measure::Pair;
use crate::progress::Progress;
use crate::work::Workshop;

const COLUMNS: usize = 3;
const MARGIN: usize = 8;
/// Between the two pictures of a pair.
const GAP: usize = 2;
/// Under a pair: one line for the edit, two for the prompt.
const CAPTION: usize = 42;
const INK: Rgb888 = Rgb888::new(40, 40, 40);
const FAILED: Rgb888 = Rgb888::new(190, 40, 20);

/// Pictures before and after, for each pair. They are kept, with their recipes inside, so that another run finds them.
pub(crate) fn pictures(
    workshop: &Workshop,
    pairs: &[Pair],
    out: &Path,
    progress: &Progress,
) -> Result<Vec<Picture>, Fault> {
    let folder = out.join("pictures");
    std::fs::create_dir_all(&folder)?;
    let recipes: Vec<String> = pairs.iter().flat_map(|pair| [pair.before.clone(), pair.after.clone()]).collect();
    let path = |recipe: &str| {
        let identity = &workshop.studio.identity;
        let key = blake3::Hasher::new().update(identity.as_bytes()).update(recipe.as_bytes()).finalize();
        folder.join(format!("{}.png", &key.to_hex()[..16]))
    };
    let mut missing: Vec<String> = recipes.iter().filter(|recipe| !path(recipe).is_file()).cloned().collect();
    missing.sort_unstable();
    missing.dedup();
    if !missing.is_empty() {
        progress.line(&format!("painting {} pictures for the contact sheet", missing.len()));
    }
    workshop.paint(&missing, |(place, picture)| {
        let recipe = &missing[place];
        let bytes = sega::artifact::png::encode(&picture, recipe)?;
        Ok(write_atomically(&path(recipe), Existing::Replace, |file| file.write_all(&bytes))?)
    })?;
    recipes.iter().map(|recipe| decode(&path(recipe))).collect()
}

fn decode(path: &Path) -> Result<Picture, Fault> {
    let file = std::io::BufReader::new(std::fs::File::open(path)?);
    let mut reader = png::Decoder::new(file).read_info()?;
    let (width, height) = reader.info().size();
    let mut rgb = vec![0; 3 * width as usize * height as usize];
    reader.next_frame(&mut rgb)?;
    Ok(Picture { width: width as usize, height: height as usize, rgb })
}

/// Draws the sheet; `pictures` holds two for each pair.
pub(crate) fn draw(pairs: &[Pair], pictures: &[Picture]) -> Result<Canvas, Fault> {
    let first = pictures.first().ok_or("there are no pictures for the contact sheet")?;
    let cell = (2 * first.width + GAP + MARGIN, first.height + CAPTION + MARGIN);
    let columns = COLUMNS.min(pairs.len());
    let rows = pairs.len().div_ceil(COLUMNS);
    let mut canvas = Canvas::new(MARGIN + columns * cell.0, MARGIN + rows * cell.1);
    for (place, (pair, pictures)) in pairs.iter().zip(pictures.chunks_exact(2)).enumerate() {
        let (left, top) = (MARGIN + place % COLUMNS * cell.0, MARGIN + place / COLUMNS * cell.1);
        canvas.put(&pictures[0], (left, top));
        canvas.put(&pictures[1], (left + first.width + GAP, top));
        let (x, y) = (i32::try_from(left)?, i32::try_from(top + first.height + 3)?);
        let (verdict, colour) = if pair.worked { ("", INK) } else { (": failed", FAILED) };
        canvas.text((x, y), &format!("{}{verdict}", pair.edit), &FONT_7X13_BOLD, colour, CORNER);
        let letters = (cell.0 - MARGIN) / 6;
        for (line, text) in (0..2).zip(wrapped(&pair.prompt, letters)) {
            canvas.text((x, y + 15 + 11 * line), &text, &FONT_6X10, INK, CORNER);
        }
    }
    Ok(canvas)
}

/// A text in lines of at most so many letters.
fn wrapped(text: &str, letters: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + 1 + word.len() <= letters => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
