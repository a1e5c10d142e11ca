//! Pictures in horizontal strips, so that a layer's working memory is that of a strip and not of the picture.
//!
//! A convolution of a strip sees the neighbours' nearest rows, and a norm is by the moments of the whole picture: what comes
//! out is what the whole picture would have given, to the rounding of the moments. Nothing is blended, and there are no
//! seams.

use candle_core::{Result, Tensor};

use super::layers::{After, Conv2d, GroupNorm, Moments, join_rows};

/// Rows of a picture that are worked on at once, at least: two more are normalised for nothing.
const LEAST_ROWS: usize = 8;

/// A picture, `[1, channels, height, width]`, as strips from top to bottom.
pub(super) struct Strips {
    strips: Vec<Tensor>,
    /// The most bytes of a strip.
    bytes: usize,
}

/// A strip and the nearest row of each neighbour.
pub(super) struct Strip {
    pub(super) own: Tensor,
    above: Option<Tensor>,
    below: Option<Tensor>,
}

impl Strip {
    /// What lies one below the other: the neighbours' rows and between them the strip.
    pub(super) fn parts(&self) -> Vec<&Tensor> {
        self.above.iter().chain([&self.own]).chain(&self.below).collect()
    }

    /// The rows above and below that a layer leaves out which makes the parts `scale` times as large.
    pub(super) fn left_out(&self, scale: usize) -> (usize, usize) {
        [&self.above, &self.below].map(|row| if row.is_some() { scale } else { 0 }).into()
    }
}

impl Strips {
    /// A picture as strips of at most so many bytes, where it has enough rows.
    pub(super) fn cut(picture: &Tensor, bytes: usize) -> Result<Self> {
        Self::one(picture.clone(), bytes).finer(1)
    }

    /// A picture in one piece.
    pub(super) fn one(picture: Tensor, bytes: usize) -> Self {
        Self { strips: vec![picture], bytes }
    }

    /// The most bytes of a strip.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Cut so that no strip takes more than its share of memory where it becomes `growth` times as large.
    fn finer(self, growth: usize) -> Result<Self> {
        let mut strips = Vec::with_capacity(self.strips.len());
        for strip in self.strips {
            let (_, channels, height, width) = strip.dims4()?;
            let row = (channels * width * strip.dtype().size_in_bytes() * growth).max(1);
            let most = (self.bytes / row).max(LEAST_ROWS);
            if height <= most {
                strips.push(strip);
                continue;
            }
            let rows = height.div_ceil(height.div_ceil(most));
            for start in (0..height).step_by(rows) {
                strips.push(strip.narrow(2, start, rows.min(height - start))?);
            }
        }
        Ok(Self { strips, ..self })
    }

    /// How many.
    pub(super) fn count(&self) -> usize {
        self.strips.len()
    }

    /// A strip with its neighbours' rows.
    fn strip(&self, at: usize) -> Result<Strip> {
        let above = at.checked_sub(1).and_then(|at| self.strips.get(at));
        let above = above.map(|strip| strip.narrow(2, strip.dim(2)? - 1, 1)).transpose()?;
        let below = self.strips.get(at + 1).map(|strip| strip.narrow(2, 0, 1)).transpose()?;
        Ok(Strip { own: self.strips[at].clone(), above, below })
    }

    /// The picture, if it is in one piece on a graphics card: its moments need not come to the processor.
    pub(super) fn on_card(&self) -> Option<&Tensor> {
        match self.strips.as_slice() {
            [whole] if !whole.device().is_cpu() => Some(whole),
            _ => None,
        }
    }

    /// The moments of the whole picture.
    pub(super) fn moments(&self, norm: &GroupNorm) -> Result<Moments> {
        let [first, others @ ..] = self.strips.as_slice() else { candle_core::bail!("a picture without rows") };
        others.iter().try_fold(norm.moments(first)?, |all, strip| Ok(all.join(&norm.moments(strip)?)))
    }

    /// The strips that `make` makes of each.
    pub(super) fn map(&self, mut make: impl FnMut(Strip) -> Result<Tensor>) -> Result<Self> {
        let strips = (0..self.count()).map(|at| make(self.strip(at)?)).collect::<Result<_>>()?;
        Ok(Self { strips, bytes: self.bytes })
    }

    /// The strips that `make` makes of each strip of two pictures. What is not needed any more is let go on the way.
    pub(super) fn merge(
        mut self,
        mut other: Self,
        mut make: impl FnMut(Strip, Strip) -> Result<Tensor>,
    ) -> Result<Self> {
        let mut strips = Vec::with_capacity(self.count());
        for at in 0..self.count() {
            strips.push(make(self.strip(at)?, other.strip(at)?)?);
            self.let_go(at)?;
            other.let_go(at)?;
        }
        Ok(Self { strips, bytes: self.bytes })
    }

    /// Of a strip, keeps only the row that the next one needs.
    fn let_go(&mut self, at: usize) -> Result<()> {
        let strip = &self.strips[at];
        let last = strip.narrow(2, strip.dim(2)? - 1, 1)?;
        // A view would keep the whole strip.
        self.strips[at] = last.force_contiguous()?;
        Ok(())
    }

    /// silu(norm) and then the convolution.
    pub(super) fn normed_and_convolved(&self, norm: &GroupNorm, conv: &Conv2d) -> Result<Self> {
        if let Some(whole) = self.on_card() {
            return Ok(Self::one(conv.forward(&norm.forward_silu(whole)?)?, self.bytes));
        }
        let moments = self.moments(norm)?;
        self.map(|strip| {
            let normed = norm.forward_silu_by(&strip.parts(), &moments)?;
            conv.forward_part(&normed, strip.left_out(1), After::default())
        })
    }

    /// Twice the size by nearest neighbours, and then the convolution.
    pub(super) fn enlarged_and_convolved(self, conv: &Conv2d) -> Result<Self> {
        self.finer(4)?.map(|strip| conv.forward_enlarged(&join_rows(&strip.parts())?, None, strip.left_out(2)))
    }

    /// The whole picture.
    pub(super) fn whole(&self) -> Result<Tensor> {
        join_rows(&self.strips.iter().collect::<Vec<_>>())
    }
}
