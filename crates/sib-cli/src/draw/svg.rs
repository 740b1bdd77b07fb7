//! An SVG document, element by element. Its unit is the point (1/72 inch), so that font sizes are
//! those of print; its physical size is given in millimetres.

use std::fmt::{self, Write};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use quick_xml::escape::escape;

use super::colour::{Colour, Dash, INK};
use super::label;

/// Points of a millimetre.
pub const PT_PER_MM: f64 = 72.0 / 25.4;

/// DejaVu Sans, or where a viewer has none, fonts of the same widths or nearly so.
const FONTS: &str = "DejaVu Sans, Bitstream Vera Sans, Verdana, sans-serif";

/// A rectangle; y runs down.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rect {
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// To the right of `x`.
    pub width: f64,
    /// Down from `y`.
    pub height: f64,
}

impl Rect {
    /// Its right edge.
    pub fn right(&self) -> f64 {
        self.x + self.width
    }

    /// Its lower edge.
    pub fn bottom(&self) -> f64 {
        self.y + self.height
    }
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stroke {
    /// Its colour.
    pub colour: Colour,
    /// Its width in points.
    pub width: f64,
    /// Its dashes.
    pub dash: Dash,
}

impl Stroke {
    /// A continuous line.
    pub fn solid(colour: Colour, width: f64) -> Self {
        Self { colour, width, dash: Dash::Solid }
    }
}

impl fmt::Display for Stroke {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, r#"stroke="{}" stroke-width="{}""#, self.colour, self.width)?;
        match self.dash.pattern() {
            None => Ok(()),
            Some(pattern) => write!(f, r#" stroke-dasharray="{pattern}""#),
        }
    }
}

/// What fills a shape.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fill {
    /// Its colour.
    pub colour: Colour,
    /// From 0, invisible, to 1.
    pub opacity: f64,
}

impl From<Colour> for Fill {
    fn from(colour: Colour) -> Self {
        Self { colour, opacity: 1.0 }
    }
}

impl fmt::Display for Fill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, r#"fill="{}""#, self.colour)?;
        if self.opacity < 1.0 { write!(f, r#" fill-opacity="{}""#, self.opacity) } else { Ok(()) }
    }
}

/// Which point of a text stands at its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// The left end.
    Start,
    /// The middle.
    Middle,
    /// The right end.
    End,
}

/// How a text is set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Type {
    /// Font size in points.
    pub size: f64,
    /// Bold rather than regular.
    pub bold: bool,
    /// Where it stands.
    pub anchor: Anchor,
    /// Turned a quarter counter-clockwise: read from below.
    pub upright: bool,
    /// Its colour.
    pub colour: Colour,
}

impl Type {
    /// Regular, black, horizontal.
    pub fn new(size: f64, anchor: Anchor) -> Self {
        Self { size, bold: false, anchor, upright: false, colour: INK }
    }
}

/// A document in the making.
#[derive(Debug)]
pub struct Svg {
    width: f64,
    height: f64,
    body: String,
}

impl Svg {
    /// An empty white page of so many points.
    pub fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    fn push(&mut self, element: fmt::Arguments<'_>) {
        self.body.write_fmt(element).and_then(|()| self.body.write_char('\n')).unwrap_or(());
    }

    /// Begins a group that readers of the source and of the picture's text know by its title.
    pub fn begin_group(&mut self, title: &str) {
        let title = label::plain(title);
        self.push(format_args!("<g>\n<title>{}</title>", escape(title.as_str())));
    }

    /// Ends the group.
    pub fn end_group(&mut self) {
        self.push(format_args!("</g>"));
    }

    /// A line through `points`.
    pub fn polyline(&mut self, points: &[(f64, f64)], stroke: &Stroke) {
        let points = coordinates(points);
        self.push(format_args!(
            r#"<polyline points="{points}" fill="none" stroke-linejoin="round" {stroke}/>"#
        ));
    }

    /// A filled shape with corners `points`, with an outline where there is one.
    pub fn polygon(&mut self, points: &[(f64, f64)], fill: Fill, outline: Option<&Stroke>) {
        let outline = outline.map_or(String::new(), |stroke| format!(" {stroke}"));
        let points = coordinates(points);
        self.push(format_args!(r#"<polygon points="{points}" {fill}{outline}/>"#));
    }

    /// A disc, with an outline where there is one.
    pub fn circle(&mut self, (x, y): (f64, f64), radius: f64, fill: Fill, outline: &Stroke) {
        self.push(format_args!(
            r#"<circle cx="{x:.2}" cy="{y:.2}" r="{radius:.2}" {fill} {outline}/>"#
        ));
    }

    /// A filled rectangle, with an outline where there is one.
    pub fn rect(&mut self, area: Rect, fill: Fill, outline: Option<&Stroke>) {
        let outline = outline.map_or(String::new(), |stroke| format!(" {stroke}"));
        let Rect { x, y, width, height } = area;
        self.push(format_args!(
            r#"<rect x="{x:.2}" y="{y:.2}" width="{width:.2}" height="{height:.2}" {fill}{outline}/>"#
        ));
    }

    /// The edge of a rectangle.
    pub fn outline(&mut self, area: Rect, stroke: &Stroke) {
        let Rect { x, y, width, height } = area;
        self.push(format_args!(
            r#"<rect x="{x:.2}" y="{y:.2}" width="{width:.2}" height="{height:.2}" fill="none" {stroke}/>"#
        ));
    }

    /// A picture that is stretched over `area`, given as the bytes of a PNG file.
    pub fn image(&mut self, area: Rect, png: &[u8]) {
        let Rect { x, y, width, height } = area;
        let data = BASE64_STANDARD.encode(png);
        self.push(format_args!(
            r#"<image x="{x:.2}" y="{y:.2}" width="{width:.2}" height="{height:.2}" preserveAspectRatio="none" href="data:image/png;base64,{data}"/>"#
        ));
    }

    /// One line of text with its baseline at `y`; `_{...}` is set as a subscript.
    pub fn text(&mut self, (x, y): (f64, f64), set: &Type, text: &str) {
        let anchor = match set.anchor {
            Anchor::Start => "",
            Anchor::Middle => r#" text-anchor="middle""#,
            Anchor::End => r#" text-anchor="end""#,
        };
        let weight = if set.bold { r#" font-weight="bold""# } else { "" };
        let turn = if set.upright {
            format!(r#" transform="rotate(-90 {x:.2} {y:.2})""#)
        } else {
            String::new()
        };
        let (size, colour, runs) = (set.size, set.colour, label::tspans(text, set.size));
        self.push(format_args!(
            r#"<text x="{x:.2}" y="{y:.2}" font-size="{size}" fill="{colour}"{anchor}{weight}{turn}>{runs}</text>"#
        ));
    }

    /// The document.
    pub fn finish(self) -> String {
        let Self { width, height, body } = self;
        let (wide_mm, high_mm) = (width / PT_PER_MM, height / PT_PER_MM);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{wide_mm:.2}mm\" \
             height=\"{high_mm:.2}mm\" viewBox=\"0 0 {width:.2} {height:.2}\" \
             font-family=\"{FONTS}\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{body}</svg>\n"
        )
    }
}

fn coordinates(points: &[(f64, f64)]) -> String {
    let pairs: Vec<String> = points.iter().map(|(x, y)| format!("{x:.2},{y:.2}")).collect();
    pairs.join(" ")
}
