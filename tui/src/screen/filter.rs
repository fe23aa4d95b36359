//! Filtering: words that occur literally first; only when no line has them, scattered letters. Purely fuzzy matching is
//! too loose for client names (two letters match a quarter of them).

use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};

/// Gives the places of the lines that match, in their order; after a fuzzy match, best first. An empty filter matches
/// every line.
#[must_use]
pub(super) fn matching(filter: &str, lines: &[String]) -> Vec<usize> {
    let words: Vec<String> = filter.split_whitespace().map(str::to_lowercase).collect();
    if words.is_empty() {
        return (0..lines.len()).collect();
    }
    let literal: Vec<usize> = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| {
            let line = line.to_lowercase();
            words.iter().all(|word| line.contains(word.as_str()))
        })
        .map(|(place, _)| place)
        .collect();
    if literal.is_empty() { scattered(filter, lines) } else { literal }
}

fn scattered(filter: &str, lines: &[String]) -> Vec<usize> {
    let mut matcher = Matcher::new(Config::DEFAULT);
    let pattern = Pattern::parse(filter, CaseMatching::Ignore, Normalization::Smart);
    let mut scratch = Vec::new();
    let mut hits: Vec<(u32, usize)> = lines
        .iter()
        .enumerate()
        .filter_map(|(place, line)| Some((pattern.score(Utf32Str::new(line, &mut scratch), &mut matcher)?, place)))
        .collect();
    hits.sort_by_key(|(score, place)| (std::cmp::Reverse(*score), *place));
    hits.into_iter().map(|(_, place)| place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal_hits_keep_fuzzy_ones_away() {
        let lines: Vec<String> =
            ["Tokyo Optics fortigate", "Bluewater Logistics aws-root", "Acme m365-admin", "Café Söhne"]
                .map(String::from)
                .into();
        assert_eq!(matching("to", &lines), [0], "and not every line with a t and later an o");
        assert_eq!(matching("ROOT blue", &lines), [1], "words in any order");
        assert_eq!(matching("m3adm", &lines), [2], "scattered when nothing is literal");
        assert_eq!(matching("sohne", &lines), [3], "accents may be left out");
        assert_eq!(matching("", &lines), [0, 1, 2, 3]);
        assert!(matching("zzz", &lines).is_empty());
    }
}
