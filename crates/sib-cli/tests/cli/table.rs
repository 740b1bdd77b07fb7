//! `table` from end to end: what stands in its cells, and how they are laid out.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::statistics::{
    Row, assert_close, expected_summary, mean, number, of_method, standard_error,
};
use crate::workplace::{Workplace, assert_refused, assert_success, read, read_csv};

const SEEDS: [&str; 2] = ["3", "4"];
const TRAININGS: [&str; 2] = ["baseline", "s-ib"];
const METHODS: [&str; 3] = ["saliency", "grad-cam", "s-ib-map"];

/// The evaluations of a baseline and an S-IB network of each seed, after two steps of training, without
/// their checkpoints.
pub(crate) fn evaluated() -> &'static [(PathBuf, Vec<u8>)] {
    static FILES: OnceLock<Vec<(PathBuf, Vec<u8>)>> = OnceLock::new();
    FILES.get_or_init(|| {
        let place = Workplace::new();
        let mut files = Vec::new();
        for seed in SEEDS {
            for training in TRAININGS {
                let run = format!("runs/{training}-{seed}");
                let settings = [
                    format!("sib.enabled={}", training == "s-ib"),
                    format!("train.seed={seed}"),
                    "train.epochs=1".to_owned(),
                    // Far enough for the networks to differ.
                    "train.optimizer.learning_rate=0.002".to_owned(),
                    "sib.lambda_fg=30".to_owned(),
                    "data.limit_train=16".to_owned(),
                ];
                let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
                assert_success(&place.train(&run, &settings));
                let evaluation = format!("{run}/evaluation");
                let methods = METHODS.join(",");
                assert_success(&place.run(&[
                    "evaluate",
                    "--checkpoint",
                    &format!("{run}/checkpoints/last.safetensors"),
                    "--data",
                    "synthetic",
                    "--suite",
                    "accuracy,localization,faithfulness,information",
                    "--method",
                    &methods,
                    "--batch-size",
                    "4",
                    "--set",
                    "faithfulness.step_px=256",
                    "--set",
                    "cam.layer=layer3",
                    "--output",
                    &evaluation,
                ]));
                std::fs::remove_dir_all(place.path(&run).join("checkpoints")).unwrap();
                for entry in std::fs::read_dir(place.path(&evaluation)).unwrap() {
                    let path = entry.unwrap().path();
                    let name = Path::new(&evaluation).join(path.file_name().unwrap());
                    files.push((name, read(&path)));
                }
            }
        }
        files
    })
}

/// The table as CSV and as Markdown.
fn table(place: &Workplace, number: &str) -> (Vec<Row>, Markdown) {
    let files = ["--output", "out/table.csv", "--markdown", "out/table.md"];
    let output = place.run(&[&["table", number, "--runs", "runs"][..], &files].concat());
    assert_success(&output);
    let text = String::from_utf8(read(&place.path("out/table.md"))).unwrap();
    // Also on the screen.
    assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
    let csv = String::from_utf8(read(&place.path("out/table.csv"))).unwrap();
    assert_eq!(csv.lines().next().unwrap(), HEADER);
    (read_csv(&place.path("out/table.csv")), Markdown::of(&text))
}

const HEADER: &str = "method,dataset,backbone,network,metric,baseline,s_ib,difference,n_seeds,standard_error,\
                      p_value,paper_baseline,paper_s_ib,paper_difference,baseline_minus_paper,\
                      s_ib_minus_paper,note";

/// A table as Markdown, taken apart.
struct Markdown {
    /// Headings of the blocks, of their columns and of their rows.
    headings: Vec<(String, Vec<String>, Vec<String>)>,
    /// By block, row and column.
    cells: BTreeMap<[String; 3], String>,
    /// Everything else.
    prose: String,
}

impl Markdown {
    fn of(text: &str) -> Self {
        let mut markdown = Self { headings: vec![], cells: BTreeMap::new(), prose: String::new() };
        for line in text.lines() {
            if let Some(title) = line.strip_prefix("## ") {
                markdown.headings.push((title.to_owned(), vec![], vec![]));
            } else if let Some(row) = line.strip_prefix("| ") {
                let (title, columns, rows) = markdown.headings.last_mut().unwrap();
                let mut fields = row.trim_end_matches(" |").split(" | ").map(str::to_owned);
                let first = fields.next().unwrap();
                if columns.is_empty() {
                    // The corner is empty: `| | first |`.
                    columns.push(first.trim_start_matches("| ").to_owned());
                    columns.extend(fields);
                    continue;
                }
                for (column, cell) in columns.iter().zip(fields) {
                    markdown.cells.insert([title.clone(), first.clone(), column.clone()], cell);
                }
                rows.push(first);
            } else if !line.starts_with("|---") {
                markdown.prose += line;
                markdown.prose += "\n";
            }
        }
        markdown
    }

