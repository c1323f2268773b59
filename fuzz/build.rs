//! The program is no library: its modules are compiled into the targets that need them, as src/main.rs lists them.

use std::path::Path;
use std::{env, fs};

fn main() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src");
    let main = fs::read_to_string(source.join("main.rs")).expect("the program's main.rs");
    let mut program = String::new();
    for name in main.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';')) {
        let alone = source.join(format!("{name}.rs"));
        let path = if alone.exists() { alone } else { source.join(name).join("mod.rs") };
        // What only tests have stays out, but for the targets themselves.
        let is_test = main.contains(&format!("#[cfg(test)]\nmod {name};"));
        if !is_test {
            program.push_str(&format!("#[path = {path:?}]\nmod {name};\n"));
        }
    }
    fs::write(Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("program.rs"), program).expect("written");
    println!("cargo::rerun-if-changed=../src/main.rs");
    println!("cargo::rustc-env=BUILT_FROM=fuzz");
}
