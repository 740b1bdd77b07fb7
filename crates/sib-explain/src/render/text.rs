//! Text in pictures: DejaVu Sans, anti-aliased, kerned.

use ab_glyph::{Font, FontRef, PxScale, ScaleFont};
use image::{Rgb, RgbImage};

/// Where a line of text lies relative to its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Centre,
    Right,
}

/// DejaVu Sans at one size.
pub struct Text {
    font: FontRef<'static>,
    scale: PxScale,
}

impl Text {
    /// `height_px` is the distance between two lines.
    pub(super) fn new(bold: bool, height_px: f32) -> Self {
        let bytes = if bold { dejavu::sans::bold() } else { dejavu::sans::regular() };
        let font = FontRef::try_from_slice(bytes).expect("the embedded font is a valid one");
        Self { font, scale: PxScale::from(height_px) }
    }

    /// Set at `size`, as print gives sizes: the height of the letters' body, in any unit.
    pub fn with_font_size(bold: bool, size: f32) -> Self {
        let Self { font, .. } = Self::new(bold, size);
        let body = font.units_per_em().unwrap_or_else(|| font.height_unscaled());
        let scale = PxScale::from(size * font.height_unscaled() / body);
        Self { font, scale }
    }

    /// Width of one line, in the unit of the size.
    pub fn width(&self, line: &str) -> f32 {
        let font = self.font.as_scaled(self.scale);
        let mut previous = None;
        line.chars()
            .map(|char| {
                let glyph = font.glyph_id(char);
                let kern = previous.map_or(0.0, |previous| font.kern(previous, glyph));
                previous = Some(glyph);
                kern + font.h_advance(glyph)
            })
            .sum()
    }

    /// `line` in at most `lines` lines of at most `width`, broken at spaces; what does not fit ends in
    /// an ellipsis.
    pub fn wrap(&self, line: &str, width: f32, lines: usize) -> Vec<String> {
        let mut wrapped: Vec<String> = Vec::new();
        for word in line.split_whitespace() {
            let full = wrapped.len() == lines;
            match wrapped.last_mut() {
                Some(last) if full || self.width(&format!("{last} {word}")) <= width => {
                    last.push(' ');
                    last.push_str(word);
                }
                _ => wrapped.push(word.to_owned()),
            }
        }
        wrapped.iter_mut().for_each(|line| *line = self.shortened(line, width));
        wrapped
    }

    fn shortened(&self, line: &str, width: f32) -> String {
        if self.width(line) <= width {
            return line.to_owned();
        }
        let letters: Vec<char> = line.chars().collect();
        let of =
            |kept: usize| format!("{}…", letters[..kept].iter().collect::<String>().trim_end());
        // The longest that fits: a longer one is wider.
        let (mut fits, mut too_long) = (0, letters.len());
        while fits + 1 < too_long {
            let middle = usize::midpoint(fits, too_long);
            match self.width(&of(middle)) <= width {
                true => fits = middle,
                false => too_long = middle,
            }
        }
        of(fits)
    }

    /// Draws one line; `x` is its middle or right end, `y` the top of its height.
    pub(super) fn draw(
        &self,
        image: &mut RgbImage,
        line: &str,
        (x, y): (f32, f32),
        align: Align,
        color: Rgb<u8>,
    ) {
        let font = self.font.as_scaled(self.scale);
        let mut pen = match align {
            Align::Centre => x - 0.5 * self.width(line),
            Align::Right => x - self.width(line),
        };
        let baseline = y + font.ascent();
        let mut previous = None;
        for char in line.chars() {
            let id = font.glyph_id(char);
            pen += previous.map_or(0.0, |previous| font.kern(previous, id));
            previous = Some(id);
            let glyph = id.with_scale_and_position(self.scale, ab_glyph::point(pen, baseline));
            pen += font.h_advance(id);
            let Some(outline) = self.font.outline_glyph(glyph) else { continue };
            let bounds = outline.px_bounds();
            outline.draw(|dx, dy, coverage| {
                let (x, y) =
                    (bounds.min.x as i64 + i64::from(dx), bounds.min.y as i64 + i64::from(dy));
                let inside = (0..i64::from(image.width())).contains(&x)
                    && (0..i64::from(image.height())).contains(&y);
                if inside {
                    let pixel = image.get_pixel_mut(x as u32, y as u32);
                    for (value, ink) in pixel.0.iter_mut().zip(color.0) {
                        let (paper, ink) = (f32::from(*value), f32::from(ink));
                        *value = (paper + coverage.clamp(0.0, 1.0) * (ink - paper)).round() as u8;
                    }
                }
            });
        }
    }
}
