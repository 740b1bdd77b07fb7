//! Labels with subscripts, written `X_{fg}`.

use quick_xml::escape::escape;
use sib_explain::render::Text;

/// Size of a subscript, and how far it is lowered, as shares of the font size.
const SUB_SIZE: f64 = 0.72;
const SUB_DROP: f64 = 0.22;

/// The label's parts, and whether each is a subscript.
fn runs(label: &str) -> impl Iterator<Item = (&str, bool)> {
    let pieces = label.split("_{").enumerate().flat_map(|(i, piece)| {
        let (sub, rest) = match piece.split_once('}') {
            Some((sub, rest)) if i > 0 => (sub, rest),
            _ => ("", piece),
        };
        [(sub, true), (rest, false)]
    });
    pieces.filter(|(text, _)| !text.is_empty())
}

/// Width in the unit of `size`.
pub fn width(label: &str, size: f64, bold: bool) -> f64 {
    let of_size = |size: f64| Text::with_font_size(bold, size as f32);
    let (normal, small) = (of_size(size), of_size(size * SUB_SIZE));
    runs(label).map(|(text, sub)| f64::from(if sub { &small } else { &normal }.width(text))).sum()
}

/// The label without what sets subscripts.
pub fn plain(label: &str) -> String {
    runs(label).map(|(text, _)| text).collect()
}

/// The content of a text element. Subscripts are moved by `dy`, which all viewers know.
pub fn tspans(label: &str, size: f64) -> String {
    let drop = SUB_DROP * size;
    let mut lowered = false;
    let mut content = String::new();
    for (text, sub) in runs(label) {
        // What XML has no place for.
        let is_shown =
            |letter: char| !letter.is_control() && !matches!(letter, '\u{fffe}' | '\u{ffff}');
        let text: String = text.chars().filter(|&letter| is_shown(letter)).collect();
        let escaped = escape(text);
        content.push_str(&match (sub, lowered) {
            (true, _) => format!(
                r#"<tspan dy="{drop:.2}" font-size="{:.2}">{escaped}</tspan>"#,
                SUB_SIZE * size
            ),
            (false, true) => format!(r#"<tspan dy="-{drop:.2}">{escaped}</tspan>"#),
            (false, false) => escaped.into_owned(),
        });
        lowered = sub;
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscripts_are_lowered_and_the_rest_raised_again() {
        let label = "I(X_{fg}; R_{bg}) < 1";
        assert_eq!(plain(label), "I(Xfg; Rbg) < 1");
        assert_eq!(
            tspans(label, 10.0),
            "I(X<tspan dy=\"2.20\" font-size=\"7.20\">fg</tspan><tspan dy=\"-2.20\">; R</tspan>\
             <tspan dy=\"2.20\" font-size=\"7.20\">bg</tspan><tspan dy=\"-2.20\">) &lt; 1</tspan>"
        );
        assert_eq!(tspans("a } b", 10.0), "a } b");
    }

    #[test]
    fn a_subscript_is_narrower() {
        let [sub, plain] = ["X_{fg}", "Xfg"].map(|label| width(label, 7.0, false));
        assert!(0.0 < sub && sub < plain, "{sub} {plain}");
    }
}
