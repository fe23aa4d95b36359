//! Percentiles, and medians of them over rounds.

use std::time::Duration;

/// What one round of equal operations gave, in µs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Latency {
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
}

impl Latency {
    pub(super) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |percent: usize| {
            times.get(times.len().saturating_sub(1) * percent / 100).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
        };
        Self { p50_us: at(50), p99_us: at(99) }
    }

    pub(super) fn median(rounds: &[Self]) -> Self {
        Self {
            p50_us: median(rounds.iter().map(|round| round.p50_us)),
            p99_us: median(rounds.iter().map(|round| round.p99_us)),
        }
    }
}

/// The middle value: one slow round on a shared machine does not move it.
pub(super) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_taken_from_the_sorted_times() {
        let latency = Latency::of((1..=101).rev().map(Duration::from_micros).collect());
        assert_eq!((latency.p50_us.round(), latency.p99_us.round()), (51.0, 100.0));
    }

    #[test]
    fn the_median_ignores_one_outlier() {
        assert!((median([3.0, 1.0, 900.0].into_iter()) - 3.0).abs() < f64::EPSILON);
    }
}