    fn has_headings(&self, expected: &[(&str, &[&str], &[&str])]) {
        let own = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let expected: Vec<_> = expected
            .iter()
            .map(|(title, columns, rows)| ((*title).to_owned(), own(columns), own(rows)))
            .collect();
        assert_eq!(self.headings, expected);
    }

    #[track_caller]
    fn cell(&self, block: &str, row: &str, column: &str) -> &str {
        let key = [block, row, column].map(str::to_owned);
        self.cells.get(&key).unwrap_or_else(|| panic!("no {key:?} in {:?}", self.cells))
    }
}

/// The row of the CSV file as its cell should read, to so many digits.
fn in_words(row: &Row, digits: usize) -> String {
    let value =
        |column: &str| number(row, column).map_or("–".into(), |v| format!("{v:.digits$}"));
    let mut text = format!("{}→{}", value("baseline"), value("s_ib"));
    if !row["standard_error"].is_empty() {
        text += &format!(" ± {}", value("standard_error"));
    }
    match number(row, "p_value") {
        Some(p) if p < 0.001 => text += " (p < 0.001)",
        Some(p) => text += &format!(" (p = {p:.3})"),
        None => {}
    }
    if !row["paper_baseline"].is_empty() {
        text += &format!(" [{}→{}]", value("paper_baseline"), value("paper_s_ib"));
    }
    text
}

/// The values of one metric: of the baseline, of S-IB, in the order of [`SEEDS`].
pub(crate) type Values = [Vec<f64>; 2];

/// Of `summary.csv`.
pub(crate) fn values(place: &Workplace, suite: &str, method: &str, metric: &str) -> Values {
    TRAININGS.map(|training| {
        let of_seed = |seed: &str| {
            let folder = place.path(&format!("runs/{training}-{seed}/evaluation"));
            let summary = read_csv(&folder.join("summary.csv"));
            let row = summary.iter().find(|row| {
                (&*row["suite"], &*row["method"], &*row["metric"]) == (suite, method, metric)
            });
            number(row.unwrap(), "value").unwrap()
        };
        SEEDS.iter().map(|&seed| of_seed(seed)).collect()
    })
}

/// Means, their paired difference, and its t-test over two seeds, which has one degree of freedom: the
/// Cauchy distribution.
#[track_caller]
fn assert_compares(row: &Row, [baseline, s_ib]: &Values) {
    let what = format!("{} {}", row["method"], row["metric"]);
    let differences: Vec<f64> = s_ib.iter().zip(baseline).map(|(a, b)| a - b).collect();
    assert_close(number(row, "baseline"), mean(baseline), &what);
    assert_close(number(row, "s_ib"), mean(s_ib), &what);
    assert_close(number(row, "difference"), mean(&differences), &what);
    assert_eq!(row["n_seeds"], "2", "{what}");
    let error = standard_error(&differences);
    assert_close(number(row, "standard_error"), error, &what);
    let (error, mean) = (error.unwrap(), mean(&differences).unwrap());
    let p = 1.0 - 2.0 / std::f64::consts::PI * (mean / error).abs().atan();
    assert_close(number(row, "p_value"), (error > 0.0).then_some(p), &what);
    assert!(row["paper_baseline"].is_empty(), "{row:?}");
}

#[test]
fn table_2_is_accuracy() {
    let place = Workplace::with_files(evaluated());
    let (csv, markdown) = table(&place, "2");
    let columns = ["ResNet-18 top-1", "ResNet-18 top-5"];
    markdown.has_headings(&[("Accuracy", &columns, &["synthetic"])]);
    assert_eq!(csv.len(), 2);
    for (row, (metric, column)) in csv.iter().zip(["top1", "top5"].iter().zip(columns)) {
        let key = ["method", "dataset", "backbone", "metric", "note"].map(|c| row[c].as_str());
        assert_eq!(key, ["", "synthetic", "resnet18", *metric, ""]);
        assert_compares(row, &values(&place, "accuracy", "", &format!("{metric}_pct")));
        assert_eq!(markdown.cell("Accuracy", "synthetic", column), in_words(row, 2));
    }
    assert_eq!(
        markdown.prose.trim(),
        "Top-1 and top-5 accuracy in per cent. Cells are Baseline→S-IB. Behind ± stands the standard \
         error of the difference over training seeds, behind p the p-value of the paired t-test."
    );
}

