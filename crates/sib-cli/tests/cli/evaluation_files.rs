//! The files of an evaluation of all suites, column by column, and that such a folder stays readable.

use std::path::Path;

use sib_models::Arch;

use crate::snapshot::{assert_csv, assert_text};
use crate::workplace::{Workplace, assert_success, read_csv};

/// All suites over 12 of the built-in images by a network whose weights are a formula's; the last of
/// the two batches of information is smaller.
fn evaluate(place: &Workplace) {
    let suites = ["--data", "synthetic", "--suite", "all", "--batch-size", "8"];
    let methods = ["--method", "saliency,integrated-gradients,grad-cam,s-ib-map", "--limit", "12"];
    let options = ["integrated-gradients.steps=4", "cam.layer=layer3", "faithfulness.step_px=128"];
    let network = ["evaluate", "--checkpoint", "formula.safetensors", "--output", "e"];
    let mut arguments = [&network[..], &suites, &methods].concat();
    options.iter().for_each(|option| arguments.extend(["--set", option]));
    // The kernels that every x86-64 machine of the last decade has.
    let kernels = [
        ("ATEN_CPU_CAPABILITY", "avx2"),
        ("ONEDNN_MAX_CPU_ISA", "AVX2"),
        ("MKL_ENABLE_INSTRUCTIONS", "AVX2"),
    ];
    assert_success(&place.command(&arguments).envs(kernels).output().unwrap());
}

/// Whether two numbers of a column are equal but for rounding. Kernels of AVX2 and of AVX-512 differ by
/// 1e-7, and by 2e-5 in sums of small deviations; with those of SSE units change their side of a ReLU.
fn are_close(column: &str, row: &[String], found: f64, expected: f64) -> bool {
    let is_z = column == "value" && row.iter().any(|field| field.ends_with("_z"));
    let is_spread = is_z || ["standard_error", "deviations"].contains(&column);
    let tolerance = match (cfg!(target_arch = "x86_64"), is_spread) {
        (true, false) => 1e-5,
        (true, true) => 1e-3,
        (false, false) => 5e-2,
        (false, true) => 0.5,
    };
    (found - expected).abs() <= tolerance * expected.abs()
}

/// The settings and facts of `evaluation.toml` without what differs between machines.
fn description(folder: &Path) -> String {
    let text = std::fs::read_to_string(folder.join("evaluation.toml")).unwrap();
    let mut table: toml::Table = toml::from_str(&text).unwrap();
    table.remove("environment");
    table["settings"].as_table_mut().unwrap().remove("checkpoint_sha256");
    toml::to_string_pretty(&table).unwrap()
}

#[test]
fn all_columns_of_all_files_stay_as_they_are() {
    let place = Workplace::new();
    place.formula_checkpoint(Arch::ResNet18);
    evaluate(&place);
    let folder = place.path("e");
    assert_text(&description(&folder), "evaluation/settings.toml");
    for file in ["per_image", "summary", "curve_sums", "curves", "information"] {
        let path = folder.join(format!("{file}.csv"));
        assert_csv(&path, &format!("evaluation/{file}.csv"), are_close);
    }
}

#[test]
fn a_network_without_names_is_evaluated_by_those_of_the_images() {
    let place = Workplace::with_checkpoint();
    let import = ["import", "net.safetensors", "--arch", "resnet18", "--num-classes", "10"];
    assert_success(&place.run(&[&import[..], &["--output", "nameless.safetensors"]].concat()));
    let of = ["evaluate", "--checkpoint", "nameless.safetensors", "--data", "synthetic"];
    let evaluate = [&of[..], &["--suite", "accuracy", "--output", "evaluation"]].concat();
    assert_success(&place.run(&evaluate));
    let summary = read_csv(&place.path("evaluation/summary.csv"));
    let classes = read_csv(&place.path("evaluation/classes.csv"));
    let sum = |column: &str| classes.iter().map(|row| row[column].parse::<f64>().unwrap()).sum();
    let (images, correct): (f64, f64) = (sum("images"), sum("correct"));
    assert_eq!((classes.len(), classes[0]["class"].as_str()), (10, "striped-disc"));
    let top1 = summary.iter().find(|row| row["metric"] == "top1_pct").unwrap();
    assert!((top1["value"].parse::<f64>().unwrap() - 100.0 * correct / images).abs() < 1e-9);
}
