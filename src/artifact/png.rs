//! PNG files that carry the recipe they were made from.

use std::io::Cursor;

use png::chunk::IDAT;
use png::text_metadata::ITXtChunk;
use png::{BitDepth, ColorType, Decoder, DecodingError, Encoder};

use super::{ArtifactError, Picture};

/// The keyword of the text chunk that holds the recipe.
pub const RECIPE_KEYWORD: &str = "sega";

/// Encodes a picture with a recipe's text in a compressed UTF-8 text chunk (`iTXt`, PNG specification 11.3.3.4).
pub fn encode(picture: &Picture, recipe: &str) -> Result<Vec<u8>, ArtifactError> {
    encode_noted(picture, recipe, None)
}

/// The keyword of the text chunk that holds the precision.
pub const PRECISION_KEYWORD: &str = "sega-precision";

/// The same with the word of the precision that the networks computed with, which is no part of a recipe but changes the
/// last digits of a picture.
pub fn encode_noted(picture: &Picture, recipe: &str, precision: Option<&str>) -> Result<Vec<u8>, ArtifactError> {
    Compressed::new(picture)?.encode(recipe, precision)
}

/// A picture's pixels as its file holds them. To compress them is almost all of the work of [`encode_noted`], and the same
/// for every recipe.
#[derive(Debug, Clone)]
pub struct Compressed {
    width: u32,
    height: u32,
    /// The stream in the chunks `IDAT` (PNG specification 10.1).
    stream: Vec<u8>,
}

impl Compressed {
    /// Compresses the pixels of a picture.
    pub fn new(picture: &Picture) -> Result<Self, ArtifactError> {
        let (width, height) = (picture.width as u32, picture.height as u32);
        let mut bytes = Vec::new();
        let mut writer = encoder(&mut bytes, (width, height), ColorType::Rgb).write_header()?;
        writer.write_image_data(&picture.rgb)?;
        writer.finish()?;
        let data = chunks(&bytes).filter(|(kind, _)| *kind == IDAT.0).flat_map(|(_, data)| data.iter().copied());
        Ok(Self { width, height, stream: data.collect() })
    }

    /// The file: the pixels with a recipe and the word of a precision.
    pub fn encode(&self, recipe: &str, precision: Option<&str>) -> Result<Vec<u8>, ArtifactError> {
        let mut bytes = Vec::new();
        let mut encoder = encoder(&mut bytes, (self.width, self.height), ColorType::Rgb);
        encoder.add_text_chunk("Software".to_owned(), concat!("sega ", env!("CARGO_PKG_VERSION")).to_owned())?;
        if let Some(precision) = precision {
            encoder.add_text_chunk(PRECISION_KEYWORD.to_owned(), precision.to_owned())?;
        }
        let mut writer = encoder.write_header()?;
        let mut chunk = ITXtChunk::new(RECIPE_KEYWORD, recipe);
        chunk.compressed = true;
        writer.write_text_chunk(&chunk)?;
        writer.write_chunk(IDAT, &self.stream)?;
        writer.finish()?;
        Ok(bytes)
    }

    /// The memory that it takes.
    pub fn bytes(&self) -> usize {
        self.stream.len()
    }
}

/// The chunks of a PNG file: their kinds and what they hold.
fn chunks(file: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    const SIGNATURE: usize = 8;
    let mut rest = file.get(SIGNATURE..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk()?;
        let (kind, after) = after.split_first_chunk()?;
        let (data, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        let (_checksum, after) = after.split_first_chunk::<4>()?;
        rest = after;
        Some((*kind, data))
    })
}

fn encoder(bytes: &mut Vec<u8>, (width, height): (u32, u32), color: ColorType) -> Encoder<'_, &mut Vec<u8>> {
    let mut encoder = Encoder::new(bytes, width, height);
    encoder.set_color(color);
    encoder.set_depth(BitDepth::Eight);
    encoder
}

/// Encodes a picture with nothing beside it.
pub fn encode_plain(picture: &Picture) -> Result<Vec<u8>, ArtifactError> {
    encode_pixels((picture.width, picture.height), ColorType::Rgb, &picture.rgb)
}

/// Encodes pixels of red, green, blue and opacity, row by row.
pub fn encode_overlay(width: usize, height: usize, rgba: &[u8]) -> Result<Vec<u8>, ArtifactError> {
    encode_pixels((width, height), ColorType::Rgba, rgba)
}

fn encode_pixels((width, height): (usize, usize), color: ColorType, values: &[u8]) -> Result<Vec<u8>, ArtifactError> {
    let mut bytes = Vec::new();
    let mut encoder = encoder(&mut bytes, (width as u32, height as u32), color);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(values)?;
    writer.finish()?;
    Ok(bytes)
}

/// The recipe in a PNG file; `None` where there is none.
pub fn recipe(bytes: &[u8]) -> Result<Option<String>, DecodingError> {
    let mut reader = Decoder::new(Cursor::new(bytes)).read_info()?;
    // Text may also stand behind the image.
    reader.finish()?;
    let chunks = &reader.info().utf8_text;
    let Some(chunk) = chunks.iter().find(|chunk| chunk.keyword == RECIPE_KEYWORD) else { return Ok(None) };
    chunk.get_text().map(Some)
}
