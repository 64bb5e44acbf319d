//! Texts of stores of rules: `cargo +nightly fuzz run documents`. `tests/fuzz.rs` runs the same function on stable Rust.
#![no_main]

#[path = "../../tests/fuzz/exercise.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    _ = exercise::exercise(data);
});
