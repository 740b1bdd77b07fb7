//! `compare` from end to end: any number of networks beside one of them.

use std::path::Path;

use crate::statistics::{Row, assert_close, mean, number, standard_error};
use crate::table::{Values, evaluated, values};
use crate::workplace::{Workplace, assert_refused, assert_success, read, read_csv};

#[test]
fn networks_are_compared_over_their_seeds() {
    let place = Workplace::with_files(evaluated());
    let files = ["--output", "out/all.csv", "--markdown", "out/all.md", "--latex", "out/all.tex"];
    let output = place.run(&[&["compare", "--runs", "runs"][..], &files].concat());
    assert_success(&output);
    let text = String::from_utf8(read(&place.path("out/all.md"))).unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
    let rows = read_csv(&place.path("out/all.csv"));
    let find = |suite: &str, method: &str, metric: &str| {
        let matches = |row: &&Row| {
            [("suite", suite), ("method", method), ("metric", metric), ("network", "s-ib")]
                .iter()
                .all(|(column, value)| row[*column] == *value)
        };
        rows.iter().find(matches).unwrap_or_else(|| panic!("{suite} {method} {metric}"))
    };
    let assert_differs = |row: &Row, [baseline, s_ib]: &Values| {
        let differences: Vec<f64> = s_ib.iter().zip(baseline).map(|(b, a)| b - a).collect();
        assert_close(number(row, "baseline"), mean(baseline), "baseline");
        assert_close(number(row, "difference"), mean(&differences), "difference");
        assert_close(number(row, "standard_error"), standard_error(&differences), "error");
        assert_eq!((row["n_seeds"].as_str(), &row["p_holm"]), ("2", &row["p_value"]));
    };
    assert_differs(find("accuracy", "", "top1_pct"), &values(&place, "accuracy", "", "top1_pct"));
    let of = |method: &str| values(&place, "localization", method, "map_pct");
    assert_differs(find("localization", "saliency", "map_pct"), &of("saliency"));
    let both = [of("saliency"), of("s-ib-map")];
    let mean_of_both = [0, 1].map(|training| -> Vec<f64> {
        both[0][training].iter().zip(&both[1][training]).map(|(a, b)| (a + b) / 2.0).collect()
    });
    assert_differs(find("localization", "mean-of-gradient-maps", "map_pct"), &mean_of_both);
    assert!(rows.iter().all(|row| row["method"] != "mean-of-class-activation-maps"));
    assert!(text.contains("## synthetic, ResNet-18: localization"), "{text}");
    assert!(text.contains("| mean of all maps, mAP |"), "{text}");

    let latex = String::from_utf8(read(&place.path("out/all.tex"))).unwrap();
    assert!(latex.contains("\\begin{tabular}{lrr}") && latex.contains("mean of all maps, mAP & "));

    let other = place.run(&["compare", "--runs", "runs", "--baseline", "plain"]);
    assert_refused(&other, 1, "--baseline plain: no such network, only baseline, s-ib");
    // The same again is the same; what disagrees is not.
    copy(&place.path("runs/s-ib-3/evaluation"), &place.path("runs/again/evaluation"));
    assert_success(&place.run(&["compare", "--runs", "runs"]));
    let summary = place.path("runs/again/evaluation/summary.csv");
    let text = String::from_utf8(read(&summary)).unwrap();
    let value = &find_row(&read_csv(&summary), "top1_pct")["value"];
    let other = text.replacen(&format!("top1_pct,{value},"), "top1_pct,1,", 1);
    assert_ne!(other, text);
    std::fs::write(&summary, other).unwrap();
    assert_refused(&place.run(&["compare", "--runs", "runs"]), 1, "both of s-ib resnet18");
}

fn find_row(rows: &[Row], metric: &str) -> Row {
    rows.iter().find(|row| row["metric"] == metric).unwrap().clone()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// Keeps the rows of `summary.csv` whose method is wanted.
fn keep(evaluation: &Path, is_wanted: impl Fn(&str) -> bool) {
    let path = evaluation.join("summary.csv");
    let mut reader = csv::Reader::from_path(&path).unwrap();
    let header = reader.headers().unwrap().clone();
    let method = header.iter().position(|column| column == "method").unwrap();
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.unwrap()).collect();
    let mut writer = csv::Writer::from_path(&path).unwrap();
    writer.write_record(&header).unwrap();
    rows.iter()
        .filter(|row| is_wanted(&row[method]))
        .for_each(|row| writer.write_record(row).unwrap());
    writer.flush().unwrap();
}

