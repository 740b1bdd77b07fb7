//! What a folder holds, without what is another at each run: names with times in them, seconds.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::shim::plain;

/// Files that grow by a line at a time, and whose reader goes on after the last whole one.
const LOGS: [&str; 4] = ["metrics.csv", "per_image.csv", "curve_sums.csv", "information.csv"];

/// Written last: that it is there says that all is.
const MARKS: [&str; 3] = ["status.toml", "summary.csv", "explanation.toml"];

/// Its files by their paths.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Tree(BTreeMap<String, Vec<u8>>);

impl Tree {
    pub(super) fn of(folder: &Path) -> Self {
        let mut tree = Self::default();
        tree.add(folder, "");
        tree
    }

    fn add(&mut self, folder: &Path, at: &str) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = plain(&path.file_name().unwrap().to_string_lossy());
            if path.is_dir() {
                self.add(&path, &format!("{at}{name}/"));
            } else if name != ".lock" {
                let mut key = format!("{at}{name}");
                // Of files that should be one, none is lost.
                while self.0.contains_key(&key) {
                    key.push('+');
                }
                self.0.insert(key, without_times(&name, fs::read(&path).unwrap()));
            }
        }
    }

    /// Leaves out a file that `other` does not have.
    pub(super) fn forget_unless_in(&mut self, other: &Self, path: &str) {
        self.0.retain(|it, _| it != path || other.0.contains_key(it));
    }

    /// Files in the making.
    pub(super) fn drafts(&self) -> Vec<String> {
        self.0.keys().filter(|path| is_draft(path)).cloned().collect()
    }

    /// What is wrong with a folder that was `before` and would have become `end`: a file that is half of either, or all
    /// that a file which says that it is whole is not.
    pub(super) fn damage(&self, before: &Self, end: &Self) -> Vec<String> {
        let half = self.0.iter().filter(|(path, content)| {
            let is_former = [before, end].iter().any(|tree| tree.0.get(*path) == Some(content));
            !is_draft(path) && !is_former && !is_whole(path, content, end)
        });
        let mut damage: Vec<String> = half
            .map(|(path, content)| format!("half a file: {path}, {} bytes", content.len()))
            .collect();
        for path in self.0.keys().filter(|path| MARKS.contains(&name(path))) {
            let folder = &path[..path.len() - name(path).len()];
            // The marks of a folder that is finished, and of none that begins as it ends.
            let as_it_was = |tree: &Self| tree.0.get(path) == self.0.get(path);
            let reference = [end, before].into_iter().find(|tree| as_it_was(tree));
            let differences = reference.map_or(Vec::new(), |tree| self.differences(tree, folder));
            damage.extend(differences.iter().map(|it| format!("{path} is there, but {it}")));
        }
        damage
    }

    /// How its files under `folder` differ from those of `other`.
    pub(super) fn differences(&self, other: &Self, folder: &str) -> Vec<String> {
        let all = self.0.keys().chain(other.0.keys()).filter(|path| path.starts_with(folder));
        let all: std::collections::BTreeSet<&String> = all.filter(|path| !is_draft(path)).collect();
        let differ =
            all.into_iter().filter_map(|path| match (self.0.get(path), other.0.get(path)) {
                (Some(a), Some(b)) if a == b => None,
                (Some(a), Some(b)) => {
                    Some(format!("{path} differs: {} bytes, not {}", a.len(), b.len()))
                }
                (None, _) => Some(format!("{path} is missing")),
                (_, None) => Some(format!("{path} is left over")),
            });
        differ.collect()
    }
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn is_draft(path: &str) -> bool {
    name(path).starts_with('.') && path.trim_end_matches('+').ends_with(".tmp")
}

/// Whether a file that is neither what it was nor what it will be is one that a program goes on from.
fn is_whole(path: &str, content: &[u8], end: &Tree) -> bool {
    let name = name(path);
    if LOGS.contains(&name) || name == "manifest.csv" {
        let whole =
            &content[..content.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1)];
        return end.0.get(path).is_some_and(|end| end.starts_with(whole));
    }
    // TensorBoard leaves out a record without its end.
    name == "events"
        || name.ends_with(".safetensors") && header(content).is_some_and(|(_, is_whole)| is_whole)
}

/// The header of a safetensors file, and whether the numbers that it names are all there.
fn header(content: &[u8]) -> Option<(serde_json::Value, bool)> {
    let length = u64::from_le_bytes(content.get(..8)?.try_into().ok()?) as usize;
    let header: serde_json::Value = serde_json::from_slice(content.get(8..8 + length)?).ok()?;
    let ends = header.as_object()?.values().filter_map(|tensor| tensor["data_offsets"][1].as_u64());
    let is_whole = ends.max().unwrap_or(0) as usize == content.len() - 8 - length;
    Some((header, is_whole))
}

fn without_times(name: &str, content: Vec<u8>) -> Vec<u8> {
    match name {
        "status.toml" => lines(&content, |line| {
            if line.starts_with("seconds = ") { String::new() } else { line.to_owned() }
        }),
        "manifest.csv" => lines(&content, |line| match line.rsplit_once(',') {
            Some((rest, seconds)) if seconds.ends_with('\n') => rest.to_owned() + "\n",
            _ => line.to_owned(),
        }),
        // Its one time is that of its making.
        "report.html" => {
            lines(&content, |line| match (line.find("<time>"), line.find("</time>")) {
                (Some(start), Some(end)) => line[..start].to_owned() + &line[end..],
                _ => line.to_owned(),
            })
        }
        "events" => events(&content),
        _ if name.starts_with("state-") => match header(&content) {
            Some((mut header, true)) => {
                let data = content
                    [8 + u64::from_le_bytes(content[..8].try_into().unwrap()) as usize..]
                    .to_owned();
                header["__metadata__"].as_object_mut().unwrap().remove("seconds");
                let header = header.to_string().into_bytes();
                [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat()
            }
            _ => content,
        },
        _ => content,
    }
}

fn lines(content: &[u8], of: impl Fn(&str) -> String) -> Vec<u8> {
    String::from_utf8_lossy(content).split_inclusive('\n').map(of).collect::<String>().into_bytes()
}

/// The events of an event file without the wall time that each begins with, as far as they are whole.
fn events(mut content: &[u8]) -> Vec<u8> {
    let mut events = Vec::new();
    while let Some(length) = content.get(..8) {
        let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
        let Some(event) = content.get(12 + 9..12 + length) else { break };
        events.extend(event);
        content = content.get(16 + length..).unwrap_or_default();
    }
    events
}
