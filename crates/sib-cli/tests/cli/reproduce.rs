//! `reproduce`: the plan of every profile, and the demo in small from end to end.

use std::path::{Path, PathBuf};
use std::process::Output;

use crate::snapshot::assert_text;
use crate::workplace::{Workplace, assert_refused, assert_success, read_csv, stderr};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The plan as it is printed in the folder of the checkout, where nothing was done before.
fn plan(arguments: &[&str]) -> Output {
    let base = ["reproduce", "--dry-run", "--output", "out"];
    let mut command = Workplace::new().command(&[&base, arguments].concat());
    command.current_dir(root()).output().unwrap()
}

fn text(output: &Output) -> String {
    assert_success(output);
    // Which only processors that have it are told.
    String::from_utf8(output.stdout.clone()).unwrap().replace(" --precision bf16", "")
}

#[test]
fn the_plan_of_every_profile() {
    let weights = Workplace::new();
    let folder = weights.path("weights").display().to_string();
    std::fs::create_dir(&folder).unwrap();
    for name in ["resnet18-a.pth", "densenet121-b.pth"] {
        std::fs::write(Path::new(&folder).join(name), "").unwrap();
    }
    for profile in ["demo", "mini", "ablation", "cost", "evidence", "paper"] {
        let found = text(&plan(&["--profile", profile, "--weights", &folder]));
        assert_text(&found.replace(&folder, "weights"), &format!("reproduce/{profile}.txt"));
    }
}

#[test]
fn a_plan_says_what_trainings_take_here() {
    // Built-in images of 32 px.
    let small = ["--profile", "demo", "--time", "--table", "3"];
    let found = text(&plan(&small));
    let said: Vec<&str> =
        found.lines().filter_map(|line| line.strip_prefix("    here: about ")).collect();
    assert_eq!(said.len(), 3, "{found}");
    assert!(said.iter().all(|line| line.ends_with(" of memory") || !cfg!(target_os = "linux")));
    assert!(found.contains("\ntrainings: about "), "{found}");
}

#[test]
fn a_plan_leaves_out_what_is_not_asked_for() {
    let choice = ["--profile", "mini", "--datasets", "pets,cifar100", "--backbones", "resnet50"];
    let of = ["--seeds", "1,2", "--table", "4", "--figure", "3", "--weights", "none"];
    let found = text(&plan(&[&choice[..], &of].concat()));
    assert_text(&found, "reproduce/chosen.txt");
    let demo = text(&plan(&["--table", "3", "--figure", "1a"]));
    for absent in ["localization", "test_rho", "explain", "table 2", "figure 5"] {
        assert!(!demo.contains(absent), "{absent}: {demo}");
    }
    assert!(demo.contains("--suite information") && demo.contains("figure 1a"), "{demo}");
}

#[test]
fn what_a_profile_does_not_have_is_refused() {
    let refused: [(&[&str], &str); 6] = [
        (&["--profile", "quick"], "demo, mini, ablation, cost, evidence, paper"),
        (&["--seeds", "1"], "--seeds: profile demo has no such choice"),
        (
            &["--profile", "ablation", "--table", "2"],
            "--table: profile ablation has no such choice",
        ),
        (&["--table", "6"], "2, 3, 4, 5"),
        (&["--configs", "nowhere"], "no configuration nowhere/demo/warmup.toml"),
        (&["--profile", "mini", "--datasets", "dogs"], "no configuration configs/mini/dogs.toml"),
    ];
    for (arguments, expected) in refused {
        let output = plan(arguments);
        assert!(stderr(&output).contains(expected), "{arguments:?}: {}", stderr(&output));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

/// The demo's configurations at the size of `tiny.toml`.
fn tiny_demo() -> Workplace {
    let place = Workplace::new();
    std::fs::create_dir_all(place.path("configs/demo")).unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(place.path("configs/demo").join(name), text).unwrap();
    };
    let tiny = "extend = '../../tiny.toml'\n[train]\nepochs = 1\n";
    write("warmup.toml", &format!("{tiny}[sib]\nenabled = false\n"));
    write("baseline.toml", &format!("{tiny}log_information = true\n[sib]\nenabled = false\n"));
    write("sib.toml", &format!("{tiny}log_information = true\n"));
    place
}

fn reproduce(place: &Workplace, more: &[&str]) -> Output {
    place.run(&[&["reproduce"], more].concat())
}

#[test]
fn the_demo_in_small_makes_all_it_names_and_only_once() {
    let place = tiny_demo();
    let chosen = ["--table", "2", "--table", "3", "--figure", "1a", "--figure", "5"];
    let output = reproduce(&place, &chosen);
    assert_success(&output);
    assert!(stderr(&output).contains("== 1 of 14: training: warmup"), "{}", stderr(&output));
    let files = ["table2.csv", "table3.md", "figure1a.svg", "figure5-cka.png", "report.html"];
    for file in files {
        assert!(place.path("runs/demo").join(file).is_file(), "{file}");
        assert!(stderr(&output).contains(&format!("written: runs/demo/{file}")), "{file}");
    }
    assert!(place.path("runs/demo-agreeing/sib/summary.csv").is_file());
    let table = read_csv(&place.path("runs/demo/table2.csv"));
    assert!(!table[0]["baseline"].is_empty() && !table[0]["s_ib"].is_empty(), "{table:?}");

    // Interrupted before its first checkpoint, after one, and not at all.
    std::fs::remove_file(place.path("runs/demo/baseline/status.toml")).unwrap();
    std::fs::remove_dir_all(place.path("runs/demo/baseline/checkpoints")).unwrap();
    std::fs::remove_file(place.path("runs/demo/sib/status.toml")).unwrap();
    let output = reproduce(&place, &chosen);
    assert_success(&output);
    let said = stderr(&output);
    assert!(said.contains("training: warmup (done before)"), "{said}");
    assert!(said.contains("runs/demo/baseline: 5 steps"), "{said}");
    assert!(said.contains("runs/demo/sib: going on after step 5"), "{said}");
    assert!(said.contains("runs/demo/sib/evaluation: already complete"), "{said}");
}

#[test]
fn a_step_that_fails_stops_only_what_needs_it() {
    let place = tiny_demo();
    let broken = "extend = 'baseline.toml'\n[train]\nbatch_size = 1\n[sib]\nenabled = true\n";
    std::fs::write(place.path("configs/demo/sib.toml"), broken).unwrap();
    let output = reproduce(&place, &["--table", "2"]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("error: failed: training: sib\n"), "{said}");
    assert!(said.contains("hint: the same command goes on from here"), "{said}");
    assert!(said.contains("evaluation: sib: left out, what it needs has failed"), "{said}");
    let table = read_csv(&place.path("runs/demo/table2.csv"));
    assert!(!table[0]["baseline"].is_empty() && table[0]["s_ib"].is_empty(), "{table:?}");

    std::fs::write(place.path("configs/demo/warmup.toml"), "[train]\nepochs = 0\n").unwrap();
    std::fs::remove_dir_all(place.path("runs/demo")).unwrap();
    let output = reproduce(&place, &[]);
    let said = stderr(&output);
    assert!(said.contains("error: failed: training: warmup\n"), "{said}");
    assert!(said.contains("table 2: left out"), "{said}");
    assert_refused(&reproduce(&place, &["--device", "tpu"]), 2, "tpu");
}
