//! Documents of rules in files of the same folder.

use anyhow::Result;
use pilot_registry::{RuleStore, async_trait};
use pilot_registry_file::{RulesConfig, rules};
use pilot_registry_testkit::documents::DocumentBackend;
use pilot_registry_testkit::{Backend, BadConfig};

use crate::backend::{FileBackend, Layout};

pub(crate) struct FileDocuments(FileBackend);

impl FileDocuments {
    pub(crate) fn new() -> Result<Self> {
        FileBackend::new(Layout::Folder).map(Self)
    }
}

fn file(name: &str) -> String {
    format!("{name}.yaml")
}

fn refusal(text: &str) -> Result<(), String> {
    let config: RulesConfig = toml::from_str(text).map_err(|error| error.to_string())?;
    rules(config).map(drop).map_err(|error| error.to_string())
}

#[async_trait]
impl DocumentBackend for FileDocuments {
    fn platform(&mut self) -> &mut dyn Backend {
        &mut self.0
    }

    fn store(&self, limit: usize) -> Box<dyn RuleStore> {
        let limit = u64::try_from(limit).expect("it is small");
        let config = RulesConfig { max_file_bytes: limit, ..RulesConfig::new(self.0.path()) };
        Box::new(rules(config).expect("the configuration makes sense"))
    }

    fn place(&self, name: &str) -> String {
        self.0.path().join(file(name)).display().to_string()
    }

    fn has_ages(&self) -> bool {
        false
    }

    fn bad_configs(&self) -> Vec<BadConfig> {
        vec![
            BadConfig { wrong: "an empty path", mentions: &["path"], outcome: refusal("path = ''") },
            BadConfig {
                wrong: "an unknown key",
                mentions: &["line 2", "`pathh`", "`path`"],
                outcome: refusal("path = 'rules'\npathh = ''"),
            },
        ]
    }

    async fn put(&mut self, name: &str, content: &[u8]) -> Result<()> {
        self.0.write_document(&file(name), Some(content))
    }

    async fn delete(&mut self, name: &str) -> Result<()> {
        self.0.write_document(&file(name), None)
    }
}
