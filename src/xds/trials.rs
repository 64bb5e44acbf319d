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
pub(super) fn groups<T>(suspects: Vec<T>, clue: impl Fn(&T) -> Clue) -> Vec<Vec<T>> {
    let is = |of: Clue| suspects.iter().any(|suspect| clue(suspect) == of);
    let is_all = |of: Clue| suspects.iter().all(|suspect| clue(suspect) == of);
    let clue_of = match () {
        () if is(Clue::Hinted) && !is_all(Clue::Hinted) => Clue::Hinted,
        () if is(Clue::Known) => Clue::Known,
        () => return halves(suspects),
    };
    let (marked, mut others): (Vec<T>, Vec<T>) = suspects.into_iter().partition(|it| clue(it) == clue_of);
    let mut groups = Vec::new();
    match (clue_of, others.is_empty()) {
        (Clue::Known, _) if marked.len() <= ALONE_MAX => {
            groups.extend(marked.into_iter().map(|suspect| vec![suspect]));
        }
        (_, true) => return halves(marked),
        (_, false) => groups.push(marked),
    }
    if !others.is_empty() {
        groups.insert(0, std::mem::take(&mut others));
    }
    groups
}

fn halves<T>(mut suspects: Vec<T>) -> Vec<Vec<T>> {
    let second = suspects.split_off(suspects.len() / 2);
    vec![suspects, second]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups_of(text: &str) -> Vec<String> {
        let clue = |letter: &char| match letter {
            'a'..='z' => Clue::None,
            '0'..='9' => Clue::Known,
            _ => Clue::Hinted,
        };
        let groups = groups(text.chars().collect(), clue);
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
