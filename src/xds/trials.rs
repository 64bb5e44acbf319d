//! In which order the suspects of a refusal are tried.

/// So many suspects that others refused are tried one by one. More of them are divided like any others.
const ALONE_MAX: usize = 8;

/// Why a suspect may be to blame more than others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clue {
    /// Nothing is known of it.
    None,
    /// Another client refused it.
    Known,
    /// The client's words name it.
    Hinted,
}

/// Divides suspects, of which there are at least two, into groups: each is one trial, and they are tried in this order.
/// Those without a clue come first, because they are probably good.
pub(super) fn groups<T>(suspects: Vec<(T, Clue)>) -> Vec<Vec<T>> {
    let has = |of: Clue| suspects.iter().any(|(_, clue)| *clue == of);
    let are_all_hinted = suspects.iter().all(|(_, clue)| *clue == Clue::Hinted);
    let mark = match () {
        () if has(Clue::Hinted) && !are_all_hinted => Clue::Hinted,
        () if has(Clue::Known) => Clue::Known,
        () => return halves(without_clues(suspects)),
    };
    let (marked, others): (Vec<_>, Vec<_>) = suspects.into_iter().partition(|(_, clue)| *clue == mark);
    let (marked, others) = (without_clues(marked), without_clues(others));
    let alone = mark == Clue::Known && marked.len() <= ALONE_MAX;
    match (alone, others.is_empty()) {
        (true, true) => marked.into_iter().map(|suspect| vec![suspect]).collect(),
        (true, false) => [others].into_iter().chain(marked.into_iter().map(|it| vec![it])).collect(),
        (false, true) => halves(marked),
        (false, false) => vec![others, marked],
    }
}

fn without_clues<T>(suspects: Vec<(T, Clue)>) -> Vec<T> {
    suspects.into_iter().map(|(suspect, _)| suspect).collect()
}

fn halves<T>(mut suspects: Vec<T>) -> Vec<Vec<T>> {
    let second = suspects.split_off(suspects.len() / 2);
    vec![suspects, second]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups_of(text: &str) -> Vec<String> {
        let clue = |letter: char| match letter {
            'a'..='z' => Clue::None,
            '0'..='9' => Clue::Known,
            _ => Clue::Hinted,
        };
        let groups = groups(text.chars().map(|letter| (letter, clue(letter))).collect());
        groups.into_iter().map(|group| group.into_iter().collect()).collect()
    }

    #[test]
    fn what_others_refused_is_tried_alone_and_what_the_words_name_together_and_last() {
        assert_eq!(groups_of("abcde"), ["ab", "cde"]);
        assert_eq!(groups_of("ab1c2"), ["abc", "1", "2"]);
        assert_eq!(groups_of("12"), ["1", "2"]);
        assert_eq!(groups_of("aX1bY"), ["a1b", "XY"]);
        assert_eq!(groups_of("XY1"), ["1", "XY"]);
        assert_eq!(groups_of("XYZ"), ["X", "YZ"]);
        assert_eq!(groups_of("a0123456789"), ["a", "0123456789"]);
        assert_eq!(groups_of("0123456789"), ["01234", "56789"]);
    }
}
