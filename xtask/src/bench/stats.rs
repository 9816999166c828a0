//! The statistics of interleaved pairs.

/// The middle of the values, or the mean of the two middle ones; nothing of nothing, or of a value that is no number.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    if values.iter().any(|value| value.is_nan()) {
        return None;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *sorted.get(middle.checked_sub(1)?)?;
    Some(f64::midpoint(lower, upper))
}

/// Medians of both sides of some pairs, and of their ratios.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// Median of our side.
    pub ours: f64,
    /// Median of the other side.
    pub peer: f64,
    /// Median of each pair's own ratio ours / peer: what drifts during a run drifts for both.
    pub ratio: f64,
    /// Number of pairs.
    pub runs: usize,
}

/// Compares pairs of (ours, peer). Nothing comes of no pairs, or of a peer that measured 0.
#[must_use]
pub fn compare(pairs: &[(f64, f64)]) -> Option<Comparison> {
    let ours: Vec<f64> = pairs.iter().map(|pair| pair.0).collect();
    let peer: Vec<f64> = pairs.iter().map(|pair| pair.1).collect();
    if peer.contains(&0.0) {
        return None;
    }
    let ratios: Vec<f64> = pairs.iter().map(|(ours, peer)| ours / peer).collect();
    Some(Comparison {
        ours: median(&ours)?,
        peer: median(&peer)?,
        ratio: median(&ratios)?,
        runs: pairs.len(),
    })
}

/// The slope of the straight line through the points that has the least squares; nothing of points that all lie above
/// one another.
#[must_use]
pub fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = points.len() as f64;
    let mean_x = points.iter().map(|point| point.0).sum::<f64>() / count;
    let mean_y = points.iter().map(|point| point.1).sum::<f64>() / count;
    let mixed: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let spread: f64 = points.iter().map(|(x, _)| (x - mean_x) * (x - mean_x)).sum();
    (spread > 0.0).then(|| mixed / spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_that_of_the_line() {
        assert_eq!(slope(&[(0.0, 700.0), (10.0, 1100.0), (20.0, 1500.0)]), Some(40.0));
        let near = slope(&[(0.0, 701.0), (10.0, 1098.0), (20.0, 1501.0)]).unwrap();
        assert!((near - 40.0).abs() < 0.1, "{near}");
        assert_eq!(slope(&[(5.0, 1.0), (5.0, 2.0)]), None);
        assert_eq!(slope(&[]), None);
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[1.0, f64::NAN]), None);
    }

    #[test]
    fn one_bad_run_does_not_move_the_result() {
        let pairs = [(10.0, 40.0), (11.0, 44.0), (1000.0, 40.0), (9.0, 36.0), (10.0, 40.0)];
        let comparison = compare(&pairs).unwrap();
        assert_eq!(comparison, Comparison { ours: 10.0, peer: 40.0, ratio: 0.25, runs: 5 });
    }

    #[test]
    fn a_drift_of_both_sides_leaves_the_ratio() {
        let pairs = [(1.0, 2.0), (2.0, 4.0), (4.0, 8.0), (8.0, 16.0)];
        assert_eq!(compare(&pairs).unwrap().ratio, 0.5);
    }

    #[test]
    fn nothing_is_compared_with_zero() {
        assert_eq!(compare(&[(1.0, 0.0)]), None);
        assert_eq!(compare(&[]), None);
    }
}
