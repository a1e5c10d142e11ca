//! A picture to draw on: lines, marks and text in fixed-width letters.

use std::convert::Infallible;

use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::{Line, PrimitiveStyle, Rectangle};
use embedded_graphics::text::{Alignment, Baseline, Text, TextStyleBuilder};
use sega::artifact::Picture;

use crate::Fault;

/// An RGB picture in memory.
pub(crate) struct Canvas {
    picture: Picture,
}

/// Where a text is, relative to its point.
pub(crate) type Anchor = (Alignment, Baseline);

/// The point is the text's upper left corner.
pub(crate) const CORNER: Anchor = (Alignment::Left, Baseline::Top);

impl Canvas {
    /// A white canvas.
    pub(crate) fn new(width: usize, height: usize) -> Self {
        Self { picture: Picture { width, height, rgb: vec![u8::MAX; 3 * width * height] } }
    }

    /// Draws a line; horizontal ones get their width downwards.
    pub(crate) fn line(&mut self, from: (i32, i32), to: (i32, i32), colour: Rgb888, width: u32) {
        let Ok(()) =
            Line::new(from.into(), to.into()).into_styled(PrimitiveStyle::with_stroke(colour, width)).draw(self);
    }

    /// Fills a rectangle.
    pub(crate) fn fill(&mut self, corner: (i32, i32), size: (u32, u32), colour: Rgb888) {
        let Ok(()) = self.fill_solid(&Rectangle::new(corner.into(), size.into()), colour);
    }

    /// Writes a text.
    pub(crate) fn text(&mut self, at: (i32, i32), text: &str, font: &MonoFont<'_>, colour: Rgb888, anchor: Anchor) {
        let style = TextStyleBuilder::new().alignment(anchor.0).baseline(anchor.1).build();
        let character = MonoTextStyle::new(font, colour);
        let Ok(_) = Text::with_text_style(text, at.into(), character, style).draw(self);
    }

    /// Puts a picture where there is room for it.
    pub(crate) fn put(&mut self, picture: &Picture, (left, top): (usize, usize)) {
        for (y, row) in picture.rgb.chunks_exact(3 * picture.width).enumerate() {
            let start = 3 * ((top + y) * self.picture.width + left);
            if let Some(place) = self.picture.rgb.get_mut(start..start + row.len()) {
                place.copy_from_slice(row);
            }
        }
    }

    /// The canvas as a PNG file.
    pub(crate) fn png(&self) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::new();
        let (width, height) = (u32::try_from(self.picture.width)?, u32::try_from(self.picture.height)?);
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.picture.rgb)?;
        writer.finish()?;
        Ok(bytes)
    }
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
        Size::new(side(self.picture.width), side(self.picture.height))
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        for Pixel(point, colour) in pixels {
            let (Ok(x), Ok(y)) = (usize::try_from(point.x), usize::try_from(point.y)) else { continue };
            if x < self.picture.width {
                let start = 3 * (y * self.picture.width + x);
                if let Some(place) = self.picture.rgb.get_mut(start..start + 3) {
                    place.copy_from_slice(&[colour.r(), colour.g(), colour.b()]);
                }
            }
        }
        Ok(())
    }
}
