//! Pictures of a render in the making, and maps of where its concepts act.

use candle_core::Tensor;

use super::EngineError;
use super::noise::NoiseStream;
use super::render::Painter;
use super::sampler::State;
use crate::artifact::Picture;

/// An affine map from a place's latents to its colour: a coarse decoder that costs nothing, fitted to a real one.
#[derive(Debug, Clone)]
pub struct LinearDecoder {
    /// For each channel, then for the constant: its share of red, green and blue.
    shares: Vec<[f64; 3]>,
}

impl LinearDecoder {
    /// The least-squares fit to what some latents decode to; `None` where they do not determine one.
    ///
    /// `latents` are `[1, channels, height, width]`; the picture's sides are whole multiples of theirs.
    pub fn fit(latents: &Tensor, picture: &Picture) -> Result<Option<Self>, EngineError> {
        let (_, channels, height, width) = latents.dims4()?;
        let values: Vec<f32> = latents.flatten_all()?.to_vec1()?;
        let unknowns = channels + 1;
        let mut normal = vec![vec![0.0; unknowns + 3]; unknowns];
        for place in 0..height * width {
            let mut row: Vec<f64> = (0..channels).map(|c| f64::from(values[c * height * width + place])).collect();
            row.push(1.0);
            row.extend(mean_color(picture, (place % width, place / width), (width, height)));
            for i in 0..unknowns {
                for j in 0..unknowns + 3 {
                    normal[i][j] += row[i] * row[j];
                }
            }
        }
        // A breath of ridge, so that a channel that never varies does no harm.
        let ridge = 1e-6 * (height * width) as f64;
        normal.iter_mut().enumerate().for_each(|(i, row)| row[i] += ridge);
        Ok(solve(normal).map(|shares| Self { shares }))
    }

    /// A picture with a pixel for each place of the latents, `[channels, height, width]`.
    pub fn decode(&self, values: &[f32], [channels, height, width]: [usize; 3]) -> Picture {
        let places = height * width;
        let mut planes = vec![0.0; 3 * places];
        for (color, plane) in planes.chunks_mut(places).enumerate() {
            for (place, pixel) in plane.iter_mut().enumerate() {
                let constant = self.shares[channels][color];
                let sum = (0..channels)
                    .fold(constant, |sum, c| sum + self.shares[c][color] * f64::from(values[c * places + place]));
                *pixel = sum as f32;
            }
        }
        Picture::from_planes(width, height, &planes)
    }
}

/// The mean colour, 0 to 1, of the part of a picture that one place of a coarser grid covers.
fn mean_color(picture: &Picture, (x, y): (usize, usize), (width, height): (usize, usize)) -> [f64; 3] {
    let (across, down) = (picture.width / width, picture.height / height);
    let mut sum = [0.0; 3];
    for row in y * down..(y + 1) * down {
        let start = 3 * (row * picture.width + x * across);
        for pixel in picture.rgb[start..start + 3 * across].chunks_exact(3) {
            sum.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += f64::from(*value));
        }
    }
    sum.map(|sum| sum / (255 * across * down) as f64)
}

/// Solves a symmetric positive system with three right-hand sides by elimination; `None` where it is singular.
fn solve(mut rows: Vec<Vec<f64>>) -> Option<Vec<[f64; 3]>> {
    let count = rows.len();
    for pivot in 0..count {
        let best = (pivot..count).max_by(|&a, &b| rows[a][pivot].abs().total_cmp(&rows[b][pivot].abs()))?;
        rows.swap(pivot, best);
        let scale = rows[pivot][pivot];
        if scale.abs() < f64::MIN_POSITIVE || !scale.is_finite() {
            return None;
        }
        rows[pivot].iter_mut().for_each(|value| *value /= scale);
        let source = rows[pivot].clone();
        for (_, row) in rows.iter_mut().enumerate().filter(|(at, _)| *at != pivot) {
            let factor = row[pivot];
            row.iter_mut().zip(&source).for_each(|(value, source)| *value -= factor * source);
        }
    }
    Some(rows.iter().map(|row| [row[count], row[count + 1], row[count + 2]]).collect())
}

/// How strongly a concept acted at each place of the latents.
#[derive(Debug, Clone, PartialEq)]
pub struct EffectMap {
    /// In places.
    pub width: usize,
    /// In places.
    pub height: usize,
    /// Row by row; not negative, of no fixed scale.
    pub values: Vec<f32>,
}

/// The maps of [`State::effects`].
pub fn effect_maps(state: &State) -> Result<Vec<EffectMap>, EngineError> {
    let map = |effect: &Tensor| {
        let (height, width) = effect.dims2()?;
        Ok(EffectMap { width, height, values: effect.flatten_all()?.to_vec1()? })
    };
    state.effects().iter().map(map).collect()
}

impl Painter {
    /// A coarse decoder that is fitted to the real one's answer to patches of random latents; `None` where that is not
    /// finite.
    pub fn linear_decoder(&self, channels: usize) -> Result<Option<LinearDecoder>, EngineError> {
        const PATCHES: usize = 5;
        const PATCH: usize = 3;
        let side = PATCHES * PATCH;
        let normals = NoiseStream::new(0).normals(channels * PATCHES * PATCHES);
        let at = |c: usize, y: usize, x: usize| normals[(c * PATCHES + y / PATCH) * PATCHES + x / PATCH];
        let values: Vec<f32> = (0..channels)
            .flat_map(|c| (0..side).flat_map(move |y| (0..side).map(move |x| (c, y, x))))
            .map(|(c, y, x)| at(c, y, x))
            .collect();
        let latents = Tensor::from_vec(values, (1, channels, side, side), self.device())?;
        match self.decode(&latents)? {
            Some(picture) => LinearDecoder::fit(&latents, &picture),
            None => Ok(None),
        }
    }

    /// What a render will become, as far as the last evaluation tells that is known to be finite: by the model's own decoder where that is quick, by
    /// `linear` where it is not. `None` before the first evaluation and where nothing can be shown.
    pub fn preview(&self, state: &State, linear: Option<&LinearDecoder>) -> Result<Option<Picture>, EngineError> {
        let (Some(original), Some(numbers)) = (state.original(), state.original_numbers()) else { return Ok(None) };
        match linear {
            None => self.decode(original),
            Some(linear) => {
                let (_, channels, height, width) = original.dims4()?;
                Ok(Some(linear.decode(&numbers?, [channels, height, width])))
            }
        }
    }
}
