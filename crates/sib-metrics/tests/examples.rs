//! The examples run, and the documents quote them as they are.

use sib_core::testing::assert_quoted;

#[path = "../examples/own_metric.rs"]
mod own_metric;

#[test]
fn a_metric_of_ones_own() {
    own_metric::main().unwrap();
    let example = include_str!("../examples/own_metric.rs");
    assert_quoted("metric", example, include_str!("../../../docs/extending.md"));
}
