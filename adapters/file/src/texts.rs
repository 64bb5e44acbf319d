//! Rule documents: the text of each file as it is, and the last one that could be read of a file that cannot be.
//!
//! A file that is gone takes its documents with it: somebody removed it, or all of them are gone at once, which whoever
//! gets the texts holds back. A folder that cannot be listed says nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use pilot_registry::{Text, Texts};

use crate::RulesConfig;
use crate::document::Format;
use crate::files::{self, Wanted};
use crate::last_good::View;

/// The formats of rule documents: they are Kubernetes' own.
const FORMATS: [Format; 2] = [Format::Yaml, Format::Json];

/// The last text of each file.
#[derive(Debug, Default)]
pub(crate) struct LastTexts(BTreeMap<PathBuf, Arc<Text>>);

impl LastTexts {
    /// Reads everything again.
    pub(crate) fn look(&mut self, config: &RulesConfig) -> View<Texts> {
        let mut view = View::default();
        let RulesConfig { path, max_files, max_file_bytes } = config;
        let files = match files::list(Wanted { path, max_files: *max_files, formats: &FORMATS }) {
            Ok(files) => files,
            Err(trouble) => {
                view.troubles.push(trouble);
                view.missing = true;
                return view;
            }
        };
        // An empty folder is one that nobody has put rules into yet, or one that was unmounted.
        view.missing = files.is_empty();
        let (mut before, mut is_one_read) = (std::mem::take(&mut self.0), false);
        for file in files {
            let known = before.remove(&file);
            let text = match files::read(&file, *max_file_bytes) {
                Ok(text) => {
                    is_one_read = true;
                    Some(text)
                }
                Err(trouble) => {
                    view.troubles.push(trouble);
                    view.unread.extend(known.is_none().then(|| file.clone()));
                    None
                }
            };
            let text = match (text, known) {
                (Some(text), Some(known)) if *known.text == *text => Some(known),
                (Some(text), known) => {
                    if known.is_some() {
                        tracing::info!(file = %file.display(), "the file has changed and is read again");
                    }
                    Some(Arc::new(Text { text: text.into(), age: None, namespace: None }))
                }
                (None, known) => known,
            };
            self.0.extend(text.map(|text| (file, text)));
        }
        // Of a file that is in order by itself nothing is waited for.
        view.fresh = is_one_read || view.troubles.is_empty();
        let place = |path: &PathBuf| path.display().to_string().into();
        view.value = self.0.iter().map(|(path, text)| (place(path), Arc::clone(text))).collect();
        view
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn places(view: &View<Texts>) -> Vec<(String, String)> {
        let of = |(place, text): (&Arc<str>, &Arc<Text>)| {
            let name = place.rsplit('/').next().unwrap_or_default();
            (name.to_owned(), text.text.to_string())
        };
        view.value.iter().map(of).collect()
    }

    #[test]
    fn a_file_that_cannot_be_read_keeps_its_last_text_and_one_that_is_gone_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let config = RulesConfig { max_file_bytes: 10, ..RulesConfig::new(folder.path()) };
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let mut texts = LastTexts::default();
        let view = texts.look(&config);
        assert!(
            view.fresh && view.missing && view.value.is_empty(),
            "an empty folder has no rules: {view:?}"
        );
        write("a.yaml", "a");
        write("b.json", "b");
        write("c.toml", "no rules");
        write(".d.yaml", "hidden");
        let first = texts.look(&config);
        let of = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        assert_eq!(places(&first), [of("a.yaml", "a"), of("b.json", "b")]);
        write("a.yaml", "much too long");
        let view = texts.look(&config);
        assert_eq!(places(&view), [of("a.yaml", "a"), of("b.json", "b")]);
        assert!(view.fresh && view.troubles[0].problem.to_string().contains("max_file_bytes"), "{view:?}");
        fs::remove_file(folder.path().join("a.yaml")).unwrap();
        let view = texts.look(&config);
        assert_eq!(places(&view), [of("b.json", "b")]);
        let is_kept = first.value.iter().last().zip(view.value.iter().last());
        assert!(is_kept.is_some_and(|((_, old), (_, new))| Arc::ptr_eq(old, new)), "it did not change");
        fs::remove_dir_all(folder.path()).unwrap();
        let view = texts.look(&config);
        assert!(!view.fresh && view.missing, "a folder that is gone says nothing: {view:?}");
    }
}
