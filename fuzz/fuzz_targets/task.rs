#![no_main]
#![allow(dead_code, unused, missing_docs)]

include!(concat!(env!("OUT_DIR"), "/program.rs"));

libfuzzer_sys::fuzz_target!(|data: &[u8]| hostile::task(data));
