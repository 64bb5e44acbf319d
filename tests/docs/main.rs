//! The documents say what is so: pages that follow from the code are generated from it, and every snippet, link
//! and name is checked.
//!
//! `UPDATE_DOCS=1 cargo test --test docs` rewrites the generated pages.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod cli;
mod configuration;
mod deploy;
mod links;
mod metrics;
mod pages;
mod registries;
mod rules;
mod shown;
mod snippets;
mod troubleshooting;
mod words;

#[path = "../support"]
#[allow(dead_code, reason = "each test uses a part")]
mod support {
    pub(crate) mod http;
    pub(crate) mod loopback;
    pub(crate) mod pilot;
    pub(crate) mod process;
    pub(crate) mod shell;
    pub(crate) mod snippets;
    pub(crate) mod tools;
    pub(crate) mod wait;
}
