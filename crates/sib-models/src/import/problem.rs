//! What goes wrong within a file.

/// What a part of the import says went wrong; the caller adds the file.
pub(super) type Problem = String;
