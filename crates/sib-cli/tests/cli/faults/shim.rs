//! The program under `shim.c`: its calls to the file system, and what goes wrong with one of them.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;
use std::{fmt, fs};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::workplace::PROGRAM;

/// What becomes of a call; `shim.c` says it in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Error,
    Denied,
    Full,
    Short,
    KillBefore,
    KillAfter,
    Power,
}

impl Kind {
    pub(super) const ALL: [Self; 7] = [
        Self::Error,
        Self::Denied,
        Self::Full,
        Self::Short,
        Self::KillBefore,
        Self::KillAfter,
        Self::Power,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Denied => "denied",
            Self::Full => "full",
            Self::Short => "short",
            Self::KillBefore => "kill-before",
            Self::KillAfter => "kill-after",
            Self::Power => "power",
        }
    }

    /// Whether the program has no say in its end.
    pub(super) fn kills(self) -> bool {
        matches!(self, Self::KillBefore | Self::KillAfter | Self::Power)
    }

    /// Whether it would do something to `call` that no other fault does: a disk that is full at a call that takes no
    /// room is full at the next that does, and a kill after a call is one before the next.
    fn is_of(self, call: &Call, is_last: bool) -> bool {
        match self {
            Self::Error | Self::KillBefore | Self::Power => true,
            Self::KillAfter => is_last,
            Self::Short => call.kind == "write",
            Self::Full => ["create", "write", "mkdir", "link"].contains(&&*call.kind),
            Self::Denied => !["write", "sync", "truncate"].contains(&&*call.kind),
        }
    }
}

/// One call and what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    /// Number of the call, from 1.
    pub(super) call: usize,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.name(), self.call)
    }
}

/// A call that changes files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) kind: String,
    /// From the folder, without what is another in each process.
    pub(super) path: String,
}

/// All faults that are worth a trial. Of the writes to one file in a row, only the first two and the last: those between
/// leave it with another length, and nothing else.
pub(super) fn faults(calls: &[Call]) -> Vec<Fault> {
    let is_between = |at: usize| {
        let is_same = |other: usize| calls.get(other) == Some(&calls[at]);
        calls[at].kind == "write" && at > 1 && is_same(at - 1) && is_same(at - 2) && is_same(at + 1)
    };
    let of_kind = |kind: Kind| {
        let is_of =
            move |at: &usize| kind.is_of(&calls[*at], at + 1 == calls.len()) && !is_between(*at);
        (0..calls.len()).filter(is_of).map(move |at| Fault { kind, call: at + 1 })
    };
    Kind::ALL.into_iter().flat_map(of_kind).collect()
}

/// A name without the process and the time in it.
pub(super) fn plain(name: &str) -> String {
    if let Some(draft) = name.strip_suffix(".tmp").filter(|_| name.starts_with('.')) {
        return draft.rsplit_once('.').map_or(draft, |(name, _)| name).to_owned() + ".tmp";
    }
    if name.starts_with("events.out.tfevents.") { "events".to_owned() } else { name.to_owned() }
}

/// Runs the program in `folder` with `fault`; returns its calls too.
pub(super) fn run(folder: &Path, arguments: &[&str], fault: Option<Fault>) -> (Output, Vec<Call>) {
    under_shim(program(arguments), folder, fault)
}

/// Runs the program in `folder` and kills it, and all that it has started, after `moment`.
pub(super) fn run_for(folder: &Path, arguments: &[&str], moment: Duration) -> Output {
    let child = start(folder, arguments);
    std::thread::sleep(moment);
    // Where it has ended, there is nobody to kill.
    let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
    child.wait_with_output().unwrap()
}

/// Runs the program in `folder` while the time of day jumps back an hour whenever somebody asks for it.
pub(super) fn run_by_wild_clock(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = program(arguments);
    command.env("SIB_FAULT_CLOCK", "1");
    under_shim(command, folder, None).0
}

