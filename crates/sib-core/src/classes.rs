//! Class names: lists of them in text files, and what a list must be wherever it comes from.

use std::collections::HashMap;
use std::path::Path;

use crate::{Error, Result};

/// The class names in the text file at `path`, a line each, in the order of the logits.
///
/// Blank lines are left out, as are spaces around a name, a byte-order mark and the carriage returns
/// of other systems.
///
/// # Errors
/// [`Error::Io`]; [`Error::Malformed`] where the file is not UTF-8 text, holds no name, or holds one
/// twice.
pub fn read(path: &Path) -> Result<Vec<String>> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let malformed = |problem: String| Error::malformed(path, problem);
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| malformed("not UTF-8 text, expected a class name a line".to_owned()))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let names = text.split(['\n', '\r']).map(str::trim).filter(|name| !name.is_empty());
    let classes: Vec<String> = names.map(str::to_owned).collect();
    if classes.is_empty() {
        return Err(malformed("names no class, expected a name a line".to_owned()));
    }
    expect_distinct(&classes)
        .map_err(|problem| malformed(problem + ", expected distinct names"))?;
    Ok(classes)
}

/// Checks that no name stands twice in `classes`, since a class that is asked for by its name would be the first of the
/// two, and that none holds a control character, which could steer the terminal that it is printed on.
///
/// # Errors
/// What is wrong, naming the class and its places; the caller adds where the names are from.
pub fn expect_distinct(classes: &[String]) -> Result<(), String> {
    let mut places = HashMap::new();
    for (place, name) in classes.iter().enumerate() {
        if name.contains(char::is_control) {
            return Err(format!("names class {name:?}, number {place}, by a control character"));
        }
        if let Some(first) = places.insert(name.as_str(), place) {
            return Err(format!("names class {name:?} twice, as number {first} and {place}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_bytes(bytes: &[u8]) -> Result<Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("classes.txt");
        std::fs::write(&path, bytes).unwrap();
        read(&path)
    }

    #[test]
    fn text_of_every_system_gives_the_same_names() {
        for text in [
            "cat\nTibetan mastiff\n",
            "\u{feff}cat\nTibetan mastiff",
            "cat\r\nTibetan mastiff\r\n\r\n",
            "\u{feff}\r\n cat \r\n\r\n\tTibetan mastiff",
            "cat\rTibetan mastiff\r",
        ] {
            assert_eq!(
                read_bytes(text.as_bytes()).unwrap(),
                ["cat", "Tibetan mastiff"],
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_name_that_stands_twice_is_named_with_its_places() {
        for (text, expected) in [
            (&b"crane\nheron\ncrane\n"[..], "names class \"crane\" twice, as number 0 and 2"),
            (b"\xef\xbb\xbfcrane\n\ncrane", "names class \"crane\" twice, as number 0 and 1"),
            (b"\n\r\n", "names no class"),
            (b"\xff\xfec\0a\0t\0", "not UTF-8 text"),
        ] {
            let message = read_bytes(text).unwrap_err().to_string();
            assert!(message.contains("classes.txt: ") && message.contains(expected), "{message}");
        }
        // Names that differ by case are two names.
        assert_eq!(expect_distinct(&["Crane".to_owned(), "crane".to_owned()]), Ok(()));
        let steering = expect_distinct(&["a".to_owned(), "b\u{1b}[2J".to_owned()]);
        let expected = "names class \"b\\u{1b}[2J\", number 1, by a control character";
        assert_eq!(steering.unwrap_err(), expected);
    }
}
