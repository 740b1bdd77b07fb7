//! All that there is to say of a dataset; each says it beside its reader.

use std::path::{Path, PathBuf};

use super::dataset::Dataset;
use super::ground_truth::GroundTruth;
use super::options::DataOptions;
use super::split::Split;
use crate::{Error, Result};

/// A dataset in words for users who want to get it, and how it is read.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The name on the command line, in configurations and in files.
    pub name: &'static str,
    /// The name in tables and figures.
    pub title: &'static str,
    /// The full name.
    pub full_name: &'static str,
    /// Publication.
    pub reference: &'static str,
    /// Number of classes; `None` where that is the user's own.
    pub classes: Option<usize>,
    /// Number of training images, as published.
    pub train_images: Option<usize>,
    /// Number of test images, as published.
    pub test_images: Option<usize>,
    /// What is known of where the object is.
    pub annotations: &'static str,
    /// Which of them [`GroundTruth::Auto`] takes where an image has it; `None` where there are none.
    pub ground_truth: Option<GroundTruth>,
    /// Size of the download.
    pub size: &'static str,
    /// Terms of use.
    pub licence: &'static str,
    /// Web page.
    pub published: &'static str,
    /// Archives to unpack, and into which folder.
    pub unpack: &'static str,
    /// What must then be under the root.
    pub layout: &'static str,
    /// Where its files are.
    pub root: Root,
    /// Which images a network is chosen by.
    pub(crate) validation: Validation,
    /// Reads a split under the root; [`Split::Validation`] only where that is a split of its own.
    pub(crate) open: fn(&Path, Split, &DataOptions) -> Result<Dataset>,
}

/// Where the files of a dataset are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// In a folder that the user names.
    Named,
    /// In the folder of this name that its archive makes, which the user names, or the one around it.
    Archive(&'static str),
    /// Nowhere: it is made on demand.
    BuiltIn,
}

/// Which images of a dataset a network is chosen by.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Validation {
    /// There are none besides the test split.
    Nothing,
    /// The test split, which the benchmark calls validation.
    Test,
    /// As the folder says: a split of its own, the test split under another name, or none.
    Found(fn(&Path) -> Result<Option<Split>>),
}

impl Spec {
    /// Whether the user must name a folder.
    pub fn needs_root(&self) -> bool {
        self.root != Root::BuiltIn
    }

    /// The folder that the files are in, where `root` is what the user named.
    pub(super) fn unpacked(&self, root: &Path) -> PathBuf {
        match self.root {
            Root::Archive(own) if root.join(own).is_dir() => root.join(own),
            Root::Archive(_) | Root::Named | Root::BuiltIn => root.to_owned(),
        }
    }

    /// The split that `split` is in this dataset.
    pub(super) fn meant(&self, root: &Path, split: Split) -> Result<Split> {
        match (self.validation, split) {
            (_, Split::Train | Split::Test) => Ok(split),
            (Validation::Test, Split::Validation) => Ok(Split::Test),
            (Validation::Nothing, Split::Validation) => {
                let expected = format!("train or test: {} has no validation split", self.name);
                Err(Error::invalid("split", split, expected))
            }
            (Validation::Found(find), Split::Validation) => find(root)?.ok_or_else(|| {
                let problem = "no validation split, expected val/ beside train/ and test/";
                Error::malformed(root, problem)
            }),
        }
    }

    /// Whether there is a validation split of its own.
    pub(super) fn has_validation(&self, root: &Path) -> Result<bool> {
        match self.validation {
            Validation::Nothing | Validation::Test => Ok(false),
            Validation::Found(find) => Ok(find(root)? == Some(Split::Validation)),
        }
    }
}
