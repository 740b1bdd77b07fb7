//! A command, what goes wrong in it, and what must hold then.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::shim::{Call, Fault, Kind, faults, run, run_by_wild_clock, run_for, start};
use super::tree::Tree;
use crate::workplace::{assert_success, stderr};

/// Says which faults are tried.
pub(super) const WANTED: &str = "SIB_FAULTS";

/// Trials of a command where the environment variable `SIB_FAULTS` names none.
const SAMPLE: usize = 4;

/// Says how often a command is killed at random moments; once if it is not set.
const KILLS: &str = "SIB_KILLS";

/// Processes that are started at once.
const RACERS: usize = 3;

/// A command that writes files.
pub(super) struct Case {
    /// Runs in its folder; what it reads is in `../inputs`.
    pub(super) command: Vec<&'static str>,
    /// What the same user would call next in the folder.
    pub(super) again: fn(&Path, &[&'static str]) -> Vec<&'static str>,
    /// Whether its steps are commands of their own, each with its errors.
    pub(super) has_steps: bool,
}

impl Case {
    pub(super) fn new(command: &[&'static str]) -> Self {
        Self { command: command.into(), again: |_, command| command.into(), has_steps: false }
    }

    /// A command that does not replace what is there unless it is told to.
    pub(super) fn with_overwrite(command: &[&'static str]) -> Self {
        let again = |_: &Path, command: &[&'static str]| [command, &["--overwrite"]].concat();
        Self { again, ..Self::new(command) }
    }
}

/// What became of a trial in which all was well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// It ended with an error.
    Refused,
    /// It did what it was asked for all the same.
    Tolerated,
    Killed,
}

/// The folders `inputs`, `before` and `trial` that a case has beside one another.
pub(super) struct Place {
    root: tempfile::TempDir,
}

impl Place {
    pub(super) fn new() -> Self {
        let place = Self { root: tempfile::tempdir().unwrap() };
        ["inputs", "before"].iter().for_each(|name| fs::create_dir(place.folder(name)).unwrap());
        place
    }

    pub(super) fn folder(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Writes a file below its root, with the folders that it is in.
    pub(super) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.folder(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Runs a command that something is prepared with, in the folder of this name.
    #[track_caller]
    pub(super) fn prepare(&self, folder: &str, arguments: &[&str]) {
        assert_success(&run(&self.folder(folder), arguments, None).0);
    }

    /// The folder of a trial, as it is before the command.
    fn begin(&self) -> PathBuf {
        let folder = self.folder("trial");
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        copy(&self.folder("before"), &folder);
        folder
    }

    /// Lets the command go through, then one call after the other of it go wrong.
    pub(super) fn try_all(&self, case: &Case) {
        let folder = self.begin();
        let before = Tree::of(&folder);
        let begun = Instant::now();
        let (output, calls) = run(&folder, &case.command, None);
        let takes = begun.elapsed();
        assert_success(&output);
        let end = Tree::of(&folder);
        assert!(end.drafts().is_empty(), "{:?}", end.drafts());
        let undisturbed = Undisturbed { place: self, case, before, end, calls };

        let (mut outcomes, mut problems) = (Vec::new(), Vec::new());
        let chosen = chosen(faults(&undisturbed.calls));
        let number = chosen.len();
        for fault in chosen {
            let Call { kind, path } = &undisturbed.calls[fault.call - 1];
            match undisturbed.with(fault) {
                Ok(outcome) => {
                    eprintln!("{fault} ({kind} {path}): {outcome:?}");
                    outcomes.push((fault.kind, outcome));
                }
                Err(problem) => {
                    eprintln!("WRONG {fault} ({kind} {path}): {problem}");
                    problems.push(fault.to_string());
                }
            }
        }
        let kills = std::env::var(KILLS).map_or(1, |number| number.parse().unwrap());
        for seed in 0..kills {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let moments = [(); 2].map(|()| takes.mul_f64(rng.random()));
            match undisturbed.killed_at(moments) {
                Ok(killed) => eprintln!("kills {seed}: {killed} of 2 before the end"),
                Err(problem) => {
                    eprintln!("WRONG kills {seed}, after {moments:?}: {problem}");
                    problems.push(format!("kills {seed}"));
                }
            }
        }
        let others = [
            ("race", undisturbed.raced().map(|first| format!("{first} of {RACERS} did it"))),
            ("clock", undisturbed.by_a_wild_clock().map(|()| "the same".to_owned())),
        ];
        for (what, result) in others {
            match result {
                Ok(told) => eprintln!("{what}: {told}"),
                Err(problem) => {
                    eprintln!("WRONG {what}: {problem}");
                    problems.push(what.to_owned());
                }
            }
        }
        let words = case.command[0];
        eprintln!(
            "{words}: {} calls, {number} faults, killed twice {kills} times, {} wrong",
            undisturbed.calls.len(),
            problems.len()
        );
        outcomes.sort();
        for same in outcomes.chunk_by(|a, b| a == b) {
            eprintln!("  {} {:?}: {}", same[0].0.name(), same[0].1, same.len());
        }
        assert!(problems.is_empty(), "{words}: {}", problems.join(" "));
    }
}

/// Those of `SIB_FAULTS`, which is `all`, or names with or without the number of a call, as `power,error:3`; a few of each
/// kind where it is not set.
fn chosen(faults: Vec<Fault>) -> Vec<Fault> {
    let Ok(wanted) = std::env::var(WANTED) else {
        let step = faults.len().div_ceil(SAMPLE);
        // Not the first of each step: that would be the same call of several kinds.
        return faults.into_iter().skip(step / 2).step_by(step).collect();
    };
    let is_wanted = |fault: &Fault| {
        wanted
            .split(',')
            .any(|it| it == "all" || it == fault.kind.name() || it == fault.to_string())
    };
    faults.into_iter().filter(is_wanted).collect()
}

/// A command that went through.
struct Undisturbed<'c> {
    place: &'c Place,
    case: &'c Case,
    before: Tree,
    end: Tree,
    calls: Vec<Call>,
}

impl Undisturbed<'_> {
    /// A trial; what is wrong where something is.
    fn with(&self, fault: Fault) -> Result<Outcome, String> {
        let folder = self.place.begin();
        let (output, calls) = run(&folder, &self.case.command, Some(fault));
        let until = calls.get(..fault.call);
        assert_eq!(until, Some(&self.calls[..fault.call]), "{fault}: not the calls as they were");
        let found = self.found(&folder, fault);
        let mut wrong = self.damage(&found);
        let outcome = self.outcome(fault, &output, &found).map_err(|it| wrong.push(it));
        if !fault.kind.kills() && !found.drafts().is_empty() {
            wrong.push(format!("left by an error: {}", found.drafts().join(", ")));
        }

        wrong.extend(self.after_another_run(&folder, |folder| self.found(folder, fault)));
        match outcome {
            Ok(outcome) if wrong.is_empty() => Ok(outcome),
            _ => Err(wrong.join("; ")),
        }
    }

    /// A trial in which the command is killed, and killed again when it is repeated, each time after so long. How often it
    /// had not ended by then; what is wrong where something is.
    fn killed_at(&self, moments: [Duration; 2]) -> Result<usize, String> {
        let folder = self.place.begin();
        let (mut killed, mut wrong) = (0, Vec::new());
        for (round, moment) in moments.into_iter().enumerate() {
            let command = match round {
                0 => self.case.command.clone(),
                _ => (self.case.again)(&folder, &self.case.command),
            };
            let output = run_for(&folder, &command, moment);
            killed += usize::from(output.status.code().is_none());
            if output.status.code().is_some_and(|code| code != 0) {
                wrong.push(format!("round {round}: {}", stderr(&output).trim()));
            }
            wrong.extend(self.damage(&Tree::of(&folder)));
        }
        wrong.extend(self.after_another_run(&folder, Tree::of));
        if wrong.is_empty() { Ok(killed) } else { Err(wrong.join("; ")) }
    }

    /// A trial in which several processes do the same at once. How many did it, since some find it done or take no part in
    /// the same folder; what is wrong where something is.
    fn raced(&self) -> Result<usize, String> {
        let folder = self.place.begin();
        let racers = [(); RACERS].map(|()| start(&folder, &self.case.command));
        let outputs = racers.map(|it| it.wait_with_output().unwrap());
        let mut wrong = Vec::new();
        for output in outputs.iter().filter(|output| !output.status.success()) {
            let said = stderr(output);
            let errors = said.lines().filter(|line| line.starts_with("error: ")).count();
            let is_said = errors == 1 || self.case.has_steps && errors > 0;
            if !is_said || output.status.code().is_none() {
                wrong.push(format!("{}: {said}", output.status));
            }
        }
        let first = outputs.iter().filter(|output| output.status.success()).count();
        if first == 0 {
            wrong.push(format!("none came first: {}", stderr(&outputs[0])));
        }
        wrong.extend(self.different_at_end(Tree::of(&folder)));
        if wrong.is_empty() { Ok(first) } else { Err(wrong.join("; ")) }
    }

    /// A trial while the time of day jumps back.
    fn by_a_wild_clock(&self) -> Result<(), String> {
        let folder = self.place.begin();
        let output = run_by_wild_clock(&folder, &self.case.command);
        if !output.status.success() {
            return Err(stderr(&output));
        }
        let differences = self.different_at_end(Tree::of(&folder));
        if differences.is_empty() { Ok(()) } else { Err(differences.join("; ")) }
    }

    /// What is half, or vouched for and not there. What some steps show is of those that were done, and whole as that.
    fn damage(&self, found: &Tree) -> Vec<String> {
        if self.case.has_steps { Vec::new() } else { found.damage(&self.before, &self.end) }
    }

    /// What is wrong once the command has been called again.
    fn after_another_run(&self, folder: &Path, found: impl Fn(&Path) -> Tree) -> Vec<String> {
        let (output, _) = run(folder, &(self.case.again)(folder, &self.case.command), None);
        if !output.status.success() {
            return vec![format!("another run fails: {}", stderr(&output).trim())];
        }
        let again = self.different_at_end(found(folder)).into_iter();
        again.map(|it| format!("after another run: {it}")).collect()
    }

    /// How a folder is another than it should have become.
    fn different_at_end(&self, found: Tree) -> Vec<String> {
        let all = found.differences(&self.end, "").into_iter().chain(found.drafts());
        // A report of runs says how long they took.
        let is_free = |it: &str| self.case.has_steps && it.starts_with("runs/report.html differs");
        all.filter(|it| !is_free(it)).collect()
    }

    /// The files of a trial, but for one that could not be removed: that it is left is no harm.
    fn found(&self, folder: &Path, Fault { kind, call }: Fault) -> Tree {
        let mut found = Tree::of(folder);
        let Call { kind: name, path } = &self.calls[call - 1];
        if name == "unlink" && !kind.kills() {
            found.forget_unless_in(&self.end, path);
        }
        found
    }

    fn outcome(
        &self,
        Fault { kind, call }: Fault,
        output: &Output,
        found: &Tree,
    ) -> Result<Outcome, String> {
        let said = stderr(output);
        let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
        match output.status.code() {
            _ if said.contains("panicked") => Err(format!("a panic: {said}")),
            Some(0) => {
                let lacks = found.differences(&self.end, "");
                if lacks.is_empty() {
                    Ok(Outcome::Tolerated)
                } else {
                    Err(format!("success, but {}", lacks.join(", ")))
                }
            }
            // Of several processes, one may have been killed.
            None if kind.kills() => Ok(Outcome::Killed),
            Some(_) if kind.kills() && self.case.has_steps => Ok(Outcome::Killed),
            None => Err(format!("{}: {said}", output.status)),
            Some(_) if self.case.has_steps && !errors.is_empty() => Ok(Outcome::Refused),
            Some(_) if errors.len() != 1 => Err(format!("{} errors: {said:?}", errors.len())),
            Some(_) if self.is_named(kind, call, errors[0]) => Ok(Outcome::Refused),
            Some(_) => Err(format!("no path: {}", errors[0])),
        }
    }

    /// Whether an error names the file of the call, or a folder that it is in. A full disk may come to light later.
    fn is_named(&self, kind: Kind, call: usize, error: &str) -> bool {
        let lasts = matches!(kind, Kind::Full | Kind::Short);
        let calls = &self.calls[call - 1..if lasts { self.calls.len() } else { call }];
        calls.iter().any(|call| {
            let target = Path::new(&call.path);
            let name = target.file_name().unwrap().to_string_lossy();
            let name =
                name.strip_prefix('.').and_then(|it| it.strip_suffix(".tmp")).unwrap_or(&name);
            let target = target.with_file_name(name);
            let mut folders = target.ancestors().filter(|it| *it != Path::new(""));
            // Event files have the time in their names.
            folders.any(|it| error.contains(&format!("{}: ", it.display())))
                || name == "events" && error.contains("events.out.tfevents.")
        })
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}
