//! The examples run, and the documents quote them as they are.

use sib_core::testing::assert_quoted;

#[path = "../examples/own_explainer.rs"]
mod own_explainer;
#[path = "../examples/own_network.rs"]
mod own_network;

const EXTENDING: &str = include_str!("../../../docs/extending.md");

#[test]
fn an_explainer_of_ones_own() {
    own_explainer::main().unwrap();
    assert_quoted("explainer", include_str!("../examples/own_explainer.rs"), EXTENDING);
}

#[test]
fn a_network_of_ones_own_is_trained_explained_and_scored() {
    own_network::main().unwrap();
    let example = include_str!("../examples/own_network.rs");
    for part in ["backbone", "images", "train", "explain", "score"] {
        assert_quoted(part, example, EXTENDING);
    }
    for (part, front_page) in [
        ("train", include_str!("../../sib-core/src/lib.rs")),
        ("explain", include_str!("../src/lib.rs")),
        ("score", include_str!("../../sib-metrics/src/lib.rs")),
    ] {
        assert_quoted(part, example, front_page);
    }
}
