//! What commands print as JSON is what they print otherwise.

use serde_json::Value;

use crate::workplace::{Workplace, assert_success, read_csv};

/// The lines that a command prints, each JSON.
#[track_caller]
fn lines(place: &Workplace, arguments: &[&str]) -> Vec<Value> {
    let output = place.run(arguments);
    assert_success(&output);
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// A value as CSV has it.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[test]
fn json_holds_what_csv_holds() {
    let place = Workplace::with_checkpoint();
    let of = ["--checkpoint", "net.safetensors"];
    let export = ["data", "export", "--data", "synthetic", "--limit", "2", "--output", "images"];
    assert_success(&place.run(&export));
    let predict = [&["predict", "--image", "images", "--top", "3"][..], &of].concat();
    let found = lines(&place, &[&predict[..], &["--json"]].concat());
    assert_success(&place.run(&[&predict[..], &["--output", "p.csv"]].concat()));
    let rows = read_csv(&place.path("p.csv"));
    assert_eq!((found.len(), rows.len()), (6, 6));
    for (line, row) in found.iter().zip(&rows) {
        for column in ["image", "rank", "class_index", "class_name", "logit", "probability"] {
            let (ours, theirs) = (cell(&line[column]), &row[column]);
            let both = (ours.parse::<f32>(), theirs.parse::<f32>());
            let same = matches!(both, (Ok(a), Ok(b)) if a == b) || ours == *theirs;
            assert!(same, "{column}: {ours} and {theirs}");
        }
    }

    let data = ["--data", "synthetic", "--suite", "accuracy", "--output", "evaluation", "--json"];
    let found = lines(&place, &[&["evaluate"][..], &of, &data].concat());
    let rows = read_csv(&place.path("evaluation/summary.csv"));
    let metrics = found.iter().map(|line| cell(&line["metric"]));
    assert!(metrics.eq(rows.iter().map(|row| row["metric"].clone())));
    let top1 = found.iter().position(|line| line["metric"] == "top1_pct").unwrap();
    assert_eq!(found[top1]["value"].as_f64(), rows[top1]["value"].parse().ok());
}

#[test]
fn reports_are_one_object() {
    let place = Workplace::new();
    let [machine] = &lines(&place, &["doctor", "--json"])[..] else { panic!("one line") };
    assert!(machine["libtorch"].as_str().is_some_and(|it| it.starts_with("2.13")), "{machine}");
    assert!(machine["cuda_devices"].is_u64() && machine["cores"].is_u64(), "{machine}");
    let check = ["data", "check", "--data", "synthetic", "--json"];
    let [report] = &lines(&place, &check)[..] else { panic!("one line") };
    assert_eq!(
        (&report["name"], &report["splits"][0]["split"]),
        (&"synthetic".into(), &"train".into())
    );
    assert_eq!(report["splits"][0]["images"], 3000);
}