#[test]
fn table_3_is_the_information_differential() {
    let place = Workplace::with_files(evaluated());
    let (csv, markdown) = table(&place, "3");
    let columns = ["synthetic Δ_info", "synthetic HSIC difference", "synthetic z"];
    let title = "Information differential";
    markdown.has_headings(&[(title, &columns, &["ResNet-18"])]);
    let metrics: Vec<&str> = csv.iter().map(|row| row["metric"].as_str()).collect();
    assert_eq!(metrics, ["information_differential", "hsic_difference", "hsic_difference_z"]);
    let differences = values(&place, "information", "", "hsic_difference");
    assert_compares(&csv[1], &differences);
    assert_compares(&csv[2], &values(&place, "information", "", "hsic_difference_z"));
    // exp of the z-scores of two networks: e and 1/e, whatever their values.
    let higher = |seed: usize| differences[1][seed] > differences[0][seed];
    let of = |training: usize| -> Vec<f64> {
        let sign = |seed| if higher(seed) == (training == 1) { 1.0_f64 } else { -1.0 };
        (0..SEEDS.len()).map(|seed| sign(seed).exp()).collect()
    };
    assert_compares(&csv[0], &[of(0), of(1)]);
    for ((row, column), digits) in csv.iter().zip(columns).zip([3, 5, 1]) {
        assert_eq!(markdown.cell(title, "ResNet-18", column), in_words(row, digits));
    }
}

/// Values over the images that both networks of a seed have a map of, where that is not all of them.
fn common_values(place: &Workplace, suite: &str, method: &str, metric: &str) -> Values {
    let mut values = [vec![], vec![]];
    for seed in SEEDS {
        let rows = TRAININGS.map(|training| {
            let file = place.path(&format!("runs/{training}-{seed}/evaluation/per_image.csv"));
            let rows = read_csv(&file);
            of_method(&rows, method).into_iter().cloned().collect::<Vec<Row>>()
        });
        let has = if suite == "localization" { "true_positive_px" } else { "insertion_auc" };
        let measured = rows.each_ref().map(|rows| {
            let rows = rows.iter().filter(|row| !row[has].is_empty());
            rows.map(|row| row["image"].clone()).collect::<HashSet<String>>()
        });
        for (values, mut rows) in values.iter_mut().zip(rows) {
            rows.retain(|row| measured.iter().all(|images| images.contains(&row["image"])));
            let suites = [suite.to_owned()];
            let summary = expected_summary(&rows, &[], &suites, &[method.to_owned()], 10);
            let found = summary.into_iter().find(|expected| expected.metric == metric).unwrap();
            values.push(found.value.unwrap());
        }
    }
    values
}

/// Tables 4 and 5: one row a method, one column a metric.
fn assert_table_of_methods(number: &str, title: &str, suite: &str, metrics: &[(&str, &str)]) {
    let place = Workplace::with_files(evaluated());
    let (csv, markdown) = table(&place, number);
    let block = format!("{title}, ResNet-18");
    let columns: Vec<String> = metrics.iter().map(|(_, of)| format!("synthetic {of}")).collect();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let titles = ["Saliency", "GradCAM", "S-IB map"];
    markdown.has_headings(&[(&block, &columns, &titles)]);
    assert_eq!(csv.len(), METHODS.len() * metrics.len());
    let mut rows = csv.iter();
    for (method, title) in METHODS.into_iter().zip(titles) {
        for ((metric, _), column) in metrics.iter().zip(&columns) {
            let row = rows.next().unwrap();
            let key = ["method", "dataset", "backbone", "metric"].map(|c| row[c].as_str());
            assert_eq!(key, [method, "synthetic", "resnet18", *metric]);
            let ours = format!("{metric}_pct");
            assert_compares(row, &common_values(&place, suite, method, &ours));
            let cell = markdown.cell(&block, title, column);
            let note = if row["note"].is_empty() { "" } else { " (1)" };
            assert_eq!(cell, in_words(row, 2) + note);
            let all = row["note"].is_empty();
            assert!(
                all || row["note"].contains("images that both networks have a map of"),
                "{row:?}"
            );
            if all {
                assert_compares(row, &values(&place, suite, method, &ours));
            }
        }
    }
}

#[test]
fn table_4_is_localization() {
    let metrics = [("pixel_accuracy", "pixel accuracy"), ("miou", "mIoU"), ("map", "mAP")];
    assert_table_of_methods("4", "Localization", "localization", &metrics);
}

#[test]
fn table_5_is_faithfulness() {
    let metrics = [("insertion_auc", "insertion ↑"), ("deletion_auc", "deletion ↓")];
    assert_table_of_methods("5", "Faithfulness", "faithfulness", &metrics);
}

