//! Text that others chose, such as names of classes and files, where something else reads it.

use std::borrow::Cow;

/// Characters that a line on a terminal has at most.
const LONGEST_LINE: usize = 20_000;

/// As a line that a terminal may show: [`harmless`], and not without end.
pub fn for_terminal(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(LONGEST_LINE) {
        None => harmless(text),
        Some((end, _)) => Cow::Owned(harmless(&text[..end]).into_owned() + "…"),
    }
}

/// As terminals do not act on it: of the control characters only ends of lines and tabs.
pub fn harmless(text: &str) -> Cow<'_, str> {
    let acts = |letter: char| letter.is_control() && !matches!(letter, '\n' | '\t');
    match text.contains(acts) {
        true => Cow::Owned(text.replace(acts, "\u{fffd}")),
        false => Cow::Borrowed(text),
    }
}

/// Within a line or a cell of Markdown.
pub fn for_markdown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '|' | '\\' | '<' | '`' => shown.extend(['\\', letter]),
            letter if letter.is_control() => shown.push(' '),
            letter => shown.push(letter),
        }
    }
    shown
}

/// As one word of a shell.
pub fn for_shell(text: &str) -> Cow<'_, str> {
    let is_plain = |letter: char| letter.is_alphanumeric() || "._/-+,:@%=".contains(letter);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => Cow::Borrowed(text),
        false => Cow::Owned(format!("'{}'", text.replace('\'', "'\\''"))),
    }
}

/// As a cell of a CSV file, which a spreadsheet would take for a formula by its first character.
pub fn for_spreadsheet(text: &str) -> Cow<'_, str> {
    match text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => Cow::Owned(format!("'{text}")),
        false => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_name_acts_where_it_is_shown() {
        assert_eq!(for_terminal("a\u{1b}]0;x\u{7}\n\tb"), "a\u{fffd}]0;x\u{fffd}\n\tb");
        assert_eq!(for_terminal(&"ä".repeat(30_000)).chars().count(), LONGEST_LINE + 1);
        assert!(matches!(for_terminal("plain − text"), Cow::Borrowed(_)));
        assert_eq!(for_markdown("a|b\n<i>`\\"), "a\\|b \\<i>\\`\\\\");
        assert_eq!(for_spreadsheet("=1+1"), "'=1+1");
        assert_eq!(for_spreadsheet("a=b"), "a=b");
        assert_eq!(for_shell("a/b-1.toml"), "a/b-1.toml");
        assert_eq!(for_shell("it's $(x)"), "'it'\\''s $(x)'");
    }
}
