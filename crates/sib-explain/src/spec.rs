//! What there is to say of a method; each says it beside its code.

/// A method in words, and what it needs.
#[derive(Debug)]
pub(crate) struct Spec {
    /// The name on the command line and in files.
    pub(crate) name: &'static str,
    /// The name in figures and tables.
    pub(crate) title: &'static str,
    /// Rows of one forward pass where the options say nothing: `explain` on a ResNet-50 at 224 px
    /// then peaks at 0.5 to 1.9 GB (measured on the CPU). A full backward graph costs most, a cut
    /// one somewhat more; class-activation maps keep none before their tap.
    pub(crate) batch_size: i64,
}
