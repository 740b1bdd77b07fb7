//! What an evaluation comes to, from the logged rows alone, so that a continued one ends with the
//! same bytes.

use anyhow::Result;
use sib_metrics::Summary;

use super::collector::Collector;
use super::description::Description;
use super::identity;
use super::suite::Suite;
use super::suites::Logged;
use super::summary_row::SummaryRow;

/// The rows of `summary.csv`: suite by suite as they were asked for.
///
/// # Errors
/// When the logged rows are not of this version.
pub fn summarise(logged: &Logged<'_>, of: &Description) -> Result<Vec<SummaryRow>> {
    let suites = of.settings.suites.iter().map(|&suite| of_suite(suite, logged, of));
    Ok(suites.collect::<Result<Vec<_>>>()?.concat())
}

/// The rows of one suite.
///
/// # Errors
/// When the logged rows are not of this version.
pub fn of_suite(suite: Suite, logged: &Logged<'_>, of: &Description) -> Result<Vec<SummaryRow>> {
    let first = logged.methods.first().map(String::as_str).unwrap_or_default();
    let has_object = |frac: &f64| *frac > 0.0;
    // Every method repeats what is known of the image itself.
    let images = logged.rows.iter().filter(|row| row.method == first);
    let foreground: Summary =
        images.filter_map(|row| row.foreground_frac.filter(has_object)).collect();
    let settings = identity::in_words(&of.settings, suite);
    let mean_foreground_frac = foreground.mean();
    let mut summary = Collector { of, mean_foreground_frac, suite, settings, rows: Vec::new() };
    suite.definition().summarise(logged, &mut summary)?;
    Ok(summary.rows)
}