/// Starts the program in `folder`, in a process group of its own.
pub(super) fn start(folder: &Path, arguments: &[&str]) -> Child {
    let mut command = program(arguments);
    command.current_dir(folder).process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    // One thread: sums in libtorch depend on how they are split between threads.
    command.args(arguments).env("OMP_NUM_THREADS", "1");
    // A panic says that it is one.
    command.env("RUST_BACKTRACE", "1");
    command
}

fn under_shim(mut command: Command, folder: &Path, fault: Option<Fault>) -> (Output, Vec<Call>) {
    let notes = tempfile::tempdir().unwrap();
    let folder = folder.canonicalize().unwrap();
    // A power cut ends its process group.
    command.current_dir(&folder).process_group(0);
    command.env("LD_PRELOAD", library()).env("SIB_FAULT_UNDER", &folder);
    let log = notes.path().join("log");
    command.env("SIB_FAULT_STATE", notes.path().join("state")).env("SIB_FAULT_LOG", &log);
    match fault {
        Some(fault) => command.env("SIB_FAULT", fault.to_string()),
        None => command.env_remove("SIB_FAULT"),
    };
    let output = command.output().unwrap();
    assert_ne!(output.status.code(), Some(99), "{}", String::from_utf8_lossy(&output.stderr));
    let log = fs::read_to_string(&log).unwrap_or_default();
    (output, log.lines().map(|line| call(line, &folder)).collect())
}

fn call(line: &str, folder: &Path) -> Call {
    let (kind, path) = line.split_once(' ').unwrap();
    let path = Path::new(path).strip_prefix(folder).unwrap();
    let name = plain(&path.file_name().unwrap().to_string_lossy());
    Call { kind: kind.to_owned(), path: path.with_file_name(name).display().to_string() }
}

/// The shim, compiled once a test process.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, library) = LIBRARY.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let [source, library] = ["shim.c", "shim.so"].map(|name| folder.path().join(name));
        fs::write(&source, include_str!("shim.c")).unwrap();
        let mut compiler = Command::new("cc");
        compiler.args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC"]);
        let status = compiler.arg("-o").arg(&library).arg(&source).status().unwrap();
        assert!(status.success(), "cc: {status}");
        (folder, library)
    });
    library
}

/// What a shell leaves of a script whose calls are counted by hand.
#[test]
fn the_shim_does_what_it_says() {
    // 1 create f, 2 write, 3 sync, 4 open f, 5 write, 6 rename to g, 7 mkdir d, 8 create h, 9 write.
    const SCRIPT: &str =
        "echo one > f && sync f && echo two >> f && mv f g && mkdir d && echo three > h";
    let (one, both) = (Some("one\n"), Some("one\ntwo\n"));
    for (fault, f, g, h) in [
        ("", None, both, Some("three\n")),
        ("error:2", Some(""), None, None),
        ("error:3", one, None, None),
        ("denied:4", one, None, None),
        ("full:5", one, None, None),
        ("short:5", Some("one\ntw"), None, None),
        ("full:6", None, both, None),
        ("kill-before:6", both, None, None),
        ("kill-after:6", None, both, None),
        // What was written between the synchronisation and the cut is gone, under whatever name.
        ("power:6", one, None, None),
        ("power:7", None, one, None),
        ("power:9", None, one, Some("")),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT]);
        let chosen = fault.split_once(':').map(|(name, call)| {
            let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name).unwrap();
            Fault { kind, call: call.parse().unwrap() }
        });
        let (output, calls) = under_shim(shell, folder.path(), chosen);
        assert_eq!(output.status.success(), fault.is_empty(), "{fault}: {calls:?}");
        let content = |name: &str| fs::read_to_string(folder.path().join(name)).ok();
        let found = [content("f"), content("g"), content("h")];
        assert_eq!(found, [f, g, h].map(|it| it.map(str::to_owned)), "{fault}: {calls:?}");
    }
}
