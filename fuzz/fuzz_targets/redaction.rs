#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| openhands_client::hostile::redaction(data));
