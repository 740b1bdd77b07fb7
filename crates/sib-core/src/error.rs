//! The one error type of the libraries: every variant carries what its message names.

use std::path::{Path, PathBuf};

/// Result of everything in the libraries that can fail for a reason the caller may cause.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, with the file, key or value it went wrong at.
///
/// Messages are lower case, fit on one line and say what was expected, in the words of the library: keys
/// are the names of its own settings. What a program calls them and what its user can do about it is for
/// the program to add; variants carry what it needs for that.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read, written, created or renamed.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// What was tried: "read", "write", "create", ...
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A file is there, but its bytes are not the image they should be.
    #[error("{}: unreadable image: {source}", path.display())]
    Image {
        /// The image file.
        path: PathBuf,
        /// The decoder's answer.
        source: image::ImageError,
    },
    /// A file or folder is readable, but does not hold what it should.
    #[error("{}: {problem}", path.display())]
    Malformed {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it and what was expected.
        problem: String,
    },
    /// A file of weights, or no such file at all, where a checkpoint of this project was expected.
    #[error("{}: {problem}", path.display())]
    NotACheckpoint {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        problem: String,
    },
    /// A file may well be what was asked for, but leaves a choice that is the caller's.
    #[error("{}: {problem}", path.display())]
    Undecided {
        /// The file.
        path: PathBuf,
        /// What it leaves open.
        problem: String,
        /// The argument that would settle it.
        setting: &'static str,
        /// What to give for it; a word in capitals where there is more than one way.
        value: String,
    },
    /// The lists of a dataset name images that are not there.
    #[error("{}: {missing} of {total} images are not there, such as {first}", list.display())]
    MissingImages {
        /// The list.
        list: PathBuf,
        /// How many of its images are not there.
        missing: usize,
        /// How many it names.
        total: usize,
        /// One of them, by its path from the dataset's root.
        first: String,
    },
    /// A setting or argument is out of its range.
    #[error("{key}: got {value}, expected {expected}")]
    Invalid {
        /// The setting or argument.
        key: String,
        /// The value given.
        value: String,
        /// What would have been accepted.
        expected: String,
    },
    /// A tensor has the wrong shape at a public entry.
    #[error("{what}: got shape {got:?}, expected {expected}")]
    Shape {
        /// Which tensor.
        what: &'static str,
        /// The shape it has.
        got: Vec<i64>,
        /// The shape it should have, in words.
        expected: String,
    },
    /// A device was asked for that this machine or this libtorch cannot give.
    #[error("device {requested} is not available: {reason}")]
    Device {
        /// As the user named it.
        requested: String,
        /// Why not.
        reason: String,
    },
    /// Processes that work together do not any more, or never did.
    #[error("{problem}")]
    Group {
        /// What became of it.
        problem: String,
    },
    /// A value that must be finite is not.
    #[error("{what} is not finite")]
    NonFinite {
        /// Which value, and where it came up.
        what: String,
    },
    /// A direction was asked of what is zero everywhere.
    #[error("{what} is zero everywhere: it has no direction")]
    Vanishing {
        /// What, and of which image.
        what: String,
    },
    /// libtorch refused an operation.
    #[error("libtorch: {}", first_line(.0))]
    Torch(#[from] tch::TchError),
}

impl Error {
    /// An [`Error::Io`] maker for `map_err`.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// An [`Error::Malformed`].
    pub fn malformed(path: impl AsRef<Path>, problem: impl Into<String>) -> Self {
        Self::Malformed { path: path.as_ref().to_owned(), problem: problem.into() }
    }

    /// An [`Error::MissingImages`] of the `total` images in `list`.
    pub(crate) fn missing_images(list: PathBuf, missing: &[String], total: usize) -> Self {
        let first = missing.first().cloned().unwrap_or_default();
        Self::MissingImages { list, missing: missing.len(), total, first }
    }

    /// An [`Error::Invalid`].
    pub fn invalid(
        key: impl Into<String>,
        value: impl std::fmt::Display,
        expected: impl Into<String>,
    ) -> Self {
        Self::Invalid { key: key.into(), value: value.to_string(), expected: expected.into() }
    }

    /// The error with `table` before the key of an [`Error::Invalid`]: where the settings that it is about
    /// stand among others.
    #[must_use]
    pub fn within(self, table: &str) -> Self {
        match self {
            Self::Invalid { key, value, expected } => {
                Self::Invalid { key: format!("{table}.{key}"), value, expected }
            }
            other => other,
        }
    }

    /// An [`Error::Shape`].
    pub fn shape(what: &'static str, tensor: &tch::Tensor, expected: impl Into<String>) -> Self {
        Self::Shape { what, got: tensor.size(), expected: expected.into() }
    }
}

/// libtorch appends a C++ stack trace to its messages; its first line says it all.
fn first_line(error: &tch::TchError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
