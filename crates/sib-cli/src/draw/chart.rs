//! Lines over a number, with a band of one error around each.

use anyhow::Result;

use super::axis::{Axis, AxisOptions};
use super::panels::{Key, Page, Panel};
use super::plot::{self, Place, Plot};
use super::style::Style;
use super::svg::{Fill, Stroke, Svg};

/// A value on a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Where it stands.
    pub x: f64,
    /// Its height; the line is interrupted where it is not finite.
    pub mean: f64,
    /// Half the height of the band around it.
    pub error: Option<f64>,
}

/// A line.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name in the legend; `_{...}` is a subscript.
    pub label: String,
    /// Its points, in the order of `x`.
    pub points: Vec<Point>,
    /// How it looks.
    pub style: Style,
}

/// A plot of lines.
#[derive(Debug, Clone, PartialEq)]
pub struct LineChart {
    /// Above it; may be empty.
    pub title: String,
    /// What runs to the right.
    pub x: AxisOptions,
    /// What runs up.
    pub y: AxisOptions,
    /// The lines.
    pub series: Vec<Series>,
}

/// Markers of a line; of more points, some have none.
const MARKERS: usize = 10;

impl LineChart {
    /// The chart alone with its legend, `width_mm` wide.
    ///
    /// # Errors
    /// When no point has a finite value.
    pub fn to_svg(&self, width_mm: f64) -> Result<String> {
        Page { width_mm, columns: 1, panels: vec![self], note: None }.to_svg()
    }

    fn points(&self) -> impl Iterator<Item = &Point> {
        let points = self.series.iter().flat_map(|series| &series.points);
        points.filter(|point| point.x.is_finite() && point.mean.is_finite())
    }

    fn x_axis(&self) -> Axis {
        let range = self.x.range.unwrap_or_else(|| extent(self.points().map(|point| point.x)));
        Axis::new(range, 5, self.x.whole, false)
    }

    fn y_axis(&self) -> Axis {
        let ends = self.points().flat_map(|point| {
            let error = point.error.unwrap_or_default();
            [point.mean - error, point.mean + error]
        });
        let range = self.y.range.unwrap_or_else(|| extent(ends));
        Axis::new(range, 4, self.y.whole, self.y.range.is_none())
    }
}

/// Smallest and largest of the values.
fn extent(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    })
}

impl Panel for LineChart {
    fn has_data(&self) -> bool {
        self.points().next().is_some()
    }

    fn legend(&self) -> Vec<(String, Key)> {
        self.series.iter().map(|line| (line.label.clone(), Key::Line(line.style))).collect()
    }

    fn left_space(&self) -> f64 {
        plot::left_space(&self.y_axis())
    }

    fn space_below(&self) -> f64 {
        plot::BELOW + plot::NAME_BELOW
    }

    fn draw(&self, svg: &mut Svg, place: &Place) {
        let plot = Plot::new(place, &self.title, self.y_axis(), &self.y);
        let x = self.x_axis();
        // Markers at the ends are not cut by the axes.
        let (left, right) = (plot.inner.x + 3.0, plot.inner.right() - 3.0);
        let at = |point: &Point, offset: f64| {
            (x.position(point.x, left, right), plot.y_at(point.mean + offset))
        };
        plot.draw_back(svg);
        for series in &self.series {
            draw_bands(svg, series, at);
        }
        for (index, series) in self.series.iter().enumerate() {
            draw_line(svg, series, index, at);
        }
        plot.draw_axes(svg);
        for &tick in &x.ticks {
            let label = x.tick_label(tick);
            plot.draw_x_tick(svg, x.position(tick, left, right), &label, true);
        }
        if place.names.0 {
            plot.draw_x_name(svg, &self.x.label);
        }
    }
}

/// The parts of a line between values that are not finite.
fn unbroken(points: &[Point]) -> impl Iterator<Item = &[Point]> {
    points.split(|point| !point.mean.is_finite()).filter(|part| !part.is_empty())
}

