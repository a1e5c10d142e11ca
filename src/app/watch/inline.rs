//! Pictures in a terminal, in whichever way it knows.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::artifact::Picture;

/// How a terminal shows pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// kitty's graphics protocol.
    Kitty,
    /// iTerm2's inline images.
    Iterm,
    /// DEC's sixels.
    Sixel,
    /// Two pixels a character, in 24-bit colours.
    HalfBlocks,
}

/// Columns that half blocks fill at most.
const COLUMNS: usize = 48;

impl Protocol {
    /// What the environment says of the terminal; `None` where it shows no pictures that are worth it.
    pub(super) fn of_terminal() -> Option<Self> {
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        Self::of(&variable)
    }

    fn of(variable: &dyn Fn(&str) -> String) -> Option<Self> {
        let (terminal, program) = (variable("TERM"), variable("TERM_PROGRAM"));
        let has = |name: &str| !variable(name).is_empty();
        // What runs inside a multiplexer reaches the terminal only in part.
        let inside = has("TMUX") || terminal.starts_with("screen") || terminal.starts_with("tmux");
        if !inside && (has("KITTY_WINDOW_ID") || terminal == "xterm-kitty" || terminal == "xterm-ghostty") {
            return Some(Self::Kitty);
        }
        if !inside && (program == "iTerm.app" || program == "WezTerm" || variable("LC_TERMINAL") == "iTerm2") {
            return Some(Self::Iterm);
        }
        if !inside && (terminal.contains("sixel") || terminal.starts_with("foot") || terminal.starts_with("mlterm")) {
            return Some(Self::Sixel);
        }
        matches!(variable("COLORTERM").as_str(), "truecolor" | "24bit").then_some(Self::HalfBlocks)
    }

    /// What makes the terminal show a picture, of which `png` is the file.
    pub(super) fn show(self, picture: &Picture, png: &[u8]) -> String {
        match self {
            Self::Kitty => kitty(png),
            Self::Iterm => {
                format!("\x1b]1337;File=inline=1;size={}:{}\x07\n", png.len(), STANDARD.encode(png))
            }
            Self::Sixel => sixel(picture),
            Self::HalfBlocks => half_blocks(picture),
        }
    }
}

/// A PNG file in pieces of 4096 characters, all but the last saying that more follow.
fn kitty(png: &[u8]) -> String {
    const PIECE: usize = 4096;
    let encoded = STANDARD.encode(png);
    let mut out = String::with_capacity(encoded.len() + 256);
    let mut rest = encoded.as_str();
    let mut head = "f=100,a=T,";
    while !rest.is_empty() {
        let (piece, more) = rest.split_at(PIECE.min(rest.len()));
        rest = more;
        // Writing to a string cannot fail.
        let _ = write!(out, "\x1b_G{head}m={};{piece}\x1b\\", u8::from(!rest.is_empty()));
        head = "";
    }
    out.push('\n');
    out
}

/// Sixels in a cube of 6x6x6 colours, dithered by a Bayer matrix.
fn sixel(picture: &Picture) -> String {
    const BAYER: [[i32; 4]; 4] = [[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]];
    let mut out = format!("\x1bPq\"1;1;{};{}", picture.width, picture.height);
    for color in 0..216 {
        let _ = write!(out, "#{color};2;{};{};{}", color / 36 * 20, color / 6 % 6 * 20, color % 6 * 20);
    }
    let color = |x: usize, y: usize| {
        let at = 3 * (y * picture.width + x);
        // Up to a step of the cube, so that the means are right.
        let dither = (BAYER[y % 4][x % 4] * 2 + 1) * 51 / 32;
        let level = |value: u8| ((i32::from(value) + dither) / 51).min(5) as usize;
        level(picture.rgb[at]) * 36 + level(picture.rgb[at + 1]) * 6 + level(picture.rgb[at + 2])
    };
    for top in (0..picture.height).step_by(6) {
        let rows = 6.min(picture.height - top);
        // For each colour of the band its six-pixel columns.
        let mut columns = std::collections::BTreeMap::<usize, Vec<u8>>::new();
        for y in 0..rows {
            for x in 0..picture.width {
                columns.entry(color(x, top + y)).or_insert_with(|| vec![0; picture.width])[x] |= 1 << y;
            }
        }
        for (color, bits) in columns {
            let _ = write!(out, "#{color}");
            for run in bits.chunk_by(|a, b| a == b) {
                let _ = write!(out, "!{}{}", run.len(), char::from(b'?' + run[0]));
            }
            out.push('$');
        }
        out.push('-');
    }
    out.push_str("\x1b\\\n");
    out
}

