//! The examples run, and the documents quote them as they are.

use sib_core::testing::assert_quoted;

#[path = "../examples/own_dataset.rs"]
mod own_dataset;

#[test]
fn a_dataset_of_ones_own() {
    own_dataset::main().unwrap();
    let example = include_str!("../examples/own_dataset.rs");
    assert_quoted("dataset", example, include_str!("../../../docs/extending.md"));
}
