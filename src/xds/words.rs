//! What a client's words of a refusal say of single resources.
//!
//! Envoy names the clusters and listeners that it refuses, each with its reason, and has accepted the others of the
//! response: `Error adding/updating cluster(s) a: no such filter, b: …`, listeners one a line. It cuts the text at 4,096
//! characters. Of a resource that its schema does not allow, it may print all before it says why.

use std::borrow::Cow;
use std::collections::BTreeSet;

/// Where the text may have been cut.
const CUT: usize = 4096;

/// With what Envoy begins to print a resource, and with what it begins to say why it refuses that.
const PRINTED: &str = "goo.gle/debug";
const REASON: &str = "Proto constraint validation failed";

/// As much of a printed resource as shows which one it is.
const PRINTED_MAX: usize = 200;

/// What is kept of a client's words: the reason, and no resource as a whole. What is too long loses its middle, because
/// the reason may stand at either end.
pub(crate) fn cut(words: &str) -> Cow<'_, str> {
    let words = match words.find(PRINTED) {
        Some(begin) => Cow::Owned(without_printed(&words[..begin], &words[begin..])),
        None => Cow::Borrowed(words),
    };
    if words.len() <= CUT {
        return words;
    }
    const GAP: &str = " … ";
    let head = CUT / 2;
    let mut begin = words.len() - (CUT - head - GAP.len());
    while !words.is_char_boundary(begin) {
        begin += 1;
    }
    Cow::Owned(format!("{}{GAP}{}", beginning(&words, head), &words[begin..]))
}

/// Envoy prints the resource before it says what is wrong with it, and may have cut its words before it came to that.
fn without_printed(before: &str, printed: &str) -> String {
    if let Some(reason) = printed.rfind(REASON) {
        return format!("{before}{}", &printed[reason..]);
    }
    let shown = beginning(printed, PRINTED_MAX);
    if before.contains(REASON) || shown.len() == printed.len() {
        return format!("{before}{shown}");
    }
    format!(
        "{before}{shown} … (Envoy prints what it refuses and cuts its words before it says why: its log has the reason, at \
         \"{REASON}\")"
    )
}

/// At most so many bytes of a text.
fn beginning(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// What follows the announcement of refused clusters or listeners.
const HEADS: [&str; 2] = ["Error adding/updating cluster(s) ", "Error adding/updating listener(s) "];

/// What an Envoy says of a listener whose address it cannot have from the kernel, and of one whose address another of
/// its listeners has.
const CANNOT_BIND: &str = "cannot bind";
const DUPLICATE_ADDRESS: &str = "duplicate address";

/// What an Envoy says when the reason may be its machine, or what it was built or started with. Another one of the same
/// version may take the same resource. A port may be taken or not allowed, and the kernel may not have an
/// address or a socket option. A file may be unreadable, and an extension left out of a build.
const OF_MACHINE: [&str; 12] = [
    CANNOT_BIND,
    DUPLICATE_ADDRESS,
    "socket option",
    "unable to read file",
    "Invalid path",
    "does not exist",
    "No such file",
    "Permission denied",
    "Failed to load",
    "Didn't find a registered implementation",
    "Unable to unpack",
    "could not find @type",
];

/// Whether a client refuses something for a reason that may be its machine's alone.
pub fn is_of_machine(words: &str) -> bool {
    OF_MACHINE.iter().any(|known| words.contains(known))
}

/// Whether a client refuses a listener because it could not bind it.
pub fn is_unbound(words: &str) -> bool {
    words.contains(CANNOT_BIND)
}

/// Whether a client refuses a listener because it cannot have its address: it may, when another listener has gone.
pub fn is_of_address(words: &str) -> bool {
    is_unbound(words) || words.contains(DUPLICATE_ADDRESS)
}

/// The resources that a client names as the reason.
#[derive(Debug, Default, PartialEq)]
pub struct Blame<'a> {
    /// For each, its place in the list of names, and the client's words of it.
    pub culprits: Vec<(usize, &'a str)>,
    /// Whether it names all that it refuses.
    pub complete: bool,
}

/// Which of the names, which are ordered, the client says that it refuses.
pub fn named<'a>(words: &'a str, names: &[&str]) -> Blame<'a> {
    let Some(mut at) = HEADS.iter().find_map(|head| Some(words.find(head)? + head.len())) else {
        return Blame::default();
    };
    let mut begins = Vec::new();
    while at < words.len() {
        if let Some((name, end)) = longest(words, at, names) {
            begins.push((at, name));
            at = end;
        }
        match words[at..].find([',', '\n']) {
            Some(next) => {
                at += next + 1;
                at += words[at..].len() - words[at..].trim_start_matches(' ').len();
            }
            None => break,
        }
    }
    let ends = begins.iter().skip(1).map(|(at, _)| *at).chain([words.len()]);
    let entry = |((at, name), end): (&(usize, usize), usize)| {
        (*name, words[*at..end].trim_end_matches([',', ' ', '\n']))
    };
    let culprits = begins.iter().zip(ends).map(entry).collect();
    Blame { culprits, complete: words.len() < CUT && !words.contains("(truncated)") }
}

