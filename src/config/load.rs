//! Reads pilot.toml and everything that may override it.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use toml::Spanned;
use toml::de::DeTable;

use super::origin::{position, take};
use super::schema::Shape;
use super::walk::Findings;
use super::{
    Config, Origins, Problem, Problems, Setting, UnusedVariable, UsedVariable, check, schema, settings,
    twice, usual, walk,
};

/// A configuration that is in order.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration. Paths in it need no folder any more.
    pub config: Config,
    /// Where its values come from, to say what is wrong with one that turns out to be so later.
    pub origins: Origins,
    /// What the user should know, but what stops nothing.
    pub warnings: Vec<Problem>,
    /// The variables of other tools that stand for keys which the file does not have.
    pub used: Vec<UsedVariable>,
    /// Those that say something and do not count.
    pub unused: Vec<UnusedVariable>,
}

/// More than any pilot.toml, less than hurts.
const MAX_BYTES: u64 = 1 << 20;

/// Reads that file. `environment` is all of it. Flags win over `PILOT_...` in the environment, these over the
/// file, the file over the variables of other tools (`CONSUL_HTTP_ADDR`), and all of that over the defaults.
///
/// # Errors
/// All that is wrong.
pub fn load(
    path: &Path,
    environment: &BTreeMap<String, String>,
    flags: &[Setting],
) -> Result<Loaded, Problems> {
    let text = read(path)?;
    let file = path.display().to_string();
    let mut loaded = parse(&file, &text, environment, flags)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    for (name, entry) in &mut loaded.config.registry {
        entry.resolve(folder, |key| loaded.origins.is_from_file(&format!("registry.{name}.{key}")));
    }
    for (name, entry) in &mut loaded.config.rules {
        entry.resolve(folder, |key| loaded.origins.is_from_file(&format!("rules.{name}.{key}")));
    }
    if let Some(dir) = &mut loaded.config.state.dir
        && loaded.origins.is_from_file("state.dir")
    {
        *dir = folder.join(&*dir);
    }
    Ok(loaded)
}

fn read(path: &Path) -> Result<String, Problems> {
    let problem = |why: String| Problem::with_file(path.display().to_string(), why);
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => problem(
            "there is no such file: --config or PILOT_CONFIG name another; the shortest one is the line \
             registry.local.file.path = \"services.toml\""
                .into(),
        ),
        _ => problem(format!("cannot be opened: {error}")),
    })?;
    let read = file.take(MAX_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| match error.kind() {
        std::io::ErrorKind::IsADirectory => problem("it is a folder: expected a file".into()),
        _ => problem(format!("cannot be read: {error}")),
    })?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(problem(format!("too large: expected at most {MAX_BYTES} bytes")).into());
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
        let (line, column) = position(&valid, valid.len());
        let problem = problem("this byte is not UTF-8".into());
        Problem { line: Some(line), column: Some(column), ..problem }.into()
    })
}

/// Reads the text of a file of that name. Paths in it are left as they are.
///
/// # Errors
/// All that is wrong.
pub fn parse(
    file: &str,
    text: &str,
    environment: &BTreeMap<String, String>,
    flags: &[Setting],
) -> Result<Loaded, Problems> {
    let schema = schema::inlined();
    let (mut table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(syntax(&Origins::new(file, text), &errors));
    }
    let keys = settings::scalar_keys(&schema, table.get_ref());
    let (mut given, mut warnings) = settings::from_environment(environment, &keys);
    given.extend_from_slice(flags);
    let mut origins = Origins::new(file, text);
    origins.add(given.iter().map(|setting| setting.name.as_str()));
    settings::apply(&given, &schema, table.get_mut(), &origins);
    let unused = usual::unused(environment, table.get_ref());
    let usual = usual::find(environment, table.get_ref());
    origins.add(usual.iter().map(usual::Usual::variable));
    usual::apply(&usual, given.len(), table.get_mut(), &origins);

    let of_one_place = usual::of_one_place(table.get_ref());

    let mut findings = walk::walk(&schema, table.get_mut(), &origins);
    origins.note("", table.get_ref());
    let config = deserialize(table, &schema, &origins, &mut findings);
    report_checks(&config, &origins, &mut findings);
    if findings.problems.is_empty() {
        let used = usual.iter().map(usual::Usual::used).collect();
        let doubtful = check::warnings(&config);
        warnings.extend(doubtful.into_iter().map(|(about, message)| origins.problem(&about[0], message)));
        warnings.extend(of_one_place.into_iter().map(|(key, why)| origins.problem(&key, why)));
        return Ok(Loaded { config, origins, warnings, used, unused });
    }
    findings.problems.sort();
    findings.problems.dedup();
    Err(Problems(findings.problems))
}

