//! The axes of a plot, and where values stand between them.

use super::axis::{Axis, AxisOptions};
use super::colour::{GRID, INK};
use super::label;
use super::style::{SMALL_PT, TEXT_PT};
use super::svg::{Anchor, Rect, Stroke, Svg, Type};

/// Length of a tick mark.
const TICK: f64 = 2.5;
/// Between a tick mark and its label, a label and what is next to it.
const GAP: f64 = 2.0;
/// Width of axes.
const LINE: f64 = 0.6;

/// What of a panel's surroundings is drawn with it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// The whole panel, with its labels.
    pub outer: Rect,
    /// Space to the left of the axes, as in all panels of the page.
    pub left: f64,
    /// Space below them.
    pub below: f64,
    /// Whether the axes are named: they are once a row, once a column.
    pub names: (bool, bool),
}

/// Axes in their place.
#[derive(Debug)]
pub struct Plot<'a> {
    /// Between the axes.
    pub inner: Rect,
    pub y: Axis,
    title: &'a str,
    /// The name of the y axis and where it stands.
    y_name: Option<(f64, &'a str)>,
}

/// Space to the left of the axes that the labels of `y` need.
pub fn left_space(y: &Axis) -> f64 {
    let widths = y.ticks.iter().map(|&tick| label::width(&y.tick_label(tick), SMALL_PT, false));
    widths.fold(0.0, f64::max) + TICK + GAP + NAME
}

/// Space above the axes: the title, and the factor of the tick labels.
pub const ABOVE: f64 = TEXT_PT + 5.0;
/// Space below them for the labels of ticks.
pub const BELOW: f64 = TICK + GAP + SMALL_PT + 2.0;
/// Space below these for the name of the x axis.
pub const NAME_BELOW: f64 = GAP + TEXT_PT;
/// Space that the name of the y axis takes.
pub const NAME: f64 = TEXT_PT + 2.0 * GAP;
/// Space to the right of the axes, for half a tick's label.
pub const RIGHT: f64 = SMALL_PT + 2.0;

impl<'a> Plot<'a> {
    /// Axes within `place`.
    pub fn new(place: &Place, title: &'a str, y: Axis, y_options: &'a AxisOptions) -> Self {
        let Rect { x, y: top, width, height } = place.outer;
        let inner = Rect {
            x: x + place.left,
            y: top + ABOVE,
            width: width - place.left - RIGHT,
            height: height - ABOVE - place.below,
        };
        let y_name = place.names.1.then_some((x + TEXT_PT, y_options.label.as_str()));
        Self { inner, y, title, y_name }
    }

    /// Where a value stands along the y axis.
    pub fn y_at(&self, value: f64) -> f64 {
        self.y.position(value, self.inner.bottom(), self.inner.y)
    }

    /// Title, y axis, and the lines to read values by: what is drawn before the data.
    pub fn draw_back(&self, svg: &mut Svg) {
        let Rect { x, y, width, .. } = self.inner;
        let (small, axis) = (Type::new(SMALL_PT, Anchor::End), Stroke::solid(INK, LINE));
        for &tick in &self.y.ticks {
            let at = self.y_at(tick);
            svg.polyline(&[(x, at), (x + width, at)], &Stroke::solid(GRID, 0.5));
            svg.polyline(&[(x - TICK, at), (x, at)], &axis);
            svg.text((x - TICK - GAP, at + 0.36 * SMALL_PT), &small, &self.y.tick_label(tick));
        }
        let title = Type { bold: true, ..Type::new(TEXT_PT, Anchor::Middle) };
        svg.text((x + width / 2.0, y - 4.5), &title, self.title);
        if let Some(factor) = self.y.factor() {
            svg.text((x, y - 4.5), &Type::new(SMALL_PT, Anchor::Middle), &factor);
        }
        if let Some((left, name)) = self.y_name {
            let set = Type { upright: true, ..Type::new(TEXT_PT, Anchor::Middle) };
            svg.text((left, y + self.inner.height / 2.0), &set, name);
        }
    }

    /// The axes themselves, which lie over the data.
    pub fn draw_axes(&self, svg: &mut Svg) {
        let Rect { x, y, .. } = self.inner;
        let corner = [(x, y), (x, self.inner.bottom()), (self.inner.right(), self.inner.bottom())];
        svg.polyline(&corner, &Stroke::solid(INK, LINE));
    }

    /// A label below the x axis at `x`, with a tick mark where it is of a number.
    pub fn draw_x_tick(&self, svg: &mut Svg, x: f64, text: &str, mark: bool) {
        let y = self.inner.bottom();
        if mark {
            svg.polyline(&[(x, y), (x, y + TICK)], &Stroke::solid(INK, LINE));
        }
        let baseline = y + TICK + GAP + 0.76 * SMALL_PT;
        svg.text((x, baseline), &Type::new(SMALL_PT, Anchor::Middle), text);
    }

    /// The name of the x axis.
    pub fn draw_x_name(&self, svg: &mut Svg, name: &str) {
        let middle = self.inner.x + self.inner.width / 2.0;
        let baseline = self.inner.bottom() + BELOW + NAME_BELOW - 2.0;
        svg.text((middle, baseline), &Type::new(TEXT_PT, Anchor::Middle), name);
    }
}
