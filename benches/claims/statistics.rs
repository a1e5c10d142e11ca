//! Shares with their uncertainty, and rank correlation.

/// The normal distribution's 97.5 % point.
const Z: f64 = 1.959_963_984_540_054;

/// How often something was so.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Share {
    /// Successes; where a picture can succeed in part, a sum of shares.
    pub(crate) successes: f64,
    /// The sum of their squares: the same, where a picture succeeds or fails.
    squares: f64,
    /// The number of pictures.
    pub(crate) of: usize,
}

impl Share {
    /// So many successes of pictures that succeed or fail.
    pub(crate) fn of(successes: usize, of: usize) -> Self {
        let successes = successes as f64;
        Self { successes, squares: successes, of }
    }

    /// Counts one more picture.
    pub(crate) fn add(&mut self, success: f64) {
        self.successes += success;
        self.squares += success * success;
        self.of += 1;
    }

    /// Counts the pictures of another.
    pub(crate) fn merge(&mut self, other: Self) {
        self.successes += other.successes;
        self.squares += other.squares;
        self.of += other.of;
    }

    /// The share; NaN of nothing.
    pub(crate) fn value(self) -> f64 {
        self.successes / self.of as f64
    }

    /// Wilson's score interval of 95 %. What succeeds in part varies less than what is either 0 or 1, and counts as so
    /// many more pictures.
    pub(crate) fn interval(self) -> (f64, f64) {
        if self.of == 0 {
            return (0.0, 1.0);
        }
        let (pictures, p) = (self.of as f64, self.value());
        let variance = self.squares / pictures - p * p;
        let n = if variance > 0.0 { pictures * p * (1.0 - p) / variance } else { pictures };
        let centre = p + Z * Z / (2.0 * n);
        let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        let scale = 1.0 + Z * Z / n;
        (((centre - half) / scale).max(0.0), ((centre + half) / scale).min(1.0))
    }
}

/// The interval of 95 % of the difference of two shares (Newcombe's, made from Wilson's).
pub(crate) fn difference(a: Share, b: Share) -> (f64, f64) {
    let ((low_a, high_a), (low_b, high_b)) = (a.interval(), b.interval());
    let (a, b) = (a.value(), b.value());
    ((a - b) - (a - low_a).hypot(high_b - b), (a - b) + (high_a - a).hypot(b - low_b))
}

/// The mean; NaN of nothing.
pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The interval of 95 % of a mean of values within -1 to 1, by its standard error.
pub(crate) fn mean_interval(values: &[f64]) -> (f64, f64) {
    let (n, mean) = (values.len() as f64, mean(values));
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    let half = Z * (variance / n).sqrt();
    ((mean - half).max(-1.0), (mean + half).min(1.0))
}

/// Spearman's rank correlation, ties sharing the mean of their ranks. 0 where one side is constant.
pub(crate) fn spearman(x: &[f64], y: &[f64]) -> f64 {
    let (x, y) = (ranks(x), ranks(y));
    let (mean_x, mean_y) = (mean(&x), mean(&y));
    let sum = |f: &dyn Fn(f64, f64) -> f64| x.iter().zip(&y).map(|(x, y)| f(x - mean_x, y - mean_y)).sum::<f64>();
    let scale = (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt();
    if scale > 0.0 { sum(&|x, y| x * y) / scale } else { 0.0 }
}

/// The rank of each value, from 1.
fn ranks(values: &[f64]) -> Vec<f64> {
    let below = |value: f64| values.iter().filter(|other| **other < value).count() as f64;
    let equal = |value: f64| values.iter().filter(|other| **other == value).count() as f64;
    values.iter().map(|&value| below(value) + (equal(value) + 1.0) / 2.0).collect()
}

#[cfg(test)]
mod tests {
    #[allow(unused_imports)]
    use super::*;

    #[test]
    fn wilson_is_the_textbooks() {
        // 81 of 263: Newcombe (1998), table I.
        let (low, high) = Share::of(81, 263).interval();
        assert!((low - 0.2553).abs() < 5e-5 && (high - 0.3662).abs() < 5e-5, "{low} {high}");
        let (low, high) = Share::of(20, 20).interval();
        assert!((low - 0.8389).abs() < 5e-5 && high == 1.0, "{low} {high}");
        assert_eq!(Share::default().interval(), (0.0, 1.0));
    }

    #[test]
    fn shares_of_parts_vary_less() {
        let mut parts = Share::default();
        (0..200).for_each(|k| parts.add(if k % 2 == 0 { 0.85 } else { 0.95 }));
        let (low, high) = parts.interval();
        // The standard error is 0.05 / sqrt(200).
        assert!((low - 0.8930).abs() < 5e-4 && (high - 0.9069).abs() < 5e-4, "{low} {high}");
    }

    #[test]
    fn differences_are_the_textbooks() {
        // 56 of 70 and 48 of 80: Newcombe (1998), table II.
        let (low, high) = difference(Share::of(56, 70), Share::of(48, 80));
        assert!((low - 0.0524).abs() < 5e-5 && (high - 0.3339).abs() < 5e-5, "{low} {high}");
    }

    #[test]
    fn ties_share_their_ranks() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
        assert_eq!(spearman(&[0.0, 1.0, 2.0], &[5.0, 7.0, 9.0]), 1.0);
        assert_eq!(spearman(&[0.0, 1.0, 2.0], &[9.0, 7.0, 5.0]), -1.0);
        assert_eq!(spearman(&[0.0, 1.0, 2.0], &[4.0, 4.0, 4.0]), 0.0);
        // scipy.stats.spearmanr([1, 2, 3, 4], [1, 2, 2, 3])
        assert!((spearman(&[1.0, 2.0, 3.0, 4.0], &[1.0, 2.0, 2.0, 3.0]) - 0.948_683_298_050_513_8).abs() < 1e-12);
    }
}