/// Characters whose upper half is one pixel and whose lower half another.
fn half_blocks(picture: &Picture) -> String {
    let columns = COLUMNS.min(picture.width);
    let rows = (picture.height * columns / picture.width / 2).max(1);
    let pixel = |x: usize, y: usize| mean(picture, (x, columns), (y, 2 * rows));
    let mut out = String::new();
    for row in 0..rows {
        for column in 0..columns {
            let ([r, g, b], [lower_r, lower_g, lower_b]) = (pixel(column, 2 * row), pixel(column, 2 * row + 1));
            let _ = write!(out, "\x1b[38;2;{r};{g};{b};48;2;{lower_r};{lower_g};{lower_b}m\u{2580}");
        }
        out.push_str("\x1b[0m\n");
    }
    out
}

/// The mean colour of a cell of a grid over the picture.
fn mean(picture: &Picture, (x, columns): (usize, usize), (y, rows): (usize, usize)) -> [u8; 3] {
    let range = |at: usize, cells: usize, length: usize| {
        let start = (at * length / cells).min(length - 1);
        start..((at + 1) * length / cells).clamp(start + 1, length)
    };
    let mut sums = [0usize; 3];
    let mut count = 0;
    for y in range(y, rows, picture.height) {
        for x in range(x, columns, picture.width) {
            let at = 3 * (y * picture.width + x);
            sums.iter_mut().zip(&picture.rgb[at..at + 3]).for_each(|(sum, value)| *sum += usize::from(*value));
            count += 1;
        }
    }
    sums.map(|sum| (sum / count.max(1)) as u8)
}

#[cfg(test)]
mod tests {
    use super::{Protocol, half_blocks, kitty, sixel};
    use crate::artifact::Picture;

    fn picture() -> Picture {
        Picture { width: 2, height: 2, rgb: vec![255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255] }
    }

    #[test]
    fn terminals_are_known_by_their_environment() {
        let check = |set: &[(&str, &str)], expected: Option<Protocol>| {
            let variable = |name: &str| {
                set.iter().find(|(known, _)| *known == name).map_or(String::new(), |(_, value)| (*value).to_owned())
            };
            assert_eq!(Protocol::of(&variable), expected, "{set:?}");
        };
        check(&[("TERM", "xterm-kitty")], Some(Protocol::Kitty));
        check(&[("TERM_PROGRAM", "iTerm.app"), ("COLORTERM", "truecolor")], Some(Protocol::Iterm));
        check(&[("TERM", "foot")], Some(Protocol::Sixel));
        check(&[("TERM", "xterm-256color"), ("COLORTERM", "truecolor")], Some(Protocol::HalfBlocks));
        check(
            &[("TERM", "tmux-256color"), ("KITTY_WINDOW_ID", "1"), ("COLORTERM", "24bit")],
            Some(Protocol::HalfBlocks),
        );
        check(&[("TERM", "vt100")], None);
    }

    #[test]
    fn half_blocks_have_two_pixels_each() {
        assert_eq!(
            half_blocks(&picture()),
            "\x1b[38;2;255;0;0;48;2;0;0;255m\u{2580}\x1b[38;2;0;255;0;48;2;255;255;255m\u{2580}\x1b[0m\n"
        );
    }

    #[test]
    fn kitty_gets_pieces() {
        let shown = kitty(&[7; 4000]);
        assert_eq!(shown.matches("\x1b_G").count(), 2);
        assert!(shown.starts_with("\x1b_Gf=100,a=T,m=1;") && shown.contains("\x1b_Gm=0;"));
    }

    #[test]
    fn sixels_have_each_color_once_a_band() {
        let shown = sixel(&picture());
        assert!(shown.starts_with("\x1bPq\"1;1;2;2#0;2;0;0;0") && shown.ends_with("\x1b\\\n"));
        // Red is 5 * 36, in the first column's first pixel.
        assert!(shown.contains("#180!1@!1?$"), "{shown:?}");
    }
}
