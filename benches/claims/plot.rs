//! Effect against strength: what the oracle sees, for concepts added and taken away.

use embedded_graphics::mono_font::ascii::{FONT_7X13, FONT_8X13_BOLD};
use embedded_graphics::pixelcolor::{Rgb888, WebColors};
use embedded_graphics::text::{Alignment, Baseline};
use sega::recipe::Direction;

use crate::Fault;
use crate::canvas::{CORNER, Canvas};
use crate::measure::Curve;

/// A panel's plotting area.
const WIDTH: i32 = 420;
const HEIGHT: i32 = 260;
/// Space about it.
const LEFT: i32 = 70;
const TOP: i32 = 50;
const BOTTOM: i32 = 60;
/// The legend's width.
const LEGEND: i32 = 220;

const INK: Rgb888 = Rgb888::new(40, 40, 40);
const GRID: Rgb888 = Rgb888::new(225, 225, 225);
/// Colours that are told apart also by those who do not see all (Okabe and Ito's).
const COLOURS: [Rgb888; 7] = [
    Rgb888::new(0, 114, 178),
    Rgb888::new(213, 94, 0),
    Rgb888::new(0, 158, 115),
    Rgb888::new(204, 121, 167),
    Rgb888::new(230, 159, 0),
    Rgb888::new(86, 180, 233),
    Rgb888::CSS_BLACK,
];

/// Two panels for each direction: the mean probability of the concept, and how often the edit worked.
pub(crate) fn draw(curves: &[Curve]) -> Result<Canvas, Fault> {
    let directions = [Direction::Plus, Direction::Minus];
    let rows: Vec<Vec<&Curve>> = directions
        .iter()
        .map(|direction| curves.iter().filter(|curve| curve.direction == *direction).collect())
        .filter(|row: &Vec<&Curve>| !row.is_empty())
        .collect();
    let (panel_width, panel_height) = (LEFT + WIDTH, TOP + HEIGHT + BOTTOM);
    let height = panel_height * i32::try_from(rows.len())?;
    let mut canvas = Canvas::new(usize::try_from(2 * panel_width + LEGEND)?, usize::try_from(height)?);
    for (place, row) in rows.iter().enumerate() {
        let top = panel_height * i32::try_from(place)? + TOP;
        let word = row.first().map_or("", |curve| curve.direction.name());
        let worked = if word == "plus" { "share of portraits with it" } else { "share of portraits without it" };
        let titles = [format!("{word}: mean probability"), format!("{word}: {worked}")];
        for (panel, title) in titles.iter().enumerate() {
            let left = panel_width * i32::try_from(panel)? + LEFT;
            axes(&mut canvas, (left, top), title);
            for ((aside, curve), colour) in (-2..).zip(row).zip(COLOURS.into_iter().cycle()) {
                // A little aside of one another, so that equal curves are all seen.
                let origin = (left + 4 * aside, top);
                let points: Vec<(i32, i32)> =
                    curve.points.iter().map(|point| at(origin, point[0], point[panel + 1])).collect();
                plotted(&mut canvas, &points, colour);
            }
        }
        let left = 2 * panel_width + 20;
        for ((line, curve), colour) in (0..).zip(row).zip(COLOURS.into_iter().cycle()) {
            let y = top + 10 + 22 * line;
            plotted(&mut canvas, &[(left, y), (left + 24, y)], colour);
            let label = format!("{} ({})", curve.concept.text, curve.of);
            canvas.text((left + 32, y), &label, &FONT_7X13, INK, (Alignment::Left, Baseline::Middle));
        }
        let y = top + 10 + 22 * i32::try_from(row.len())?;
        canvas.text((left, y), "(n): portraits", &FONT_7X13, INK, CORNER);
    }
    Ok(canvas)
}

/// Where a strength and a share are.
fn at((left, top): (i32, i32), strength: f64, share: f64) -> (i32, i32) {
    let x = f64::from(WIDTH) * strength / 10.0;
    let y = f64::from(HEIGHT) * (1.0 - share);
    (left + x.round() as i32, top + y.round() as i32)
}

fn axes(canvas: &mut Canvas, origin: (i32, i32), title: &str) {
    let (left, top) = origin;
    let centre = (Alignment::Center, Baseline::Top);
    canvas.text((left + WIDTH / 2, top - 30), title, &FONT_8X13_BOLD, INK, centre);
    for tick in 0..=5 {
        let share = f64::from(tick) / 5.0;
        let (_, y) = at(origin, 0.0, share);
        canvas.line((left, y), (left + WIDTH, y), GRID, 1);
        canvas.line((left - 5, y), (left, y), INK, 1);
        let label = format!("{:.0}%", 100.0 * share);
        canvas.text((left - 9, y), &label, &FONT_7X13, INK, (Alignment::Right, Baseline::Middle));
        let (x, bottom) = at(origin, 10.0 * share, 0.0);
        canvas.line((x, top), (x, bottom), GRID, 1);
        canvas.line((x, bottom), (x, bottom + 5), INK, 1);
        canvas.text((x, bottom + 9), &format!("{}", 2 * tick), &FONT_7X13, INK, centre);
    }
    canvas.line((left, top), (left, top + HEIGHT), INK, 1);
    canvas.line((left, top + HEIGHT), (left + WIDTH, top + HEIGHT), INK, 1);
    canvas.text((left + WIDTH / 2, top + HEIGHT + 28), "strength", &FONT_7X13, INK, centre);
}

/// A line through points, each with a mark.
fn plotted(canvas: &mut Canvas, points: &[(i32, i32)], colour: Rgb888) {
    for pair in points.windows(2) {
        canvas.line(pair[0], pair[1], colour, 2);
    }
    for (x, y) in points {
        canvas.fill((x - 3, y - 3), (7, 7), colour);
    }
}
