//! What foreign words pass before they are shown, read from the sources.

use std::{fs, path::Path};

/// Raw, a path drives the terminal that it is shown on. `{:?}` of a path loses bytes and
/// is another spelling than that of [`envelope_sdk::printable`].
#[test]
fn no_source_shows_a_path_but_through_the_one_function_for_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut sources = vec![root.join("src"), root.join("envctl/src"), root.join("files/src")];
    let backends = fs::read_dir(root.join("backends")).unwrap();
    sources.extend(backends.map(|backend| backend.unwrap().path().join("src")));
    let mut read = 0;
    for folder in sources {
        search(&folder, &mut |path, text| {
            read += 1;
            for (number, line) in text.lines().enumerate() {
                if line.trim_start().starts_with("//") {
                    continue;
                }
                let raw = RAW.iter().find(|raw| line.contains(*raw));
                assert_eq!(raw, None, "{}:{}: {line}", path.display(), number + 1);
            }
        });
    }
    assert!(read > 50, "only {read} files were read");
}

fn search(folder: &Path, look: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            search(&path, look);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            // The tests within a file come last in it.
            let text = fs::read_to_string(&path).unwrap();
            look(&path, text.split("#[cfg(test)]").next().unwrap());
        }
    }
}

const RAW: [&str; 8] = [
    ".display()",
    "{path:?}",
    "{file:?}",
    "{folder:?}",
    "{journal:?}",
    "{module:?}",
    "{output:?}",
    "file_name():?",
];
