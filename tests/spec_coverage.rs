//! The requirements of the specification's pages, their coverage tables, the
//! vectors and the tests agree.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod vector_support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use vector_support::{Vector, directory};

#[test]
fn every_requirement_has_a_number_of_its_own() {
    let mut seen = BTreeSet::new();
    for page in PAGES {
        for (id, text) in requirements(page) {
            assert!(text.contains("MUST"), "{id} requires nothing");
            assert!(seen.insert(id.clone()), "{id} stands twice");
        }
        for block in blocks(page) {
            let defines = block.starts_with("**MUST**") || block.starts_with("- **[");
            let speaks_of_words = block.contains("the words MUST, MUST NOT and MAY");
            let without = !defines && !speaks_of_words && block.contains("MUST");
            assert!(!without, "{page}: a requirement without a number: {block}");
        }
    }
    assert!(seen.len() >= 95, "only {} requirements were found", seen.len());
}

#[test]
fn every_requirement_has_a_vector_or_a_test() {
    for page in PAGES {
        let table = table(page);
        let ids: Vec<String> = requirements(page).into_iter().map(|(id, _)| id).collect();
        let rows: Vec<&String> = table.iter().map(|row| &row.id).collect();
        assert_eq!(
            rows,
            ids.iter().collect::<Vec<_>>(),
            "the table has one row for each requirement, in order"
        );
        for row in &table {
            let Row { id, opens, refused, tests } = row;
            if page == AUDIT || SHOWN_BY_TESTS.contains(&id.as_str()) {
                assert!(!tests.is_empty(), "{id} is covered by no test");
                assert!(opens.is_empty() || refused.is_empty(), "vectors show {id}: it is no exception");
            } else {
                assert!(!opens.is_empty(), "no vector opens that shows {id}");
                assert!(!refused.is_empty(), "no vector is refused that breaks {id}");
            }
        }
    }
}

#[test]
fn the_tables_name_exactly_the_vectors_that_name_the_requirement() {
    let mut by_id: BTreeMap<String, [BTreeSet<String>; 2]> = BTreeMap::new();
    for vector in Vector::with_keystores() {
        let opens = vector.field("expect") == "success";
        for id in vector.field("spec").split(' ') {
            by_id.entry(id.into()).or_default()[usize::from(!opens)].insert(vector.name.clone());
        }
    }
    for row in PAGES.into_iter().flat_map(table) {
        let named = by_id.remove(&row.id).unwrap_or_default();
        let listed = [row.opens, row.refused].map(|names| names.into_iter().collect::<BTreeSet<_>>());
        assert_eq!(listed, named, "row {}", row.id);
    }
    assert!(by_id.is_empty(), "vectors name requirements that are on no page: {:?}", by_id.keys());
}

#[test]
fn what_refuses_a_vector_first_is_among_what_it_shows() {
    for vector in Vector::with_keystores() {
        let shown: BTreeSet<&str> = vector.field("spec").split(' ').collect();
        let first: Vec<&str> = vector.all_of("first").flat_map(|clauses| clauses.split(' ')).collect();
        assert_eq!(first.is_empty(), vector.field("expect") == "success", "{}", vector.name);
        assert!(first.iter().all(|clause| shown.contains(clause)), "{}", vector.name);
    }
}

#[test]
fn every_test_of_the_tables_exists() {
    for row in PAGES.into_iter().flat_map(table) {
        for test in &row.tests {
            assert!(test_exists(test), "{}: {test} does not exist", row.id);
        }
    }
}

#[test]
fn the_readme_describes_every_class() {
    let readme = fs::read_to_string(directory().join("README.md")).unwrap();
    let classes: BTreeSet<String> = Vector::with_keystores()
        .iter()
        .map(|vector| vector.name.split('/').next().unwrap().to_owned())
        .collect();
    for class in classes {
        assert!(readme.contains(&format!("| `{class}` |")), "{class}");
    }
}

