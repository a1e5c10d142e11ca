//! Means and variances of channels, gathered part by part.

/// The mean of each channel of a picture, or of a part of one, and the sum of the squared differences from it.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Moments {
    count: f64,
    channels: Vec<(f64, f64)>,
}

impl Moments {
    /// From each channel's mean and sum of squared differences over `pixels`.
    pub(in crate::engine) fn new(pixels: usize, channels: Vec<(f64, f64)>) -> Self {
        Self { count: pixels as f64, channels }
    }

    /// From the sums of parts: of the differences to the pixel `first`, then of their squares.
    pub(super) fn of_sums(parts: &[f64], first: &[f32], pixels: usize) -> Self {
        let channels = first.len();
        let count = pixels as f64;
        let total = |at: usize| parts.chunks(2 * channels).map(|part| part[at]).sum::<f64>();
        let moments = |channel: usize| {
            let (sum, squares) = (total(channel), total(channels + channel));
            (f64::from(first[channel]) + sum / count, squares - sum * sum / count)
        };
        Self { count, channels: (0..channels).map(moments).collect() }
    }

    /// Those of two parts together (Chan, Golub and LeVeque, 1979).
    pub(in crate::engine) fn join(mut self, other: &Self) -> Self {
        let count = self.count + other.count;
        for (own, other_channel) in self.channels.iter_mut().zip(&other.channels) {
            let apart = other_channel.0 - own.0;
            own.0 += apart * other.count / count;
            own.1 += other_channel.1 + apart * apart * self.count * other.count / count;
        }
        Self { count, ..self }
    }

    /// For each channel the mean of its group and 1 / sqrt(variance + epsilon).
    pub(in crate::engine) fn of_groups(&self, groups: usize, epsilon: f64) -> impl Iterator<Item = (f64, f64)> {
        let size = self.channels.len() / groups;
        self.channels.chunks(size).flat_map(move |channels| {
            let mean = channels.iter().map(|(mean, _)| mean).sum::<f64>() / size as f64;
            let squares: f64 = channels.iter().map(|(own, squares)| squares + self.count * (own - mean).powi(2)).sum();
            let factor = 1.0 / (squares / (self.count * size as f64) + epsilon).sqrt();
            std::iter::repeat_n((mean, factor), size)
        })
    }
}
