//! One self-contained HTML page on everything below a folder: runs, evaluations, the paper's tables,
//! curves and heatmaps.
//!
//! What the folders hold is collected into plain views, which the template lays out; it escapes all
//! that it is given but for charts and pictures, which are made here.

mod classes;
mod comparisons;
mod curves;
mod evaluations;
mod format;
mod galleries;
mod pictures;
mod runs;
mod series;
mod settings;
mod sheets;
mod suites;
mod tables;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment as Templates, UndefinedBehavior};
use serde::Serialize;
use time::OffsetDateTime;

use crate::environment::Environment;
use crate::left_out::LeftOut;
use crate::results::{Evaluation, Folders};
use curves::GroupView;
use evaluations::EvaluationView;
use format::count;
use pictures::{PHOTOGRAPH_PX, Photographs};
use runs::{NamedRun, RunView, SHOWN};
use settings::Difference;
use sheets::SheetsView;
use tables::TableView;

/// Everything on the page.
#[derive(Debug, Serialize)]
struct Page {
    style: &'static str,
    version: &'static str,
    /// The folders, as they were named.
    root: String,
    /// When the page was made.
    made: String,
    runs: Vec<RunView>,
    /// Runs that have not ended.
    unfinished_runs: Vec<String>,
    /// Evaluations that were begun and not finished.
    unfinished_evaluations: Vec<String>,
    /// Why what cannot be read was left out.
    left_out: Vec<String>,
    /// Versions and machines, and what ran on them.
    environments: Vec<(String, String)>,
    differences: Vec<Difference>,
    tables: Vec<TableView>,
    /// Training curves.
    groups: Vec<GroupView>,
    /// Insertion and deletion curves of baseline and S-IB.
    comparisons: Vec<GroupView>,
    evaluations: Vec<EvaluationView>,
    sheets: Vec<SheetsView>,
    photograph_px: u32,
}

/// The page on what lies in `folders`.
///
/// # Errors
/// When there is neither a run nor a finished evaluation, or they cannot be named. What is damaged is in `left_out`.
pub fn html(folders: &Folders, left_out: &mut LeftOut) -> Result<String> {
    render(&collect(folders, left_out)?)
}

fn collect(folders: &Folders, left_out: &mut LeftOut) -> Result<Page> {
    let name = |path: &Path| name_of(path, folders.roots());
    let (runs, evaluations) = folders.runs_and_evaluations(left_out)?;
    let runs: Vec<NamedRun> =
        runs.into_iter().map(|run| NamedRun { name: name(&run.record.path), run }).collect();
    if runs.is_empty() && evaluations.is_empty() {
        bail!("{folders}: no run and no finished evaluation here");
    }
    let explanations = folders.explanations(left_out);
    let sheets = explanations.iter().map(|of| sheets::view(&of.path, &name(&of.path)));
    let sheets = sheets.filter_map(|sheets| left_out.read(sheets).flatten()).collect();
    let settings: Vec<_> = runs.iter().map(|of| (of.name.as_str(), &of.run.settings)).collect();
    let views: Vec<RunView> = (1..).zip(&runs).map(|(n, run)| RunView::new(n, run)).collect();
    let evaluation_views = evaluation_views(&evaluations, &runs, &views, name, left_out);
    let comparisons = comparisons::views(&evaluations, left_out);
    Ok(Page {
        style: include_str!("style.css"),
        version: env!("CARGO_PKG_VERSION"),
        root: folders.to_string(),
        made: now(),
        unfinished_runs: runs
            .iter()
            .filter(|of| !of.run.is_finished())
            .map(|of| of.name.clone())
            .collect(),
        unfinished_evaluations: folders.unfinished_evaluations().into_iter().map(name).collect(),
        environments: environments(&runs, &evaluations),
        differences: settings::differences(&settings, &SHOWN),
        tables: tables::views(&evaluations, |evaluation| name(&evaluation.path)),
        groups: series::groups(&runs).iter().map(GroupView::new).collect::<Result<_>>()?,
        comparisons,
        evaluations: evaluation_views,
        left_out: left_out.problems().to_vec(),
        sheets,
        photograph_px: PHOTOGRAPH_PX,
        runs: views,
    })
}

