//! Statistics of loss and latency.

/// A closed interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Least value.
    pub low: f64,
    /// Greatest value.
    pub high: f64,
}

/// Two-sided 95 % quantile of the standard normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// The 95 % Wilson score interval of a share, of which `hits` of `of` were seen
/// (E. B. Wilson, J. Am. Stat. Assoc. 22, 1927). `None` without any trial.
pub fn wilson(hits: u64, of: u64) -> Option<Interval> {
    if of == 0 {
        return None;
    }
    let n = of as f64;
    let p = hits.min(of) as f64 / n;
    let z2 = Z * Z;
    let middle = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    Some(Interval {
        low: if hits == 0 {
            0.0
        } else {
            (middle - half).max(0.0)
        },
        high: if hits >= of {
            1.0
        } else {
            (middle + half).min(1.0)
        },
    })
}

/// Upper 95 % bound of a loss rate when none of `of` was lost: 3/N.
/// `None` without any trial.
pub fn loss_bound(of: u64) -> Option<f64> {
    (of > 0).then(|| (3.0 / of as f64).min(1.0))
}

/// The nearest-rank percentile: the least value that `share` (0 to 1) of all
/// values do not exceed. `sorted` rises. `None` when it is empty.
pub fn percentile(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = (share.clamp(0.0, 1.0) * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The interval is where the score test does not reject: both ends solve
    /// |k/n - p| = z sqrt(p (1 - p) / n), found here by bisection.
    #[test]
    fn wilson_ends_solve_the_score_equation() {
        for (k, n) in [(1, 10), (5, 10), (9, 10), (3, 1000), (500, 1000), (2, 3)] {
            let share = k as f64 / n as f64;
            let excess = |p: f64| (share - p).abs() - Z * (p * (1.0 - p) / n as f64).sqrt();
            let solve = |mut inside: f64, mut outside: f64| {
                for _ in 0..200 {
                    let middle = (inside + outside) / 2.0;
                    if excess(middle) < 0.0 {
                        inside = middle;
                    } else {
                        outside = middle;
                    }
                }
                inside
            };
            let interval = wilson(k, n).unwrap();
            assert!((interval.low - solve(share, 0.0)).abs() < 1e-9, "{k}/{n}");
            assert!((interval.high - solve(share, 1.0)).abs() < 1e-9, "{k}/{n}");
        }
        // R: prop.test(0, 10, correct = FALSE)$conf.int
        let none = wilson(0, 10).unwrap();
        assert_eq!(none.low, 0.0);
        assert!((none.high - 0.277_532_8).abs() < 1e-6);
        assert_eq!(wilson(10, 10).unwrap().high, 1.0);
        assert_eq!(wilson(0, 0), None);
    }

    #[test]
    fn rule_of_three() {
        assert_eq!(loss_bound(1000), Some(0.003));
        assert_eq!(loss_bound(2), Some(1.0));
        assert_eq!(loss_bound(0), None);
    }

    /// The worked example of the nearest-rank method: 15, 20, 35, 40, 50.
    #[test]
    fn nearest_rank() {
        let values = [15.0, 20.0, 35.0, 40.0, 50.0];
        for (share, want) in [
            (0.05, 15.0),
            (0.3, 20.0),
            (0.4, 20.0),
            (0.5, 35.0),
            (1.0, 50.0),
        ] {
            assert_eq!(percentile(&values, share), Some(want), "{share}");
        }
        assert_eq!(percentile(&[], 0.5), None);
        assert_eq!(percentile(&[7.0], 0.0), Some(7.0));
    }
}
