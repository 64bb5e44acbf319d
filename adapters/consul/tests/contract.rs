//! The contract of registries, kept by Consul: by a real agent, and by one in this process that can do what
//! a healthy server does not; and that of stores of rules, by a real agent.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

// A test's modules are looked for beside it, where they would be tests of their own.
#[path = "contract/catalog.rs"]
mod catalog;
#[path = "contract/documents.rs"]
mod documents;
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

mod rules_on_a_real_consul {
    use crate::documents::ConsulDocuments;

    async fn rules() -> anyhow::Result<Option<ConsulDocuments>> {
        ConsulDocuments::new().await
    }

    pilot_registry_testkit::document_contract!(rules);
}

/// A contract on an agent of that profile, with so many long polls at most.
macro_rules! on_a_fake {
    ($name:ident, $profile:ident, $max_polls:literal) => {
        mod $name {
            use crate::fake::FakeBackend;
            use pilot_registry_testkit::server::consul::Profile;

            async fn fake() -> anyhow::Result<FakeBackend> {
                FakeBackend::new(Profile::$profile, $max_polls).await
            }

            pilot_registry_testkit::contract!(fake);
        }
    };
}

on_a_fake!(on_a_fake_consul, Plain, 100);
on_a_fake!(on_a_fake_consul_that_streams, Streaming, 100);
on_a_fake!(on_a_fake_consul_of_today_that_does_not_stream, StreamingOff, 100);

// The same with nearly no long polls, so that services are read in turn, and no view is asked.
on_a_fake!(in_turn_on_a_fake_consul, Plain, 1);