#[test]
fn the_threat_model_names_vectors_and_tests_that_exist() {
    let model = fs::read_to_string(root().join("docs/threat-model.md")).unwrap();
    let (_, table) = model.split_once("\n## Attacks, and what shows that they fail\n").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let vectors: BTreeSet<String> = Vector::with_keystores().into_iter().map(|vector| vector.name).collect();
    let mut count = 0;
    for row in table.lines().filter(|line| line.starts_with("| ")) {
        let shown_by = row.trim_end_matches(" |").rsplit_once(" | ").unwrap().1;
        for name in shown_by.split('`').skip(1).step_by(2) {
            match name.split_once("::") {
                Some(_) => assert!(test_exists(name), "{name}"),
                None => assert!(vectors.contains(name), "{name}"),
            }
            count += 1;
        }
    }
    assert!(count >= 50, "only {count} references");
}

fn test_exists(test: &str) -> bool {
    let (file, function) = test.split_once("::").expect("FILE::FUNCTION");
    let source = fs::read_to_string(root().join(file)).unwrap_or_else(|_| panic!("{file} is missing"));
    if file.ends_with(".py") {
        return source.contains(&format!("\ndef {function}("));
    }
    // Tests on tokens and buckets are functions in a list, from which a macro makes one test for each kind of those.
    let on_each = || {
        let is_one = [("\nfn", "on_each_token!("), ("\nasync fn", "on_each_store!(")]
            .iter()
            .any(|(begin, list)| source.contains(&format!("{begin} {function}(")) && source.contains(list));
        is_one && source.contains(&format!("    {function},\n"))
    };
    // Also in a module of tests, further in.
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let (plain, on_tokio) = (format!("fn {function}()"), format!("async fn {function}()"));
    let is_it = |pair: &[&str]| {
        let of_tokio = pair[0].starts_with("#[tokio::test") || pair[0].starts_with("#[::tokio::test");
        pair[0] == "#[test]" && pair[1].starts_with(&plain) || of_tokio && pair[1].starts_with(&on_tokio)
    };
    lines.windows(2).any(is_it) || on_each()
}

struct Row {
    id: String,
    opens: Vec<String>,
    refused: Vec<String>,
    tests: Vec<String>,
}

fn table(page: &str) -> Vec<Row> {
    let text = text(page);
    let (_, coverage) = text.split_once("\n## Coverage\n").expect("a section Coverage");
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let mut rows = Vec::new();
    for line in coverage.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, id, opens, refused, tests, _] = cells[..] else { panic!("a row with other columns: {line}") };
        rows.push(Row {
            id: id.into(),
            opens: quoted(opens),
            refused: quoted(refused),
            tests: quoted(tests),
        });
    }
    rows
}

/// Number and text of each requirement.
fn requirements(page: &str) -> Vec<(String, String)> {
    let numbered = |block: String| {
        let (id, text) = block.strip_prefix("- **[")?.split_once("]** ")?;
        Some((id.to_owned(), text.to_owned()))
    };
    blocks(page).into_iter().filter_map(numbered).collect()
}

/// Paragraphs and list items of a page before its coverage table.
fn blocks(page: &str) -> Vec<String> {
    let text = text(page);
    let (text, _) = text.split_once("\n## Coverage\n").expect("a section Coverage");
    let mut blocks = vec![String::new()];
    for line in text.lines() {
        if line.is_empty() || line.starts_with("- ") || line.starts_with('|') {
            blocks.push(String::new());
        }
        let block = blocks.last_mut().unwrap();
        if !block.is_empty() {
            block.push(' ');
        }
        block.push_str(line);
    }
    blocks
}

fn text(page: &str) -> String {
    fs::read_to_string(root().join("docs/spec").join(page)).unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What is said of writers, of time, or of what a reader does besides opening or refusing. A vector shows at most one side of it.
const SHOWN_BY_TESTS: [&str; 20] = [
    "K-1", "K-2", "W-5", "A-5", "P-5", "P-7", "S-4", "S-5", "S-6", "D-1", "D-5", "D-6", "G-3", "G-5", "E-6",
    "O-2", "L-1", "L-2", "L-3", "L-4",
];
/// Its vectors are whole logs, which one test reads.
const AUDIT: &str = "audit-v1.md";
const PAGES: [&str; 3] = ["envelope-v1.md", "keystore-v1.md", AUDIT];
