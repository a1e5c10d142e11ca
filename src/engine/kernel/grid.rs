//! Where the inputs of a convolution are put so that every output finds them at one distance for each tap.
//!
//! Pixels are laid out line after line with zeros between: as many as the kernel reaches beyond a line. These serve as
//! the end of one line and the beginning of the next. A kernel with a stride sees every second pixel alone; each
//! remainder gets a plane of its own. An output's number is the number of the position under a kernel at its origin;
//! outputs between the lines are computed and thrown away.

/// A pixel that is not in the picture.
pub(super) const OUTSIDE: u32 = u32::MAX;

/// Positions for the inputs, and what becomes of the outputs.
pub(super) struct Grid {
    /// For each position the pixel that is put there, [`OUTSIDE`] for zeros.
    pub(super) sources: Vec<u32>,
    /// For each place of the kernel, from an output's number to its input's position.
    pub(super) offsets: Vec<usize>,
    /// For each number the output pixel, [`OUTSIDE`] if there is none.
    pub(super) targets: Vec<u32>,
    pixels: usize,
}

/// One side of the picture.
pub(super) struct Side {
    /// Outputs along it.
    pub(super) outputs: usize,
    /// From one output to the next.
    pub(super) stride: usize,
    /// For each pixel along it, which one of `x` it is.
    pub(super) pixels: Vec<usize>,
    /// How far each place of the kernel is from the kernel's origin.
    pub(super) taps: Vec<isize>,
}

/// One side with its zeros.
struct Line {
    /// For each remainder, for each position the pixel.
    planes: Vec<Vec<Option<usize>>>,
    /// For each place of the kernel the remainder and the distance.
    taps: Vec<(usize, isize)>,
    /// Positions before the first that kernels reach.
    before: usize,
}

impl Side {
    fn line(&self) -> Line {
        let stride = self.stride as isize;
        let taps: Vec<(usize, isize)> =
            self.taps.iter().map(|tap| (tap.rem_euclid(stride) as usize, tap.div_euclid(stride))).collect();
        let before = taps.iter().map(|tap| -tap.1).fold(0, isize::max) as usize;
        let reach = self.outputs + taps.iter().map(|tap| tap.1).fold(0, isize::max) as usize;
        let pixels = |remainder: usize| self.pixels.iter().skip(remainder).step_by(self.stride).take(reach);
        let length = reach.max(pixels(0).count() + before);
        let plane = |remainder| pixels(remainder).copied().map(Some).chain([None].into_iter().cycle());
        let planes = (0..self.stride).map(|remainder| plane(remainder).take(length).collect()).collect();
        Line { planes, taps, before }
    }
}

impl Grid {
    /// For so many pictures of `height` times `width` pixels.
    pub(super) fn new(rows: usize, [height, width]: [usize; 2], sides: [&Side; 2]) -> Self {
        let [lines, columns] = sides.map(Side::line);
        let (length, count) = (columns.planes[0].len(), lines.planes[0].len());
        let before = lines.before * length + columns.before;
        let plane = before + rows * count * length;
        let mut sources = Vec::with_capacity(plane * lines.planes.len() * columns.planes.len());
        for lines in &lines.planes {
            for columns in &columns.planes {
                sources.extend((0..before).map(|_| OUTSIDE));
                for row in 0..rows {
                    for line in lines {
                        sources.extend(columns.iter().map(|column| match (line, column) {
                            (Some(line), Some(column)) => ((row * height + line) * width + column) as u32,
                            _ => OUTSIDE,
                        }));
                    }
                }
            }
        }
        let mut offsets = Vec::with_capacity(lines.taps.len() * columns.taps.len());
        for (vertical, down) in &lines.taps {
            for (horizontal, right) in &columns.taps {
                let start = (vertical * columns.planes.len() + horizontal) * plane + before;
                offsets.push(start.wrapping_add_signed(down * length as isize + right));
            }
        }
        let [tall, wide] = sides.map(|side| side.outputs);
        let target = |number: usize| {
            let (row, line, column) = (number / length / count, number / length % count, number % length);
            let inside = line < tall && column < wide;
            if inside { ((row * tall + line) * wide + column) as u32 } else { OUTSIDE }
        };
        let last = ((rows - 1) * count + tall - 1) * length + wide;
        Self { sources, offsets, targets: (0..last).map(target).collect(), pixels: rows * tall * wide }
    }

    /// Places of the kernel.
    pub(super) fn taps(&self) -> usize {
        self.offsets.len()
    }

    /// Output pixels.
    pub(super) fn pixels(&self) -> usize {
        self.pixels
    }
}
