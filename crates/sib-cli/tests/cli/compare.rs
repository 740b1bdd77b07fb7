//! `compare` from end to end: any number of networks beside one of them.

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
    let twice = place.path("runs/again");
    std::fs::create_dir(&twice).unwrap();
    let evaluation = place.path("runs/s-ib-3/evaluation");
    std::fs::create_dir(twice.join("evaluation")).unwrap();
    for entry in std::fs::read_dir(evaluation).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, twice.join("evaluation").join(path.file_name().unwrap())).unwrap();
    }
    assert_refused(&place.run(&["compare", "--runs", "runs"]), 1, "both of s-ib resnet18");
}