/// A band over neighbouring points that have an error, a bar at one that has none beside it.
fn draw_bands(svg: &mut Svg, series: &Series, at: impl Fn(&Point, f64) -> (f64, f64)) {
    let colour = series.style.colour;
    for part in unbroken(&series.points) {
        let banded = part.split(|point| point.error.is_none()).filter(|part| !part.is_empty());
        for band in banded {
            let edge = |point: &Point, sign: f64| at(point, sign * point.error.unwrap_or_default());
            let upper = band.iter().map(|point| edge(point, 1.0));
            let lower = band.iter().rev().map(|point| edge(point, -1.0));
            let outline: Vec<_> = upper.chain(lower).collect();
            match band {
                [_] => svg.polyline(&outline, &Stroke::solid(colour, 0.8)),
                _ => svg.polygon(&outline, Fill { colour, opacity: 0.18 }, None),
            }
        }
    }
}

/// A line with its markers; those of different lines stand at different points.
fn draw_line(svg: &mut Svg, series: &Series, index: usize, at: impl Fn(&Point, f64) -> (f64, f64)) {
    svg.begin_group(&series.label);
    for part in unbroken(&series.points) {
        let line: Vec<_> = part.iter().map(|point| at(point, 0.0)).collect();
        svg.polyline(&line, &series.style.stroke());
        let every = line.len().div_ceil(MARKERS);
        for &point in line.iter().skip(index % every).step_by(every) {
            series.style.mark(svg, point);
        }
    }
    svg.end_group();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(means: &[f64], error: Option<f64>) -> LineChart {
        let points = means.iter().enumerate();
        let points = points.map(|(i, &mean)| Point { x: i as f64 + 1.0, mean, error }).collect();
        LineChart {
            title: "pets".to_owned(),
            x: AxisOptions { whole: true, ..AxisOptions::new("Epoch") },
            y: AxisOptions::new("I(X_{fg}; R_{fg}) < 1"),
            series: vec![Series { label: "S-IB & more".to_owned(), points, style: Style::nth(1) }],
        }
    }

    /// Elements of the document by name, with their attribute `key`.
    fn elements(svg: &str, name: &str, key: &str) -> Vec<String> {
        let mut reader = quick_xml::Reader::from_str(svg);
        let mut found = Vec::new();
        loop {
            match reader.read_event().unwrap() {
                quick_xml::events::Event::Eof => return found,
                quick_xml::events::Event::Empty(element) if element.name().0 == name => {
                    let attribute = element.try_get_attribute(key).unwrap();
                    let value = attribute.map(|value| value.value.into_owned()).unwrap_or_default();
                    found.push(value);
                }
                _ => {}
            }
        }
    }

    /// Numbers of corners of the lines that are drawn as series.
    fn lines(svg: &str) -> Vec<usize> {
        let group = &svg[svg.find("<g>").unwrap()..svg.rfind("</g>").unwrap()];
        elements(group, "polyline", "points").iter().map(|p| p.split(' ').count()).collect()
    }

    #[test]
    fn every_value_is_a_corner_of_its_line() {
        let values: Vec<f64> = (0..37).map(|i| 1.0 + f64::from(i).sin()).collect();
        let svg = chart(&values, Some(0.1)).to_svg(85.0).unwrap();
        assert_eq!(lines(&svg), [37]);
        // Up and back.
        let band = &elements(&svg, "polygon", "points")[0];
        assert_eq!(band.split(' ').count(), 2 * 37);
        assert!(svg.contains("S-IB &amp; more</text>") && svg.contains(">Epoch</text>"), "{svg}");
        assert!(svg.starts_with("<svg ") && svg.contains("width=\"85.00mm\""), "{svg}");
    }

    #[test]
    fn a_line_is_interrupted_where_there_is_no_number() {
        let svg = chart(&[1.0, 2.0, f64::NAN, 3.0, 2.0, 4.0], None).to_svg(85.0).unwrap();
        assert_eq!(lines(&svg), [2, 3]);
        assert!(!svg.contains("NaN"), "{svg}");
        assert!(chart(&[f64::NAN], None).to_svg(85.0).is_err());
    }

    #[test]
    fn one_point_is_a_marker_with_an_error_bar() {
        let svg = chart(&[0.5], Some(0.1)).to_svg(85.0).unwrap();
        assert_eq!(lines(&svg), [1]);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
