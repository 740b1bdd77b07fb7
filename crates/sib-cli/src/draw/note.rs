//! What the reader of a figure must know, in small print below it.

use sib_explain::render::Text;

use super::colour::GREY;
use super::style::SMALL_PT;
use super::svg::{Anchor, Svg, Type};

/// A line of it.
const LINE: f64 = SMALL_PT + 2.0;
/// At most so many lines.
const LINES: usize = 4;

/// A note, broken into lines.
pub struct Note(Vec<String>);

impl Note {
    /// The text at a page's width in points.
    pub fn new(text: &str, width: f64) -> Self {
        Self(Text::with_font_size(false, SMALL_PT as f32).wrap(text, width as f32 - 2.0, LINES))
    }

    pub fn height(&self) -> f64 {
        LINE * self.0.len() as f64 + 2.0
    }

    pub fn draw(&self, svg: &mut Svg, top: f64) {
        let set = Type { colour: GREY, ..Type::new(SMALL_PT, Anchor::Start) };
        for (index, line) in self.0.iter().enumerate() {
            svg.text((1.0, top + LINE * (index as f64 + 0.8)), &set, line);
        }
    }
}