/// The evaluations as if they were of ResNet-50 on Pets, which the paper has figures for.
fn as_published() -> Workplace {
    let place = Workplace::with_files(evaluated());
    for run in std::fs::read_dir(place.path("runs")).unwrap() {
        let folder = run.unwrap().path().join("evaluation");
        let file = folder.join("evaluation.toml");
        let mut table: toml::Table =
            toml::from_str(&String::from_utf8(read(&file)).unwrap()).unwrap();
        table["settings"].as_table_mut().unwrap().remove("synthetic");
        for (section, key, value) in [
            ("settings", "data", "pets"),
            ("settings", "root", "/data/pets"),
            ("dataset", "name", "pets"),
            ("network", "arch", "resnet50"),
        ] {
            let section = table[section].as_table_mut().unwrap();
            section.insert(key.to_owned(), value.into());
        }
        std::fs::write(&file, toml::to_string(&table).unwrap()).unwrap();
        let file = folder.join("summary.csv");
        let text = String::from_utf8(read(&file)).unwrap();
        let text = text.replace(",synthetic,test,resnet18,", ",pets,test,resnet50,");
        std::fs::write(&file, text).unwrap();
    }
    place
}

#[test]
fn the_published_figures_stand_beside_ours() {
    let place = as_published();
    let find = |rows: &[Row], method: &str, metric: &str| -> Row {
        rows.iter().find(|row| row["method"] == method && row["metric"] == metric).unwrap().clone()
    };
    let published = |row: &Row| {
        ["paper_baseline", "paper_s_ib", "paper_difference"].map(|column| number(row, column))
    };
    let assert_minus_paper = |row: &Row| {
        for side in ["baseline", "s_ib"] {
            let ours = number(row, side).unwrap() - number(row, &format!("paper_{side}")).unwrap();
            assert_close(number(row, &format!("{side}_minus_paper")), Some(ours), side);
        }
    };
    let (csv, markdown) = table(&place, "4");
    let row = find(&csv, "saliency", "pixel_accuracy");
    let [baseline, s_ib, difference] = published(&row);
    assert_eq!((baseline, s_ib), (Some(59.08), Some(59.13)));
    assert_close(difference, Some(59.13 - 59.08), "paper_difference");
    assert_minus_paper(&row);
    let cell =
        markdown.cell("Localization, ResNet-50", "Saliency", "Oxford-IIIT Pet pixel accuracy");
    assert_eq!(cell, in_words(&row, 2));
    assert!(cell.ends_with(" [59.08→59.13]"), "{cell}");
    assert!(markdown.prose.contains("with the paper's in brackets"), "{}", markdown.prose);

    for (number, method, metric) in [("2", "", "top1"), ("5", "grad-cam", "deletion_auc")] {
        let row = find(&table(&place, number).0, method, metric);
        assert!(published(&row).iter().all(Option::is_some), "{row:?}");
        assert_minus_paper(&row);
    }
    // The paper's is relative to its own networks: shown, and not subtracted.
    let row = find(&table(&place, "3").0, "", "information_differential");
    assert!(published(&row).iter().all(Option::is_some), "{row:?}");
    assert_eq!([&row["baseline_minus_paper"], &row["s_ib_minus_paper"]], ["", ""]);
}

#[test]
fn a_table_for_a_paper_has_both_networks_in_columns() {
    let place = Workplace::with_files(evaluated());
    let csv = ["table", "4", "--runs", "runs", "--output", "t.csv"];
    assert_success(&place.run(&[&csv[..], &["--latex", "out/t.tex"]].concat()));
    let text = String::from_utf8(read(&place.path("out/t.tex"))).unwrap();
    let rows = read_csv(&place.path("t.csv"));
    let of = |metric: &str| {
        let is_it = |row: &&Row| (&*row["method"], &*row["metric"]) == ("saliency", metric);
        let row = rows.iter().find(is_it).unwrap();
        ["baseline", "s_ib", "standard_error"]
            .map(|column| format!("{:.2}", number(row, column).unwrap()))
    };
    let [baseline, s_ib, error] = of("pixel_accuracy");
    let cells = format!("Saliency & {baseline} & {s_ib} $\\pm$ {error} & ");
    for part in ["\\toprule", "\\multicolumn{2}{c}{synthetic mAP}", "\\cmidrule(lr){2-3}", &cells] {
        // Bold where the two seeds agree enough.
        assert!(
            text.replace("\\textbf{", "").replace('}', "").contains(&part.replace('}', "")),
            "{part}: {text}"
        );
    }
    let wrong = place.run(&[&csv[..], &["--latex", "t.md"]].concat());
    assert_refused(&wrong, 2, "--latex t.md: expected a file that ends in .tex");
}