/// All that is wrong with the text. Of a table that is there twice, what is in it is no mistake, too.
fn syntax(origins: &Origins, errors: &[toml::de::Error]) -> Problems {
    let mut tables: Vec<String> = Vec::new();
    let mut problems = Vec::new();
    for error in errors {
        let Some(twice) = twice::problem(origins, error) else {
            let offset = error.span().map_or(0, |span| span.start);
            problems.push(origins.problem_at(offset, None, format!("not TOML: {}", error.message())));
            continue;
        };
        let key = twice.key.clone().unwrap_or_default();
        let is_inside =
            |table: &String| key.strip_prefix(table.as_str()).is_some_and(|it| it.starts_with('.'));
        if !tables.iter().any(is_inside) {
            problems.push(twice);
            tables.push(key);
        }
    }
    Problems(problems)
}

/// Takes out what cannot be read, and reads again, until the rest can.
fn deserialize(
    mut table: Spanned<DeTable<'_>>,
    schema: &Value,
    origins: &Origins,
    findings: &mut Findings,
) -> Config {
    loop {
        let error = match Config::deserialize(toml::Deserializer::from(table.clone())) {
            Ok(config) => return config,
            Err(error) => error,
        };
        let span = error.span().unwrap_or(0..0);
        let key = origins.key_at(&span).map(str::to_owned);
        let unit = key.as_deref().map(unit_of);
        // A part of a registry that was taken out before is missing now because of that.
        let known = unit.is_some_and(|unit| findings.broken.iter().any(|key| unit_of(key) == unit));
        if !known {
            let message = missing(schema, key.as_deref().unwrap_or_default(), error.message());
            let message = message.unwrap_or_else(|| error.message().to_owned());
            findings.problems.push(origins.problem_at(span.start, key.as_deref(), message));
        }
        let taken = unit.is_some_and(|unit| take(table.get_mut(), unit));
        findings.broken.extend(key);
        if !taken {
            return Config::default();
        }
    }
}

/// What to say of a key that is missing in that table; `None` = the error is about something else.
fn missing(schema: &Value, table: &str, error: &str) -> Option<String> {
    let key = error.strip_prefix("missing field `")?.strip_suffix('`')?;
    let mut path = table.split('.').filter(|key| !key.is_empty()).chain([key]);
    let shape = path.try_fold(Shape::new(schema), |shape, key| shape.get(key));
    let expected = shape.map(|shape| format!(": {}", shape.expected())).unwrap_or_default();
    Some(format!("{key} is missing{expected}"))
}

/// What has to go when that key is broken: a registry or a store of rules as a whole, for its keys have no defaults.
fn unit_of(key: &str) -> &str {
    let mut dots = key.match_indices('.').map(|(at, _)| at);
    match key.starts_with("registry.") || key.starts_with("rules.") {
        true => dots.nth(1).map_or(key, |end| &key[..end]),
        false => key,
    }
}

fn report_checks(config: &Config, origins: &Origins, findings: &mut Findings) {
    let broken = |about: &String| {
        let inside =
            |key: &String| key.strip_prefix(about.as_str()).is_some_and(|rest| rest.starts_with('.'));
        findings.broken.iter().any(|key| key == about || inside(key))
    };
    let found = check::check(config);
    let sound = found.into_iter().filter(|(about, _)| !about.iter().any(broken));
    let problems: Vec<Problem> = sound.map(|(about, message)| origins.problem(&about[0], message)).collect();
    findings.problems.extend(problems);
}
