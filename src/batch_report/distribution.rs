//! How values are spread: a histogram and a few quantiles.

use serde::Serialize;

/// Bars of a histogram.
const BARS: usize = 24;

/// How the values of all rows are spread.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Distribution {
    /// The smallest value.
    pub(super) least: f64,
    /// Half of the values are not above it.
    pub(super) median: f64,
    /// Nine tenths of the values are not above it.
    pub(super) most_are_below: f64,
    /// The largest value.
    pub(super) most: f64,
    /// All values together.
    pub(super) sum: f64,
    /// How many values each bar counts, from the smallest to the largest.
    pub(super) bars: Vec<usize>,
    /// The tallest bar.
    pub(super) tallest: usize,
}

impl Distribution {
    /// Nothing where there is no value.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let mut bars = vec![0; BARS];
        for value in &values {
            bars[bar_of(*value, least, most)] += 1;
        }
        let at = |tenths: usize| values[((values.len() * tenths).div_ceil(10)).saturating_sub(1)];
        let tallest = bars.iter().copied().max().unwrap_or_default();
        Some(Self { least, median: at(5), most_are_below: at(9), most, sum: values.iter().sum(), bars, tallest })
    }
}

fn bar_of(value: f64, least: f64, most: f64) -> usize {
    let bars = 24.0;
    let part = if most > least { (value - least) / (most - least) } else { 0.0 };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of the bars, between 0 and 24")]
    let bar = (part * bars) as usize;
    bar.min(BARS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_from_the_smallest_to_the_largest() {
        let spread = Distribution::of((1..=10).map(f64::from)).unwrap();
        assert_eq!((spread.least, spread.median, spread.most_are_below, spread.most), (1.0, 5.0, 9.0, 10.0));
        assert_eq!(spread.bars.iter().sum::<usize>(), 10);
        assert_eq!((spread.bars[0], spread.bars[BARS - 1], spread.tallest), (1, 1, 1));
        assert!((spread.sum - 55.0).abs() < 1e-9);
    }

    #[test]
    fn one_value_and_none_are_no_trouble() {
        let one = Distribution::of([2.5]).unwrap();
        assert_eq!((one.least, one.median, one.most, one.bars[0]), (2.5, 2.5, 2.5, 1));
        assert_eq!(Distribution::of([f64::NAN]), None);
        assert_eq!(Distribution::of([]), None);
    }
}
