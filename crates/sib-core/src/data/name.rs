//! The datasets by name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::spec::Spec;
use crate::{Error, Result};

/// Makes of `Variant = module` the names, in the order in which they are listed to users, each with
/// the `SPEC` of its module.
macro_rules! datasets {
    ($($variant:ident = $module:ident,)*) => {
        /// The datasets that [`open`](super::open) reads.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub enum DatasetName {
            $(
                #[doc = concat!("The one called `", stringify!($module), "`.")]
                $variant,
            )*
        }

        impl DatasetName {
            /// All of them, in the order in which they are listed to users.
            pub const ALL: [Self; [$(stringify!($variant)),*].len()] = [$(Self::$variant),*];

            /// All that there is to say of the dataset.
            pub fn spec(self) -> &'static Spec {
                match self {
                    $(Self::$variant => &super::$module::SPEC,)*
                }
            }
        }
    };
}

datasets! {
    Cifar100 = cifar100,
    ImageNet = imagenet,
    Cub200 = cub200,
    Pets = pets,
    Dogs = dogs,
    Folder = folder,
    Synthetic = synthetic,
}

impl DatasetName {
    /// The name on the command line and in configurations.
    pub fn as_str(self) -> &'static str {
        self.spec().name
    }

    /// The name in tables and figures.
    pub fn title(self) -> &'static str {
        self.spec().title
    }

    /// All names in a sentence: `a, b or c`.
    pub fn listed() -> String {
        let names = Self::ALL.map(Self::as_str);
        match &names[..] {
            [others @ .., last] if !others.is_empty() => format!("{} or {last}", others.join(", ")),
            names => names.concat(),
        }
    }
}

impl fmt::Display for DatasetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for DatasetName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|known| known.as_str() == name)
            .ok_or_else(|| Error::invalid("dataset", format!("\"{name}\""), Self::listed()))
    }
}

impl TryFrom<String> for DatasetName {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        name.parse()
    }
}

impl From<DatasetName> for String {
    fn from(name: DatasetName) -> Self {
        name.as_str().to_owned()
    }
}
