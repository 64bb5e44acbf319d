//! The contract of registries, kept by Consul: by a real agent, and by one in this process that can do what
//! a healthy server does not.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

// A test's modules are looked for beside it, where they would be tests of their own.
#[path = "contract/catalog.rs"]
mod catalog;
#[path = "contract/fake.rs"]
mod fake;
#[path = "contract/real.rs"]
mod real;

mod on_a_real_consul {
    use crate::real::RealBackend;

    async fn real() -> anyhow::Result<Option<RealBackend>> {
        RealBackend::new().await
    }

    pilot_registry_testkit::contract!(real);
}

mod on_a_fake_consul {
    use crate::fake::FakeBackend;

    async fn fake() -> anyhow::Result<FakeBackend> {
        FakeBackend::new(100).await
    }

    pilot_registry_testkit::contract!(fake);
}

/// The same with nearly no long polls, so that services are read in turn.
mod in_turn_on_a_fake_consul {
    use crate::fake::FakeBackend;

    async fn in_turn() -> anyhow::Result<FakeBackend> {
        FakeBackend::new(1).await
    }

    pilot_registry_testkit::contract!(in_turn);
}
