//! Groups of bars with error bars.

use super::axis::{Axis, AxisOptions};
use super::colour::{Colour, Dash, INK};
use super::label;
use super::panels::{Key, Panel};
use super::plot::{self, Place, Plot};
use super::svg::{Anchor, Rect, Stroke, Svg, Type};

/// A bar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bar {
    /// Its height.
    pub value: f64,
    /// Half the length of its error bar.
    pub error: Option<f64>,
    /// What to compare its height with: a line across it.
    pub reference: Option<f64>,
}

/// The bars of one colour: one in each group, where there is a value.
#[derive(Debug, Clone, PartialEq)]
pub struct BarSeries {
    /// Its name in the legend.
    pub label: String,
    /// Of the outline.
    pub colour: Colour,
    /// Of the filling; of another lightness than in other series, so that they differ in grey.
    pub fill: Colour,
    /// For each group.
    pub bars: Vec<Option<Bar>>,
}

/// A plot of groups of bars.
#[derive(Debug, Clone, PartialEq)]
pub struct BarChart {
    /// Above it; may be empty.
    pub title: String,
    /// What stands below each group; `_{...}` is a subscript.
    pub groups: Vec<String>,
    /// What runs up.
    pub y: AxisOptions,
    /// The bars.
    pub series: Vec<BarSeries>,
}

/// Share of a group's width that its bars take.
const FILLED: f64 = 0.84;
/// Font size of values, which stand close together.
const VALUE_PT: f64 = 5.5;
/// Half the width of an error bar's end.
const WHISKER: f64 = 1.6;

impl BarChart {
    fn bars(&self) -> impl Iterator<Item = Bar> {
        self.series.iter().flat_map(|series| series.bars.iter().copied().flatten())
    }

    fn y_axis(&self) -> Axis {
        let ends = |bar: Bar| {
            let error = bar.error.unwrap_or_default();
            [bar.value - error, bar.value + error].into_iter().chain(bar.reference)
        };
        let (low, high) = self
            .bars()
            .flat_map(ends)
            .fold((0.0, 0.0), |(low, high), end| (f64::min(low, end), f64::max(high, end)));
        // Room for the value above the highest bar.
        Axis::new(self.y.range.unwrap_or((low, high * 1.06)), 4, false, true)
    }

    fn draw_bar(&self, svg: &mut Svg, plot: &Plot<'_>, area: Rect, bar: Bar, series: &BarSeries) {
        let outline = Stroke::solid(series.colour, 0.7);
        svg.rect(area, series.fill.into(), Some(&outline));
        let middle = area.x + area.width / 2.0;
        let mut top = area.y;
        if let Some(error) = bar.error {
            let (high, low) = (plot.y_at(bar.value + error), plot.y_at(bar.value - error));
            let line = Stroke::solid(INK, 0.7);
            svg.polyline(&[(middle, low), (middle, high)], &line);
            for y in [low, high] {
                svg.polyline(&[(middle - WHISKER, y), (middle + WHISKER, y)], &line);
            }
            top = top.min(high);
        }
        if let Some(reference) = bar.reference {
            let y = plot.y_at(reference);
            let line = Stroke { dash: Dash::Dashed, ..Stroke::solid(INK, 0.9) };
            svg.polyline(&[(area.x - 0.5, y), (area.x + area.width + 0.5, y)], &line);
            top = top.min(y);
        }
        // A value that is wider than its bar would run into the next.
        let texts = [2, 1].map(|digits| plot.y.finer_label(bar.value, digits));
        let fits = |text: &&String| label::width(text, VALUE_PT, false) <= area.width;
        if let Some(text) = texts.iter().find(fits) {
            svg.text((middle, top - 2.0), &Type::new(VALUE_PT, Anchor::Middle), text);
        }
    }
}

impl Panel for BarChart {
    fn has_data(&self) -> bool {
        self.bars().any(|bar| bar.value.is_finite())
    }

    fn legend(&self) -> Vec<(String, Key)> {
        let entry = |series: &BarSeries| {
            (series.label.clone(), Key::Box { colour: series.colour, fill: series.fill })
        };
        self.series.iter().map(entry).collect()
    }

    fn left_space(&self) -> f64 {
        plot::left_space(&self.y_axis())
    }

    fn space_below(&self) -> f64 {
        plot::BELOW
    }

    fn draw(&self, svg: &mut Svg, place: &Place) {
        let plot = Plot::new(place, &self.title, self.y_axis(), &self.y);
        plot.draw_back(svg);
        let group_width = plot.inner.width / self.groups.len() as f64;
        let width = FILLED * group_width / self.series.len() as f64;
        for (number, group) in self.groups.iter().enumerate() {
            let left = plot.inner.x + number as f64 * group_width;
            let first = left + 0.5 * (1.0 - FILLED) * group_width;
            for (place, series) in self.series.iter().enumerate() {
                let Some(bar) = series.bars.get(number).copied().flatten() else { continue };
                let (zero, end) = (plot.y_at(0.0), plot.y_at(bar.value));
                let area = Rect {
                    x: first + place as f64 * width + 0.5,
                    y: zero.min(end),
                    width: width - 1.0,
                    height: (zero - end).abs(),
                };
                self.draw_bar(svg, &plot, area, bar, series);
            }
            plot.draw_x_tick(svg, left + group_width / 2.0, group, false);
        }
        plot.draw_axes(svg);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::panels::Page;

    #[test]
    fn every_value_is_a_bar_with_its_error() {
        let bars = |values: [Option<f64>; 2], fill: Colour| BarSeries {
            label: "Baseline".to_owned(),
            colour: INK,
            fill,
            bars: values
                .map(|value| {
                    value.map(|value| Bar { value, error: Some(0.1), reference: Some(0.3) })
                })
                .into(),
        };
        let (one, other) = (Colour(1, 2, 3), Colour(4, 5, 6));
        let chart = BarChart {
            title: String::new(),
            groups: ["a", "b"].map(str::to_owned).into(),
            y: AxisOptions::new("Information"),
            series: vec![bars([Some(0.5), Some(-0.25)], one), bars([None, Some(1.0)], other)],
        };
        let svg = Page::of(vec![&chart], "a note".to_owned()).to_svg().unwrap();
        // With the one in the legend.
        let filled = |fill: Colour| svg.matches(&format!("fill=\"{fill}\"")).count();
        assert_eq!((filled(one), filled(other)), (3, 2));
        // A line across each of the three.
        assert_eq!(svg.matches("stroke-dasharray").count(), 3);
        // Heights: 0.5, 0.25 and 1 of an axis that shows them all.
        let heights: Vec<f64> = svg
            .lines()
            .filter(|line| line.starts_with("<rect x=") && line.contains(&one.to_string()))
            .filter_map(|line| line.split("height=\"").nth(1)?.split('"').next()?.parse().ok())
            .collect();
        assert!((heights[0] - 2.0 * heights[1]).abs() < 0.05, "{heights:?}");
    }
}
