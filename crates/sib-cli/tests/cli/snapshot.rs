//! Files that programs of others read: their columns, names and order are those of the files in
//! `tests/data`, and so are the numbers up to rounding.
//!
//! `SIB_SNAPSHOTS=update` writes what was found in the place of what is there.

use std::path::{Path, PathBuf};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// The text of the golden file `name`; `found`, where snapshots are to be updated.
fn expected(name: &str, found: &str) -> String {
    let path = golden(name);
    if std::env::var_os("SIB_SNAPSHOTS").is_some_and(|what| what == "update") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, found).unwrap();
    }
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Compares a text with the golden file `name`.
#[track_caller]
pub(crate) fn assert_text(found: &str, name: &str) {
    let expected = expected(name, found);
    assert!(found == expected, "{name}: expected\n{expected}\nfound\n{found}");
}

/// Compares the CSV file at `path` with the golden file `name`: the header to the letter, the fields
/// as text, or as numbers that `are_close(column, row, found, expected)`.
#[track_caller]
pub(crate) fn assert_csv(
    path: &Path,
    name: &str,
    are_close: impl Fn(&str, &[String], f64, f64) -> bool,
) {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let expected = expected(name, &text);
    let (header, found) = parsed(&text);
    let (expected_header, expected) = parsed(&expected);
    assert_eq!(header, expected_header, "{name}");
    assert_eq!(found.len(), expected.len(), "{name}: rows");
    for (line, (found, row)) in found.iter().zip(&expected).enumerate() {
        for ((column, found), expected) in header.iter().zip(found).zip(row) {
            let same = found == expected
                || numbers(found).zip(numbers(expected)).is_some_and(|(found, expected)| {
                    let pairs = || found.iter().zip(&expected);
                    found.len() == expected.len()
                        && pairs().all(|(a, b)| are_close(column, row, *a, *b))
                });
            assert!(same, "{name}: line {}, {column}: {found}, expected {expected}", line + 2);
        }
    }
}

fn parsed(text: &str) -> (Vec<String>, Vec<Vec<String>>) {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
    let rows = reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect());
    let mut rows: Vec<Vec<String>> = rows.collect();
    (rows.remove(0), rows)
}

/// The numbers of a field, separated by spaces; `None` where it holds something else.
fn numbers(field: &str) -> Option<Vec<f64>> {
    let numbers: Result<Vec<f64>, _> = field.split_whitespace().map(str::parse).collect();
    numbers.ok().filter(|numbers| !numbers.is_empty())
}
