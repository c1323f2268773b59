// The files of a corpus of `fuzz/corpus`, and changes of them, for the tests that run without a fuzzer.

/// Calls a target with each file of its corpus, and with what is left when it is cut off, when bits of it flip, and when a part of it
/// stands twice. The changes are the same in every run.
pub(crate) fn for_each(target: &str, call: fn(&[u8])) {
    const CHANGES: usize = 60;
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = root.ancestors().map(|folder| folder.join("fuzz/corpus").join(target)).find(|folder| folder.is_dir());
    let corpus = corpus.unwrap_or_else(|| panic!("no corpus for {target}"));
    let mut files: Vec<_> = std::fs::read_dir(corpus).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "the corpus of {target} is empty");
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |limit: usize| {
        // xorshift64
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % (limit.max(1) as u64)).unwrap()
    };
    for file in files {
        let data = std::fs::read(&file).unwrap();
        call(&data);
        for _ in 0..CHANGES {
            let mut changed = data.clone();
            match below(3) {
                0 => changed.truncate(below(data.len())),
                1 if !data.is_empty() => {
                    for _ in 0..=below(4) {
                        changed[below(data.len())] ^= 1 << below(8);
                    }
                }
                _ => {
                    let (start, end) = (below(data.len()), below(data.len()));
                    changed.extend_from_slice(&data[start.min(end)..start.max(end)]);
                }
            }
            call(&changed);
        }
    }
}
