//! What makes two evaluations the same, and what may stand beside one another, as data.

use std::path::Path;

use anyhow::{Context, Result};
use sib_models::Precision;

use super::description::Description;
use super::settings::Settings;
use super::suite::Suite;
use super::suites::Identity;
use crate::dotted::{self, Difference, Settings as Values};
use crate::error::{usage, with_hint};

/// All that the numbers of a suite depend on beside network and images, as key and value.
pub fn of_suite(settings: &Settings, suite: Suite) -> Identity {
    let mut identity = Identity::new();
    if let Some(limit) = settings.limit {
        identity.extend([("limit", limit.to_string()), ("seed", settings.seed.to_string())]);
    }
    if settings.precision != Precision::F32 {
        identity.push(("precision", settings.precision.to_string()));
    }
    if suite.needs_heatmaps() {
        identity.push(("target", settings.target.name().to_owned()));
    }
    identity.extend(suite.definition().identity(settings));
    identity
}

/// The same as `key=value` words, as in `summary.csv`.
pub fn in_words(settings: &Settings, suite: Suite) -> String {
    let words: Vec<_> =
        of_suite(settings, suite).iter().map(|(key, value)| format!("{key}={value}")).collect();
    words.join(" ")
}

/// All that values of `suite` must share to stand beside one another.
///
/// # Errors
/// When options cannot be written as TOML.
pub fn comparable(description: &Description, suite: Suite) -> Result<Values> {
    let Description { settings, dataset, .. } = description;
    let mut all = Values::from([
        ("split".to_owned(), settings.split.to_string()),
        ("images".to_owned(), dataset.images.to_string()),
        // As many images can still be others.
        ("images_sha256".to_owned(), dataset.images_sha256.clone()),
    ]);
    let own = of_suite(settings, suite).into_iter();
    all.extend(own.map(|(key, value)| (key.to_owned(), value)));
    let options = &settings.method_options;
    if suite.needs_heatmaps() {
        all.extend(dotted::of(options, "")?);
    } else if suite.definition().needs_vjp() {
        // They make R and M.
        all.extend(dotted::of(&options.s_ib_map, "s-ib-map.")?);
    }
    if let Some(synthetic) = &settings.synthetic {
        all.extend(dotted::of(synthetic, "data.synthetic.")?);
    }
    Ok(all)
}

/// Checks that an evaluation that was begun as `before` can go on as `now`.
///
/// # Errors
/// Names the first setting or fact of the images that differs, and both its values.
pub fn expect_same(before: &Description, now: &Description) -> Result<()> {
    let mut begun = before.settings.clone();
    if begun.heatmaps.keys().eq(now.settings.heatmaps.keys()) {
        // What the files hold is compared, not where they are.
        begun.heatmaps.clone_from(&now.settings.heatmaps);
    }
    let of = |settings: &Settings| dotted::of(settings, "").context("cannot compare the settings");
    let (begun, asked) = (of(&begun)?, of(&now.settings)?);
    if let Some(Difference { key, first, second }) = dotted::differences(&begun, &asked).first() {
        let error =
            usage(format!("{key}: the evaluation was begun with {first}, now it is {second}"));
        return Err(with_hint(error, "give the same settings to go on, or another --output"));
    }
    if before.dataset == now.dataset {
        return Ok(());
    }
    let (begun, asked) = (dotted::of(&before.dataset, "")?, dotted::of(&now.dataset, "")?);
    let differences = dotted::in_words(&dotted::differences(&begun, &asked));
    let root = now.settings.root.as_deref().unwrap_or(Path::new("synthetic"));
    let error = anyhow::anyhow!(
        "{}: the {} images or their annotations are not the {} that the evaluation was begun with: \
         {differences}",
        root.display(),
        now.dataset.images,
        before.dataset.images
    );
    Err(with_hint(error, "give another --output"))
}