/// The path from the root that it lies in; the folder's own name where it is that. From one of several roots, the
/// whole path.
fn name_of(path: &Path, roots: &[PathBuf]) -> String {
    let [root] = roots else { return path.display().to_string() };
    let relative = path.strip_prefix(root).unwrap_or(path);
    if relative.as_os_str().is_empty() {
        let whole = root.canonicalize().unwrap_or_else(|_| root.to_owned());
        return whole.file_name().unwrap_or(root.as_os_str()).to_string_lossy().into_owned();
    }
    relative.display().to_string()
}

fn evaluation_views(
    evaluations: &[Evaluation],
    runs: &[NamedRun],
    views: &[RunView],
    name: impl Fn(&Path) -> String,
    left_out: &mut LeftOut,
) -> Vec<EvaluationView> {
    let mut photographs = Photographs::default();
    let view = |(number, evaluation): (usize, &Evaluation)| {
        let holds =
            |(of, _): &(&NamedRun, &RunView)| evaluation.path.starts_with(&of.run.record.path);
        let run = runs.iter().zip(views).rfind(holds);
        let run = run.map(|(_, view)| (view.id.clone(), view.name.clone()));
        EvaluationView::new(number, evaluation, name(&evaluation.path), run, &mut photographs)
    };
    let views = (1..).zip(evaluations).map(view);
    views.filter_map(|view| left_out.read(view)).collect()
}

/// Versions and machines in words, with the number of runs and evaluations on each.
fn environments(runs: &[NamedRun], evaluations: &[Evaluation]) -> Vec<(String, String)> {
    let mut counts = BTreeMap::<String, (usize, usize)>::new();
    for of in runs {
        counts.entry(in_words(&of.run.record.environment)).or_default().0 += 1;
    }
    for evaluation in evaluations {
        counts.entry(in_words(&evaluation.description.environment)).or_default().1 += 1;
    }
    let words = |(runs, evaluations): (usize, usize)| {
        let runs = (runs > 0).then(|| count(runs, "run", "runs"));
        let evaluations =
            (evaluations > 0).then(|| count(evaluations, "evaluation", "evaluations"));
        runs.into_iter().chain(evaluations).collect::<Vec<_>>().join(", ")
    };
    counts.into_iter().map(|(environment, counts)| (environment, words(counts))).collect()
}

fn in_words(environment: &Environment) -> String {
    let Environment { sib_cli, libtorch, device, platform, cores, threads, .. } = environment;
    format!(
        "sib-cli {sib_cli}, libtorch {libtorch}, {device}, {platform}, {}, {}",
        count(*cores, "core", "cores"),
        count(*threads as usize, "thread", "threads"),
    )
}

/// Date and time of day in UTC.
fn now() -> String {
    let now = OffsetDateTime::now_utc();
    let (year, month, day) = now.to_calendar_date();
    format!("{day} {month} {year}, {:02}:{:02} UTC", now.hour(), now.minute())
}

/// Name of the template; its ending switches escaping on.
const TEMPLATE: &str = "report.html";

fn render(page: &Page) -> Result<String> {
    let mut templates = Templates::new();
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true);
    templates.set_syntax(syntax.build()?);
    templates
        .add_template(TEMPLATE, include_str!("template.html"))
        .and_then(|()| templates.get_template(TEMPLATE)?.render(Serde(page)))
        .context("the page cannot be laid out")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_called_by_its_path_from_the_reports() {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().file_name().unwrap().to_string_lossy().into_owned();
        let roots = [root.path().to_owned()];
        assert_eq!(name_of(&root.path().join("a/b"), &roots), "a/b");
        assert_eq!(name_of(root.path(), &roots), own);
        assert_eq!(name_of(Path::new("x/a"), &["x".into(), "y".into()]), "x/a");
    }
}
