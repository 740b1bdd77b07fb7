//! `evaluate --calibrate`: insertion and deletion by calibrated probabilities.

use std::collections::HashMap;

use crate::evaluate::evaluate;
use crate::workplace::{Workplace, assert_refused, assert_success, read_csv};

#[test]
fn calibrated_scores_are_at_the_temperature_of_the_other_half() {
    let place = Workplace::with_checkpoint();
    let options = [
        "--suite",
        "accuracy,faithfulness",
        "--method",
        "saliency",
        "--set",
        "faithfulness.step_px=512",
    ];
    let rows = |output: &str, more: &[&str]| {
        assert_success(&place.run(&evaluate(output, &[&options[..], more].concat())));
        read_csv(&place.path(output).join("per_image.csv"))
    };
    let (own, calibrated) = (rows("own", &[]), rows("calibrated", &["--calibrate"]));
    let value = |row: &HashMap<String, String>, column: &str| row[column].parse::<f64>().unwrap();
    let temperatures: Vec<f64> = calibrated.iter().map(|row| value(row, "temperature")).collect();
    assert_ne!(temperatures[0], temperatures[1]);
    for (place, (own, calibrated)) in own.iter().zip(&calibrated).enumerate() {
        assert_eq!(own["temperature"], "");
        assert_eq!(temperatures[place], temperatures[place % 2]);
        // The prediction itself is the network's own, and so is its probability.
        assert_eq!(own["probability"], calibrated["probability"]);
        let [p, flat] = [own, calibrated].map(|row| value(row, "clean_probability"));
        assert!((p - value(own, "probability")).abs() < 1e-6);
        assert_eq!(flat < p, temperatures[place] > 1.0, "{p} {flat}");
    }
    let summary = read_csv(&place.path("calibrated/summary.csv"));
    let row = summary.iter().find(|row| row["metric"] == "insertion_auc_pct").unwrap();
    assert!(row["settings"].contains("calibrate=cross-fitted"), "{}", row["settings"]);
    let nothing = place.run(&evaluate("none", &["--suite", "accuracy", "--calibrate"]));
    assert_refused(&nothing, 2, "--calibrate: expected suite faithfulness");
}
