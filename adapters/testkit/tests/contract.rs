//! The suite passes on a platform in memory and its correct adapter.

use pilot_registry_testkit::memory::MemoryBackend;

async fn memory() -> anyhow::Result<MemoryBackend> {
    Ok(MemoryBackend::default())
}

pilot_registry_testkit::contract!(memory);