#[test]
fn what_was_measured_later_joins_what_was_there() {
    let place = Workplace::with_files(evaluated());
    let compared = || {
        let output = place.run(&["compare", "--runs", "runs"]);
        assert_success(&output);
        String::from_utf8(output.stdout).unwrap()
    };
    let whole = compared();
    let [first, later] = ["evaluation", "later"].map(|it| place.path("runs/s-ib-4").join(it));
    copy(&first, &later);
    keep(&first, |method| method != "saliency");
    keep(&later, |method| method == "saliency");
    assert_eq!(compared(), whole);
}

#[test]
fn any_number_of_networks_stand_beside_the_baseline_by_name() {
    let place = Workplace::with_files(evaluated());
    copy(&place.path("runs/s-ib-3/evaluation"), &place.path("other/evaluation"));
    let two = ["table", "2", "--output", "t.csv", "--runs", "runs"];
    let output = place.run(&[&two[..], &["--as", "theirs=other"]].concat());
    assert_success(&output);
    let markdown = String::from_utf8(output.stdout).unwrap();
    for column in ["ResNet-18, theirs top-1", "ResNet-18, s-ib top-1"] {
        assert!(markdown.contains(column), "{column}: {markdown}");
    }
    assert!(markdown.contains("Cells are baseline→other network"), "{markdown}");
    let rows = read_csv(&place.path("t.csv"));
    let of = |network: &str| {
        let is_it = |row: &&Row| row["network"] == network && row["metric"] == "top1";
        rows.iter().find(is_it).unwrap()
    };
    let values = values(&place, "accuracy", "", "top1_pct");
    assert_close(number(of("theirs"), "s_ib"), Some(values[1][0]), "theirs");
    assert_close(number(of("theirs"), "baseline"), Some(values[0][0]), "of the same seed");
    assert_eq!((&*of("theirs")["n_seeds"], &*of("s-ib")["n_seeds"]), ("1", "2"));

    // The other way round, and the same names in every command.
    let names = ["--runs", "runs", "--as", "theirs=other", "--baseline", "s-ib"];
    assert_success(&place.run(&[&["table", "2", "--output", "t.csv"], &names[..]].concat()));
    let rows = read_csv(&place.path("t.csv"));
    let back = rows.iter().find(|row| row["network"] == "baseline").unwrap();
    let differences: Vec<f64> = values[0].iter().zip(&values[1]).map(|(a, b)| a - b).collect();
    assert_close(number(back, "difference"), mean(&differences), "the other way round");
    let figure = [&["figure", "5", "--output", "f.svg"], &names[..]].concat();
    assert_success(&place.run(&figure));
    let report = [&["report", "--output", "r.html"], &names[..]].concat();
    assert_success(&place.run(&report));
    let text = |file: &str| String::from_utf8(read(&place.path(file))).unwrap();
    let (figure, report) = (text("f.svg"), text("r.html"));
    for name in ["s-ib", "theirs", "baseline"] {
        assert!(figure.contains(&format!(">{name}<")), "{name}");
        assert!(report.contains(&format!("ResNet-18, {name}<")), "{name}");
    }
    let compared = place.run(&[&["compare"], &names[..]].concat());
    let text = String::from_utf8(compared.stdout).unwrap();
    assert!(text.contains("| | s-ib | theirs | baseline |"), "{text}");

    let both = place.run(&["compare", "--as", "ours=runs", "--baseline", "ours"]);
    let expected = "ours: what is called this was trained as baseline and as s-ib";
    assert_refused(&both, 1, expected);
    assert_refused(&place.run(&["compare", "--as", "ours"]), 2, "expected NAME=DIR");
}

#[test]
fn networks_that_were_scored_on_other_images_are_not_compared() {
    let place = Workplace::with_files(evaluated());
    let file = place.path("runs/s-ib-3/evaluation/evaluation.toml");
    let mut table: toml::Table = toml::from_str(&String::from_utf8(read(&file)).unwrap()).unwrap();
    table["dataset"].as_table_mut().unwrap().insert("images_sha256".into(), "0".into());
    std::fs::write(&file, toml::to_string(&table).unwrap()).unwrap();
    let output = place.run(&["table", "2", "--runs", "runs", "--output", "t.csv"]);
    assert_refused(&output, 1, "measured with different settings, images_sha256: ");
}