/// The longest of the names that stands at that place, followed by a colon, and where it ends.
fn longest(words: &str, at: usize, names: &[&str]) -> Option<(usize, usize)> {
    let rest = &words[at..];
    let mut found = None;
    for (end, _) in rest.match_indices(": ") {
        // Those that begin with more than the longest common part are not there.
        if let Ok(name) = names.binary_search(&&rest[..end]) {
            found = Some((name, at + end));
        }
        let next = names.partition_point(|name| *name < &rest[..end]);
        if !names.get(next).is_some_and(|name| name.starts_with(&rest[..end])) {
            break;
        }
    }
    found
}

/// Which of the names, which are ordered, stand in quotes somewhere: a hint, no more.
pub fn hinted(words: &str, names: &[&str]) -> Vec<usize> {
    let mut found: Vec<usize> =
        quoted(words).into_iter().filter_map(|part| names.binary_search(&part).ok()).collect();
    found.sort_unstable();
    found
}

/// All that may be a name in a client's words: what stands in quotes, or by itself.
pub fn quoted(words: &str) -> BTreeSet<&str> {
    words.split(['"', '\'', ' ', '\n']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 5] = ["127.0.0.1_80", "a", "ab", "ab: c", "b"];

    fn names(words: &str) -> Vec<(&'static str, &str)> {
        named(words, &NAMES).culprits.into_iter().map(|(at, words)| (NAMES[at], words)).collect()
    }

    #[test]
    fn each_name_comes_with_its_own_reason() {
        let words = "Error adding/updating cluster(s) a: no such type, b: Invalid path: /a, not there";
        let expected = [("a", "a: no such type"), ("b", "b: Invalid path: /a, not there")];
        assert_eq!(names(words), expected);
        let words = "Error adding/updating listener(s) 127.0.0.1_80: cannot bind '127.0.0.1:80': Permission \
                     denied\nb: no address\n";
        let bind = "127.0.0.1_80: cannot bind '127.0.0.1:80': Permission denied";
        assert_eq!(names(words), [("127.0.0.1_80", bind), ("b", "b: no address")]);
    }

    #[test]
    fn the_longest_name_counts() {
        assert_eq!(names("Error adding/updating cluster(s) ab: x")[0].0, "ab");
        assert_eq!(names("Error adding/updating cluster(s) ab: c: x")[0].0, "ab: c");
        assert_eq!(names("Error adding/updating cluster(s) other: a, b: x"), [("b", "b: x")]);
    }

    #[test]
    fn other_words_name_nobody_and_may_hint() {
        for words in ["", "a", "malformed IP address: a", "cluster_name: \"ab\"", "é: "] {
            assert_eq!(named(words, &NAMES), Blame::default());
        }
        assert_eq!(hinted("cluster_name: \"ab\"\nendpoints", &NAMES), [2]);
        assert_eq!(hinted("Duplicate entry of domain x in route b", &NAMES), [4]);
    }

    const DUMP: &str = "goo.gle/debugstr  \nname: \"v/a\"\ndomains: \"a\"\n";

    #[test]
    fn the_reason_is_kept_and_not_the_resource_that_stands_before_it() {
        let reason = "Proto constraint validation failed (VirtualHostValidationError.Routes[5]: \
                      embedded message failed validation | caused by RedirectActionValidationError.PathRedirect)";
        let routes = "routes {\n  match {\n    prefix: \"/p1\"\n  }\n}\n".repeat(50);
        assert_eq!(cut(&format!("{DUMP}{routes}: {reason}")), reason);
        assert_eq!(cut(&format!("rejected: {DUMP}{routes}: {reason}")), format!("rejected: {reason}"));
        let first = format!("{reason}: {DUMP}{routes}");
        assert!(cut(&first).starts_with(&format!("{reason}: {DUMP}")) && cut(&first).len() < 500);
    }

    #[test]
    fn where_envoy_cut_the_reason_off_it_is_said_where_it_is() {
        let words = format!("{DUMP}{}...(truncated)", "é".repeat(2048));
        let kept = cut(&words);
        assert!(kept.starts_with(DUMP) && kept.contains("its log has the reason"), "{kept}");
        assert!(kept.len() < 500);
    }

    #[test]
    fn what_is_too_long_keeps_both_ends() {
        let words = format!("begin{}end", "€".repeat(5000));
        let kept = cut(&words);
        assert!(kept.len() <= CUT && kept.len() > CUT - 8, "{}", kept.len());
        assert!(kept.starts_with("begin€") && kept.ends_with("€end") && kept.contains(" … "));
        assert_eq!(cut("short"), "short");
    }

    #[test]
    fn a_text_that_was_cut_does_not_name_all() {
        let cut = format!("Error adding/updating cluster(s) a: {}...(truncated)", "é".repeat(2048));
        assert!(!named(&cut, &NAMES).complete);
        assert!(named("Error adding/updating cluster(s) a: x", &NAMES).complete);
    }
}
