//! Weights and inputs by formula, the same here and in `scripts/golden/formula.py`: a golden file
//! of a full-size network then holds outputs only.
//!
//! Element `i` (row-major) of the tensor `name` is drawn from
//! `u = (splitmix64(fnv1a64(name) + i) >> 40) / 2^23 - 1`, uniform on `[-1, 1)` with 24 bits, so
//! exact in f32 on both sides.

use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use rayon::prelude::*;
use tch::{Device, Kind, Tensor, nn};

use crate::group::{Group, Launch};

/// FNV-1a, 64 bits.
fn fnv1a64(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// SplitMix64's output function (Steele, Lea & Flood 2014, doi:10.1145/2660193.2660195).
fn splitmix64(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The tensor `name` of the formula: f64 on the CPU, uniform on `[-1, 1)`, of the given `shape`.
pub fn formula_tensor(name: &str, shape: &[i64]) -> Tensor {
    scaled(name, shape, 1.0, 0.0)
}

/// `factor · u + offset` of the formula's `u`, in one pass: large networks have hundreds of millions of it.
fn scaled(name: &str, shape: &[i64], factor: f64, offset: f64) -> Tensor {
    let seed = fnv1a64(name);
    let numel = shape.iter().product::<i64>() as u64;
    let value = |i: u64| {
        let u = (splitmix64(seed.wrapping_add(i)) >> 40) as f64 / f64::from(1 << 23) - 1.0;
        u * factor + offset
    };
    let values: Vec<f64> = (0..numel).into_par_iter().map(value).collect();
    Tensor::from_slice(&values).reshape(shape)
}

/// Sets every variable of `vs` by formula, in a way that keeps activations of order one.
///
/// Matrices and kernels: `u·sqrt(3 / fan_in)`; norm scales (1-d `weight`): `1 + u/10`; running
/// variances `1 + u/4`; running means `u/10`; batch counters 0; everything else `u/20`.
pub fn fill_by_formula(vs: &nn::VarStore) {
    tch::no_grad(|| {
        for (name, mut variable) in vs.variables() {
            let shape = variable.size();
            let fan_in = shape.iter().skip(1).product::<i64>() as f64;
            let (factor, offset) = if name.ends_with("num_batches_tracked") {
                (0.0, 0.0)
            } else if name.ends_with("running_var") {
                (0.25, 1.0)
            } else if name.ends_with("running_mean") {
                (0.1, 0.0)
            } else if shape.len() >= 2 {
                ((3.0 / fan_in).sqrt(), 0.0)
            } else if name.ends_with("weight") {
                (0.1, 1.0)
            } else {
                (0.05, 0.0)
            };
            variable.copy_(&scaled(&name, &shape, factor, offset));
        }
    });
}

/// The device that tests run on: `SIB_TEST_DEVICE=cuda` in the environment, otherwise the CPU.
pub fn test_device() -> Device {
    match std::env::var("SIB_TEST_DEVICE").as_deref() {
        Ok("cuda") => crate::device::parse("cuda").unwrap_or_else(|error| panic!("{error}")),
        _ => Device::Cpu,
    }
}

/// `max |a - b| / max |b|`: how far `a` is from `reference`, in units of the reference's range.
pub fn relative_difference(a: &Tensor, reference: &Tensor) -> f64 {
    let (a, b) = (a.to_kind(Kind::Double), reference.to_kind(Kind::Double));
    let scale = b.abs().max().double_value(&[]).max(f64::MIN_POSITIVE);
    (a - b).abs().max().double_value(&[]) / scale
}

/// A golden file: `$SIB_GOLDEN_DIR/name`, otherwise `tests/golden/name` of the workspace.
pub fn golden_path(name: &str) -> std::path::PathBuf {
    let workspace = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    std::env::var_os("SIB_GOLDEN_DIR").map_or(workspace, Into::into).join(name)
}

/// A path under the project's shared folder beside the checkout (`../shared`), where it is there;
/// otherwise `None`, with a line on stderr that says what is skipped, or a panic where `SIB_REQUIRE_SHARED`
/// is set: `scripts/test.sh` sets it where the folder is there, so that no part of it goes missing unseen.
pub fn shared_path(relative: &str) -> Option<std::path::PathBuf> {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared").join(relative);
    if path.exists() {
        return Some(path);
    }
    let is_required = std::env::var_os("SIB_REQUIRE_SHARED").is_some_and(|value| !value.is_empty());
    assert!(!is_required, "../shared/{relative} is not here, and SIB_REQUIRE_SHARED is set");
    // Past the test harness, which shows what is printed in tests that fail alone.
    let _ = writeln!(std::io::stderr(), "skipped: ../shared/{relative} is not here");
    None
}

/// Checks that the part of `example` between the lines `// quote: NAME` and `// end` stands in `document`, a
/// Markdown text or the `//!` comment of a Rust file, and has fewer than 40 lines.
///
/// # Panics
/// Where it does not, with the text that is expected.
pub fn assert_quoted(name: &str, example: &str, document: &str) {
    let begin = format!("// quote: {name}\n");
    let part = example.split_once(&begin).and_then(|(_, rest)| rest.split_once("// end\n"));
    let (part, _) = part.unwrap_or_else(|| panic!("the example has no part {name}"));
    let lines = part.lines().count();
    assert!(lines < 40, "{name}: {lines} lines");
    let comment = |line: &str| {
        let text = line.strip_prefix("//!").unwrap_or(line);
        text.strip_prefix(' ').filter(|_| text != line).unwrap_or(text).to_owned() + "\n"
    };
    let document: String = document.lines().map(comment).collect();
    assert!(document.contains(part), "{name} is not quoted as it is; expected\n{part}");
}

/// Runs `f` as each member of a group of `size` processes on this machine, each of which is this test program asked
/// for the test called `test` alone; that test does nothing but call this.
///
/// # Panics
/// Where a member fails, with all that it printed.
pub fn as_members(test: &str, size: usize, f: impl FnOnce(Group)) {
    // While one computes alone what is expected, the others wait for it, on a loaded machine for minutes.
    const TIMEOUT: Duration = Duration::from_secs(240);
    if std::env::var_os(MEMBER).is_some_and(|value| value == test) {
        tch::set_num_threads(1);
        crate::device::keep_freed_memory();
        let launch = Launch::from_env().expect("a launch").expect("a group");
        f(Group::join(&launch, Device::Cpu, TIMEOUT).expect("the others"));
        return;
    }
    let port = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port");
    let program = std::env::current_exe().expect("this program");
    let start = |rank: usize| {
        Command::new(&program)
            .args([test, "--exact", "--nocapture"])
            .env(MEMBER, test)
            .envs([("MASTER_ADDR", "127.0.0.1"), ("GLOO_SOCKET_IFNAME", "lo")])
            .env("MASTER_PORT", port.port().to_string())
            .envs([("WORLD_SIZE", size.to_string()), ("RANK", rank.to_string())])
            .env("OMP_NUM_THREADS", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("this program again")
    };
    let members: Vec<_> = (0..size).map(start).collect();
    for (rank, member) in members.into_iter().enumerate() {
        let output = member.wait_with_output().expect("its end");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "rank {rank}: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// Tells a member which test it is of.
const MEMBER: &str = "SIB_TEST_MEMBER";
