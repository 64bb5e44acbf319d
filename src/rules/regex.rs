//! Regular expressions as RE2 reads them, which is what Envoy has. `regex-syntax` has almost the same syntax: what it knows
//! and RE2 does not is named here, and what it does not know is rewritten.

use regex_syntax::ast::{self, Ast};
use regex_syntax::hir::literal::Extractor;

/// RE2 allows no more copies of a part of an expression.
const MOST_COPIES: u32 = 1000;

/// Says why RE2 does not take an expression.
pub(super) fn check(text: &str) -> Result<(), String> {
    let text = unquoted(text);
    let ast = ast::parse::Parser::new().parse(&text).map_err(|error| error.kind().to_string())?;
    copies(&ast).and_then(|_| parts(&ast))?;
    match regex_syntax::Parser::new().parse(&text) {
        Ok(_) => Ok(()),
        Err(regex_syntax::Error::Parse(error)) => Err(error.kind().to_string()),
        Err(regex_syntax::Error::Translate(error)) => Err(error.kind().to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// How many groups an expression has that can be asked for by number.
pub(super) fn groups(text: &str) -> Option<usize> {
    let parsed = regex_syntax::Parser::new().parse(&unquoted(text)).ok()?;
    Some(parsed.properties().explicit_captures_len())
}

/// Whether no text that begins with this matches all of an expression, as far as it can be told.
pub(super) fn never_begins_with(text: &str, begin: char) -> bool {
    let Ok(parsed) = regex_syntax::Parser::new().parse(&unquoted(text)) else { return false };
    let begins = Extractor::new().extract(&parsed);
    begins.literals().is_some_and(|all| {
        let other = |bytes: &[u8]| {
            bytes.first().map_or(!all.is_empty() && begins.is_exact(), |it| *it != begin as u8)
        };
        all.iter().all(|literal| other(literal.as_bytes()))
    })
}

/// The same with what stands between `\Q` and `\E` written sign by sign.
fn unquoted(text: &str) -> String {
    let (mut plain, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(quoted) = rest.strip_prefix("\\Q") {
            let (quoted, behind) = quoted.split_once("\\E").unwrap_or((quoted, ""));
            plain.push_str(&regex_syntax::escape(quoted));
            rest = behind;
        } else {
            let end = rest.char_indices().nth(2).map_or(rest.len(), |(end, _)| end);
            plain.push_str(&rest[..end]);
            rest = &rest[end..];
        }
    }
    plain.push_str(rest);
    plain
}

/// How many copies of its part an expression has.
fn copies(ast: &Ast) -> Result<u32, String> {
    let most = |all: &[Ast]| all.iter().try_fold(1, |most, one| Ok::<_, String>(copies(one)?.max(most)));
    let copies = match ast {
        Ast::Repetition(it) => {
            if matches!(*it.ast, Ast::Repetition(_)) {
                return Err("one repetition follows another: put the first in (?:...)".to_owned());
            }
            let own = match &it.op.kind {
                ast::RepetitionKind::Range(ast::RepetitionRange::Exactly(count)) => *count,
                ast::RepetitionKind::Range(ast::RepetitionRange::AtLeast(count)) => *count,
                ast::RepetitionKind::Range(ast::RepetitionRange::Bounded(_, count)) => *count,
                _ => 1,
            };
            own.max(1).saturating_mul(self::copies(&it.ast)?)
        }
        Ast::Group(group) => self::copies(&group.ast)?,
        Ast::Concat(all) => most(&all.asts)?,
        Ast::Alternation(all) => most(&all.asts)?,
        _ => 1,
    };
    match copies {
        ..=MOST_COPIES => Ok(copies),
        _ => Err(format!("it repeats a part {copies} times: expected at most {MOST_COPIES}")),
    }
}

/// Looks for what RE2 does not have.
fn parts(ast: &Ast) -> Result<(), String> {
    match ast {
        Ast::Flags(set) => flags(&set.flags),
        Ast::Group(group) => {
            if let ast::GroupKind::NonCapturing(own) = &group.kind {
                flags(own)?;
            }
            parts(&group.ast)
        }
        Ast::Literal(it) => literal(it),
        Ast::Assertion(it) => match it.kind {
            ast::AssertionKind::StartLine
            | ast::AssertionKind::EndLine
            | ast::AssertionKind::StartText
            | ast::AssertionKind::EndText
            | ast::AssertionKind::WordBoundary
            | ast::AssertionKind::NotWordBoundary => Ok(()),
            _ => Err("RE2 knows no beginning or end of a word: write \\b".to_owned()),
        },
        Ast::ClassUnicode(class) => unicode(class),
        Ast::ClassBracketed(class) => set(&class.kind),
        Ast::Repetition(it) => parts(&it.ast),
        Ast::Concat(all) => all.asts.iter().try_for_each(parts),
        Ast::Alternation(all) => all.asts.iter().try_for_each(parts),
        Ast::Empty(_) | Ast::Dot(_) | Ast::ClassPerl(_) => Ok(()),
    }
}

fn flags(flags: &ast::Flags) -> Result<(), String> {
    for item in &flags.items {
        let name = match item.kind {
            ast::FlagsItemKind::Flag(ast::Flag::IgnoreWhitespace) => 'x',
            ast::FlagsItemKind::Flag(ast::Flag::CRLF) => 'R',
            ast::FlagsItemKind::Flag(ast::Flag::Unicode) => 'u',
            _ => continue,
        };
        return Err(format!("RE2 has no flag {name}: expected i, m, s or U"));
    }
    Ok(())
}

fn literal(literal: &ast::Literal) -> Result<(), String> {
    use ast::HexLiteralKind::X;
    match literal.kind {
        ast::LiteralKind::HexFixed(X) | ast::LiteralKind::HexBrace(X) if u32::from(literal.c) <= 0xFF => {
            Ok(())
        }
        // Envoys read bytes, and not characters.
        ast::LiteralKind::HexFixed(X) | ast::LiteralKind::HexBrace(X) => {
            Err(format!("Envoys take codes up to \\xFF: write the character itself, {}", literal.c))
        }
        ast::LiteralKind::HexFixed(_) | ast::LiteralKind::HexBrace(_) => {
            Err(format!("RE2 knows no \\u: write the character itself, {}", literal.c))
        }
        _ => Ok(()),
    }
}

fn unicode(class: &ast::ClassUnicode) -> Result<(), String> {
    match class.kind {
        ast::ClassUnicodeKind::NamedValue { .. } => {
            Err("RE2 knows classes by one name only, like \\p{Greek}".to_owned())
        }
        _ => Ok(()),
    }
}

fn set(kind: &ast::ClassSet) -> Result<(), String> {
    match kind {
        ast::ClassSet::BinaryOp(_) => {
            Err("RE2 has no &&, -- or ~~ between sets of signs: write the sign once, or at the end"
                .to_owned())
        }
        ast::ClassSet::Item(it) => item(it),
    }
}

fn item(item: &ast::ClassSetItem) -> Result<(), String> {
    match item {
        ast::ClassSetItem::Literal(it) => literal(it),
        ast::ClassSetItem::Range(range) => literal(&range.start).and_then(|()| literal(&range.end)),
        ast::ClassSetItem::Unicode(class) => unicode(class),
        ast::ClassSetItem::Bracketed(_) => {
            Err("RE2 has no set within a set: write \\[ for the sign".to_owned())
        }
        ast::ClassSetItem::Union(union) => union.items.iter().try_for_each(self::item),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_re2_does_not_have_is_said() {
        for (text, why) in [
            ("(?x)a b", "no flag x"),
            ("(?R:a)", "no flag R"),
            ("a{1001}", "1001 times"),
            ("(a{400}){20}", "8000 times"),
            ("a**", "one repetition follows another"),
            (r"\u{61}", "write the character itself, a"),
            (r"[\u0061]", "write the character itself, a"),
            (r"\x{1F600}", r"codes up to \xFF"),
            ("[a--b]", "no &&, -- or ~~"),
            ("[a[b]]", "no set within a set"),
            (r"\p{Script=Greek}", "one name only"),
            (r"a\b{start}", "beginning or end of a word"),
            ("(?=a)", "look-around"),
            ("a(", "unclosed"),
        ] {
            let said = check(text).expect_err(text);
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    #[test]
    fn what_re2_has_is_taken() {
        for text in [
            r"/\Qv1.0\E/.*",
            r"/\Q(",
            r"\\Q(a)",
            r"[[:word:]]+",
            r"\p{Greek}\pL",
            "(?i)a|b*?",
            "(?P<n>a)(?:b){2,3}",
            "a{1000}",
            r"\x{61}\x61",
            r"^a\b$",
            "",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
        assert_eq!(unquoted(r"/\Qv1.0\E/\Q+"), r"/v1\.0/\+");
    }

    #[test]
    fn groups_are_counted_and_beginnings_found() {
        assert_eq!(groups("(a)(?:b)(?P<c>d)"), Some(2));
        for (text, expected) in [
            ("api/.*", true),
            ("(a|b)c", true),
            ("/api", false),
            (".*", false),
            ("(a|/)b", false),
            ("", true),
            ("a?/", false),
        ] {
            assert_eq!(never_begins_with(text, '/'), expected, "{text:?}");
        }
    }
}
