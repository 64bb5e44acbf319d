//! TOML, by the `toml` package's own tree with spans.

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::{Field, Lines, Node, Value};
use crate::problem::Mistake;

pub(super) fn parse(text: &str) -> Result<Node, Mistake> {
    let lines = Lines::new(text);
    let document = DeTable::parse(text).map_err(|error| {
        let at = lines.position(error.span().map_or(0, |span| span.start));
        Mistake::new(at, error.message().trim().replace('\n', ", "))
    })?;
    Ok(Node { at: lines.position(0), value: table(document.get_ref(), &lines)? })
}

fn node(value: &Spanned<DeValue<'_>>, lines: &Lines<'_>) -> Result<Node, Mistake> {
    let at = lines.position(value.span().start);
    let value = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.clone().into_owned()),
        DeValue::Integer(number) => Value::Integer(
            integer(number).ok_or_else(|| Mistake::new(at, format!("integer {number} is too large")))?,
        ),
        DeValue::Float(_) => Value::Other("a fraction"),
        DeValue::Boolean(yes) => Value::Bool(*yes),
        DeValue::Datetime(_) => Value::Other("a date or time"),
        DeValue::Array(items) => {
            Value::List(items.iter().map(|item| node(item, lines)).collect::<Result<_, _>>()?)
        }
        DeValue::Table(fields) => table(fields, lines)?,
    };
    Ok(Node { at, value })
}

fn table(fields: &DeTable<'_>, lines: &Lines<'_>) -> Result<Value, Mistake> {
    let field = |(key, value): (&Spanned<std::borrow::Cow<'_, str>>, _)| {
        let at = lines.position(key.span().start);
        Ok(Field { at, key: key.get_ref().clone().into_owned(), value: node(value, lines)? })
    };
    Ok(Value::Table(fields.iter().map(field).collect::<Result<_, Mistake>>()?))
}

fn integer(number: &DeInteger<'_>) -> Option<i128> {
    i128::from_str_radix(number.as_str(), number.radix()).ok()
}
