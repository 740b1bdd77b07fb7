//! Configuration files that may extend one another, then `--set`.

use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::Result;
use serde::Deserialize;
use sib_core::objective::Preset;
use sib_core::plain_file;
use toml::{Table, Value};

use super::problem::deserialised;
use super::settings::{Config, paper_lambda_fg};
use crate::error::usage;
use crate::run::RunRecord;

impl Config {
    /// Reads the file at `path`, resolves what it extends, applies `assignments` (`key=value`,
    /// values in TOML, bare words are strings) and checks every setting.
    ///
    /// Paths of a file are relative to its folder, those of `assignments` to the working folder; what is
    /// returned has whole paths.
    ///
    /// # Errors
    /// One message naming the file, key or value; unknown keys are errors.
    pub fn load(path: &Path, assignments: &[String]) -> Result<Self> {
        Self::assemble(Some(path), Table::new(), assignments)
    }

    /// As [`Self::load`], but without a `file` of the defaults, and `chosen` (tables of keys) goes over either before
    /// `assignments` do.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn assemble(file: Option<&Path>, chosen: Table, assignments: &[String]) -> Result<Self> {
        let mut table = file.map_or(Ok(Table::new()), |file| read_extended(file, 0, &mut 0))?;
        merge(&mut table, chosen);
        for assignment in assignments {
            assign(&mut table, assignment)?;
        }
        let sets = |keys: &[&str]| {
            let (last, sections) = keys.split_last().expect("a key has a part");
            let mut here = Some(&table);
            for section in sections {
                here = here.and_then(|here| here.get(*section)).and_then(Value::as_table);
            }
            here.is_some_and(|here| here.contains_key(*last))
        };
        let sets_lambda_fg = sets(&["sib", "lambda_fg"]);
        let sets_dropout =
            ["dropout", "attention_dropout"].map(|key| sets(&["model", "options", key]));
        under_preset(&mut table)?;
        let origin = match file {
            Some(file) => format!("{}, with --set", file.display()),
            None => "--set".to_owned(),
        };
        let mut config: Self = deserialised(Value::Table(table), &origin)?;
        config.data.root = config.data.root.as_deref().map(whole_path).transpose()?;
        config.model.weights = config.model.weights.as_deref().map(whole_path).transpose()?;
        let (model, usual) = (&mut config.model.options, config.model.arch.options());
        let [sets_dropout, sets_attention_dropout] = sets_dropout;
        if !sets_dropout {
            model.dropout = usual.dropout;
        }
        if !sets_attention_dropout {
            model.attention_dropout = usual.attention_dropout;
        }
        if let Some(sib) = &mut config.sib
            && !sets_lambda_fg
        {
            sib.lambda_fg = paper_lambda_fg(config.model.arch, config.data.name);
        }
        config.validate()?;
        Ok(config)
    }
}

/// Puts the settings of the preset that `[sib]` names under those of the `table`.
fn under_preset(table: &mut Table) -> Result<()> {
    let Some(own) = table.get_mut("sib").and_then(Value::as_table_mut) else { return Ok(()) };
    // What is no preset is told when all is read.
    let named = own.get("preset").and_then(|name| Preset::deserialize(name.clone()).ok());
    let mut sib = match named.unwrap_or_default() {
        // The defaults already.
        Preset::Paper => return Ok(()),
        preset => Table::try_from(preset.config())?,
    };
    merge(&mut sib, std::mem::take(own));
    *own = sib;
    Ok(())
}

/// The file's table on top of those that it extends; `read` counts files.
fn read_extended(path: &Path, depth: usize, read: &mut usize) -> Result<Table> {
    *read += 1;
    if depth > 8 || *read > 64 {
        return Err(usage(format!("{}: extends itself, or too many files", path.display())));
    }
    // What is typed may be a pipe of the shell, what a file names may not.
    let text = if depth == 0 { fs::read_to_string(path) } else { plain_file::read_to_string(path) };
    let text = text
        .map_err(sib_core::Error::io("read", path))
        .map_err(|error| usage(error.to_string()))?;
    // Checked here, file by file: only the text still has lines to point at.
    let parsed = toml::Deserializer::parse(&text)
        .map_err(|error| usage(format!("{}: {}", path.display(), error.to_string().trim_end())))?;
    let checked: Config = deserialised(parsed, &path.display().to_string())?;
    let mut table: Table = toml::from_str(&text)?;
    relocate(&mut table, path);
    table.remove("extend");
    let mut merged = Table::new();
    for base in checked.extend.paths() {
        let base = path.parent().unwrap_or(Path::new("")).join(base);
        merge(&mut merged, read_extended(&base, depth + 1, read)?);
    }
    merge(&mut merged, table);
    Ok(merged)
}

/// Makes paths in the `table` of the file at `path` relative to its folder, as `extend` is.
///
/// A run's own `config.toml` holds whole paths; relative ones in it were written by a version that
/// took them from where it was started, and stay.
fn relocate(table: &mut Table, path: &Path) {
    let folder = path.parent().unwrap_or(Path::new(""));
    if RunRecord::is_at(folder) {
        return;
    }
    for (section, key) in [("data", "root"), ("model", "weights")] {
        let section = table.get_mut(section).and_then(Value::as_table_mut);
        if let Some(Value::String(text)) = section.and_then(|section| section.get_mut(key)) {
            *text = folder.join(&*text).display().to_string();
        }
    }
}

/// The path from the root of the file system, without `..` where there is something.
fn whole_path(path: &Path) -> Result<PathBuf> {
    if path.as_os_str().is_empty() {
        return Err(usage("data.root, model.weights: got an empty path"));
    }
    let goes_up = path.components().any(|part| part == Component::ParentDir);
    match path.canonicalize() {
        Ok(whole) if goes_up => Ok(whole),
        _ => Ok(std::path::absolute(path).map_err(sib_core::Error::io("find", path))?),
    }
}

/// Puts `changes` over `base`, table by table.
fn merge(base: &mut Table, changes: Table) {
    for (key, value) in changes {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(changes)) => merge(base, changes),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// Applies one `key=value`; the value is TOML, a bare word a string.
pub(crate) fn assign(table: &mut Table, assignment: &str) -> Result<()> {
    let malformed = || usage(format!("--set {assignment}: expected key=value, as train.epochs=10"));
    let (key, text) = assignment.split_once('=').ok_or_else(malformed)?;
    let text = text.trim();
    let parsed = toml::from_str::<Table>(&format!("value = {text}"));
    let value = match parsed.ok().and_then(|mut table| table.remove("value")) {
        Some(value) => value,
        None => Value::String(text.to_owned()),
    };
    let mut parts: Vec<&str> = key.trim().split('.').collect();
    let last = parts.pop().filter(|last| !last.is_empty()).ok_or_else(malformed)?;
    let mut here = table;
    for part in parts {
        here = here
            .entry(part)
            .or_insert_with(|| Value::Table(Table::new()))
            .as_table_mut()
            .ok_or_else(|| usage(format!("--set {assignment}: {part} is not a table")))?;
    }
    here.insert(last.to_owned(), value);
    Ok(())
}
