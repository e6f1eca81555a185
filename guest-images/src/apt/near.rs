//! Names that are spelled nearly like one that does not exist.

/// At most `count` of `names` within a small edit distance of `wanted`, or
/// containing it, nearest first.
pub fn nearest<'a>(
    wanted: &str,
    names: impl Iterator<Item = &'a str>,
    count: usize,
) -> Vec<String> {
    let limit = 1 + wanted.len() / 4;
    let mut found: Vec<(usize, usize, &str)> = names
        .filter(|name| !name.is_empty())
        .filter_map(|name| {
            let distance = if name.len().abs_diff(wanted.len()) <= limit {
                edit_distance(wanted, name)
            } else {
                usize::MAX
            };
            if distance <= limit {
                Some((distance, name.len(), name))
            } else if wanted.len() >= 3 && name.contains(wanted) {
                Some((limit + 1, name.len(), name))
            } else {
                None
            }
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
        .into_iter()
        .take(count)
        .map(|(_, _, name)| name.to_string())
        .collect()
}

/// Optimal string alignment distance: insertions, deletions, substitutions
/// and swaps of neighbours count one each.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let width = b.len() + 1;
    let mut rows = vec![0usize; (a.len() + 1) * width];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i * width + j] = if i == 0 || j == 0 {
                i + j
            } else {
                let at = |di: usize, dj: usize| rows[(i - di) * width + (j - dj)];
                let cost = usize::from(a[i - 1] != b[j - 1]);
                let mut best = (at(1, 0) + 1).min(at(0, 1) + 1).min(at(1, 1) + cost);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(at(2, 2) + 1);
                }
                best
            };
        }
    }
    rows.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(edit_distance("iperf3", "iperf3"), 0);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("iprf3", "iperf3"), 1);
        assert_eq!(edit_distance("ipref3", "iperf3"), 1);
        assert_eq!(edit_distance("", "abc"), 3);
    }

    #[test]
    fn nearest_first() {
        let names = ["iperf", "iperf3", "ipref", "bash", "libiperf0", "iperf3x"];
        assert_eq!(nearest("iprf3", names.into_iter(), 2), ["iperf3", "iperf"]);
        assert_eq!(
            nearest("iperf", ["libiperf0"].into_iter(), 3),
            ["libiperf0"]
        );
        assert!(nearest("zzz", names.into_iter(), 3).is_empty());
    }
}
