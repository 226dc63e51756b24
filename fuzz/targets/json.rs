//! Hands libFuzzer's inputs to `decoders::json`, which says what is decoded and what must hold of it.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| decoders::json::run(input));
