//! Texts that differ at random from those of a corpus: bytes, lines, and words that documents have.

use fastrand::Rng;
use pilot::rules::Kind;

/// What documents, YAML and numbers are made of.
const WORDS: [&str; 48] = [
    "---\n",
    "...\n",
    "- ",
    ": ",
    "{",
    "}",
    "[",
    "]",
    ",",
    "\"",
    "'",
    "|\n",
    ">\n",
    "&a ",
    "*a",
    "<<: *a",
    "!!str ",
    "? ",
    "#",
    "%YAML 1.2\n",
    "\t",
    "\n",
    "  ",
    "~",
    "null",
    "true",
    ".nan",
    "-.inf",
    "1e400",
    "-1",
    "0x7f",
    "0o17",
    "18446744073709551616",
    "340282366920938463463374607431768211456",
    "NaNs",
    "1e9h",
    "99999999999999999999s",
    "0s",
    "*",
    "*.local",
    "(((((",
    "\\",
    "\u{feff}",
    "\u{0}",
    "é",
    "kind: List\nitems:\n- ",
    "networking.istio.io/v1",
    "metadata",
];

/// How many changes a text has at most, and how long it is at most, in bytes.
const CHANGES: usize = 8;
const LONGEST: usize = 64 << 10;

pub(crate) struct Mutator {
    random: Rng,
    corpus: Vec<Vec<u8>>,
    words: Vec<String>,
}

impl Mutator {
    pub(crate) fn new(seed: u64, corpus: Vec<Vec<u8>>) -> Self {
        let fields = Kind::ALL.into_iter().flat_map(Kind::fields);
        let names = fields.filter_map(|field| {
            let last = field.path.rsplit('.').next()?.trim_end_matches(['[', ']', '{', '}']);
            Some(format!("{last}: "))
        });
        let words = WORDS.iter().map(|word| (*word).to_owned()).chain(names).collect();
        Self { random: Rng::with_seed(seed), corpus, words }
    }

    pub(crate) fn next_text(&mut self) -> Vec<u8> {
        let mut text = self.any_of_corpus();
        for _ in 0..self.random.usize(1..=CHANGES) {
            self.change(&mut text);
            text.truncate(LONGEST);
        }
        text
    }

    fn any_of_corpus(&mut self) -> Vec<u8> {
        self.corpus[self.random.usize(..self.corpus.len())].clone()
    }

    fn change(&mut self, text: &mut Vec<u8>) {
        let (at, end) = self.part(text);
        match self.random.u8(..8) {
            0 => _ = text.drain(at..end),
            1 => {
                let part = text[at..end].to_vec();
                text.splice(at..at, part);
            }
            2 => text.truncate(at),
            3 => {
                let other = self.any_of_corpus();
                let (from, to) = self.part(&other);
                text.splice(at..end, other[from..to].iter().copied());
            }
            4 if at < text.len() => text[at] = self.random.u8(..),
            5 => {
                let (from, to) = self.lines(text);
                let line = text[from..to].to_vec();
                let (other, _) = self.lines(text);
                text.splice(other..other, line);
            }
            6 => {
                let (from, to) = self.lines(text);
                text.drain(from..to);
            }
            _ => {
                let word = self.words[self.random.usize(..self.words.len())].clone();
                let end = if self.random.bool() { at } else { end };
                text.splice(at..end, word.into_bytes());
            }
        }
    }

    /// The bounds of a part, most often a short one.
    fn part(&mut self, text: &[u8]) -> (usize, usize) {
        let at = self.random.usize(..=text.len());
        let most = if self.random.u8(..4) == 0 { text.len() } else { 16 };
        (at, (at + self.random.usize(..=most)).min(text.len()))
    }

    /// The bounds of a line.
    fn lines(&mut self, text: &[u8]) -> (usize, usize) {
        let at = self.random.usize(..=text.len());
        let begin = text[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let end = text[at..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |end| at + end + 1);
        (begin, end)
    }
}
