//! What is wrong with a topology, and where.

use std::fmt;
use std::sync::Arc;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The topology file. Both count from 1; columns are characters.
    File {
        /// Line.
        line: usize,
        /// Column.
        column: usize,
    },
    /// A command-line argument, as it was written.
    Argument(Arc<str>),
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where.
    pub origin: Origin,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    pub(super) fn new(origin: Origin, what: impl Into<String>, hint: impl Into<String>) -> Self {
        let hint = hint.into();
        Self {
            origin,
            what: what.into(),
            hint: (!hint.is_empty()).then_some(hint),
        }
    }
}

/// A topology that cannot be used. Displays one line for each problem:
/// `file:line:column: what; hint`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopologyError {
    /// Name of the file as it was given.
    pub file: String,
    /// Everything that was found, in the order of the file.
    pub problems: Vec<Problem>,
}

impl fmt::Display for TopologyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            match &problem.origin {
                Origin::File { line: 0, .. } => write!(f, "{}", self.file)?,
                Origin::File { line, column } => write!(f, "{}:{line}:{column}", self.file)?,
                Origin::Argument(argument) => write!(f, "{argument}")?,
            }
            write!(f, ": {}", problem.what)?;
            if let Some(hint) = &problem.hint {
                write!(f, "; {hint}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for TopologyError {}

/// `did you mean 'x'?` when a word of `known` is close to `word`, else the list
/// of what there is.
pub(super) fn suggest(word: &str, known: &[impl AsRef<str>], otherwise: &str) -> String {
    let near = known
        .iter()
        .map(|k| (distance(word, k.as_ref()), k.as_ref()))
        .filter(|(d, k)| *d <= 2 && *d < k.len().max(2))
        .min();
    if let Some((_, near)) = near {
        return format!("did you mean '{near}'?");
    }
    if known.is_empty() {
        return String::new();
    }
    let list: Vec<_> = known.iter().map(AsRef::as_ref).collect();
    format!("{otherwise} {}", list.join(", "))
}

/// Edits (insert, delete, replace, swap of neighbours) between two words.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words() {
        assert_eq!(distance("memroy", "memory"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        let known = ["auto", "kvm", "emulated"];
        assert_eq!(suggest("kmv", &known, "use one of"), "did you mean 'kvm'?");
        assert_eq!(
            suggest("xyz", &known, "use one of"),
            "use one of auto, kvm, emulated"
        );
    }
}
