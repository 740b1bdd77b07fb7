//! From a profile and what was asked of it to steps in their order.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use sib_core::data::DatasetName;
use sib_core::device::has_bfloat16;
use sib_models::Arch;
use tch::Device;

use super::place::{Place, root_of};
use super::plan::{Plan, Step, Work};
use super::profile::{Choice, Evaluation, Pictures, Profile, Training};
use super::{FIGURES, Request, TABLES, beside_configs, weights};
use crate::error::{usage, with_hint};

/// The steps that `profile`, called `name`, takes for what is asked of it.
///
/// # Errors
/// When something is asked for that the profile does not have, or a configuration is missing.
pub(crate) fn plan(name: &str, profile: &Profile, request: &Request<'_>) -> Result<Plan> {
    expect_choices(name, profile, request)?;
    let mut planner = Planner::new(name, profile, request);
    planner.expect_configurations()?;
    let data = request.data.map_or_else(|| beside_configs(request.configs, "data"), str::to_owned);
    let (datasets, backbones) = (planner.datasets.clone(), planner.backbones.clone());
    let output = planner.output.clone();
    for seed in planner.seeds.clone() {
        for &dataset in &datasets {
            let root = root_of(dataset, request.configs, &data)?;
            for &backbone in &backbones {
                let root = root.as_deref();
                planner.of_network(&Place { dataset, backbone, seed, root, output: &output })?;
            }
        }
    }
    planner.finish();
    Ok(planner.plan)
}

/// Fails where something is asked for that the profile does not have.
fn expect_choices(name: &str, profile: &Profile, request: &Request<'_>) -> Result<()> {
    for (choice, flag, is_asked) in [
        (Choice::Tables, "--table", !request.tables.is_empty()),
        (Choice::Figures, "--figure", !request.figures.is_empty()),
        (Choice::Datasets, "--datasets", !request.datasets.is_empty()),
        (Choice::Backbones, "--backbones", !request.backbones.is_empty()),
        (Choice::Seeds, "--seeds", !request.seeds.is_empty()),
        (Choice::Full, "--full", request.full),
    ] {
        if is_asked && !profile.options.contains(&choice) {
            return Err(usage(format!("{flag}: profile {name} has no such choice")));
        }
    }
    Ok(())
}

/// Makes a plan.
struct Planner<'a> {
    profile: &'a Profile,
    request: &'a Request<'a>,
    datasets: Vec<DatasetName>,
    backbones: Vec<Arch>,
    seeds: Vec<u64>,
    tables: Vec<String>,
    figures: Vec<String>,
    output: String,
    plan: Plan,
    /// Places of the trainings by name.
    trainings: HashMap<String, usize>,
    /// Places of the exports by their folder.
    exports: HashMap<String, usize>,
}

impl<'a> Planner<'a> {
    fn new(name: &str, profile: &'a Profile, request: &'a Request<'a>) -> Self {
        let or_own = |asked: &[String], own: &[&str], choice| {
            let everything = request.tables.is_empty() && request.figures.is_empty();
            let own = if everything && profile.options.contains(&choice) { own } else { &[] };
            if asked.is_empty() {
                own.iter().map(|&it| it.to_owned()).collect()
            } else {
                asked.to_vec()
            }
        };
        fn chosen<T: Clone>(asked: &[T], own: &[T]) -> Vec<T> {
            if asked.is_empty() { own.to_vec() } else { asked.to_vec() }
        }
        // Evaluations on more images are others, which their folders would refuse.
        let name = if request.full { format!("{name}-full") } else { name.to_owned() };
        let runs =
            || Path::new(&beside_configs(request.configs, "runs")).join(name).display().to_string();
        Self {
            profile,
            request,
            datasets: chosen(request.datasets, &profile.datasets),
            backbones: chosen(request.backbones, &profile.backbones),
            seeds: chosen(request.seeds, &[43]),
            tables: or_own(request.tables, &TABLES, Choice::Tables),
            figures: or_own(request.figures, &FIGURES, Choice::Figures),
            output: request.output.map_or_else(runs, str::to_owned),
            plan: Plan::default(),
            trainings: HashMap::new(),
            exports: HashMap::new(),
        }
    }

    /// Fails where a training has no configuration.
    fn expect_configurations(&self) -> Result<()> {
        for &dataset in &self.datasets {
            for &backbone in &self.backbones {
                let place = Place { dataset, backbone, seed: 0, root: None, output: &self.output };
                for training in &self.profile.training {
                    let config = self.config(training, &place);
                    if !Path::new(&config).is_file() {
                        let error =
                            usage(format!("{dataset}, {backbone}: no configuration {config}"));
                        return Err(with_hint(
                            error,
                            "--configs names the folder configs of a checkout",
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    fn config(&self, training: &Training, place: &Place<'_>) -> String {
        format!("{}/{}", self.request.configs, place.fill(&training.config))
    }

    fn wants(&self, shown: &str) -> bool {
        match shown.split_once(' ') {
            Some(("table", number)) => self.tables.iter().any(|table| table == number),
            Some((_, number)) => self.figures.iter().any(|figure| figure == number),
            None => false,
        }
    }

    /// Arguments that say what does the work.
    fn workers(&self) -> Vec<String> {
        let device = ["--device".to_owned(), self.request.device.to_owned()];
        let processes = self.request.processes.map(|it| ["--processes".to_owned(), it.to_string()]);
        device.into_iter().chain(processes.into_iter().flatten()).collect()
    }

    fn push(&mut self, title: String, work: Work, needs: Vec<usize>) -> usize {
        self.plan.steps.push(Step { title, work, needs });
        self.plan.steps.len() - 1
    }

    /// All that is done with one network on one dataset by one seed.
    fn of_network(&mut self, place: &Place<'_>) -> Result<()> {
        let profile = self.profile;
        for training in &profile.training {
            let name = place.fill(&training.name);
            let trained = self.train(training, &name, place)?;
            for evaluation in profile.evaluation.iter().filter(|_| training.evaluated) {
                self.evaluate(evaluation, &name, trained, place);
            }
        }
        if let Some(pictures) = &profile.pictures {
            self.pictures(pictures, place);
        }
        Ok(())
    }

    fn train(&mut self, training: &Training, name: &str, place: &Place<'_>) -> Result<usize> {
        let profile = self.profile;
        let run = format!("{}/{name}", self.output);
        let config = self.config(training, place);
        let mut set: Vec<String> = profile.set.iter().map(|it| place.fill(it)).collect();
        for (_, more) in profile.set_for.iter().filter(|(shown, _)| self.wants(shown)) {
            set.extend(more.iter().cloned());
        }
        let is_other = !profile.backbones.contains(&place.backbone);
        if let Some(others) = profile.other_backbones.as_ref().filter(|_| is_other) {
            set.extend(others.set.iter().map(|it| place.fill(it)));
            self.plan.remarks.push(format!("{name}: {}", others.remark));
        }
        if profile.initial_weights {
            set.extend(self.initial_weights(place.backbone, is_other)?);
        }
        set.extend(training.set.iter().map(|it| place.fill(it)));

        let base = ["train", "--config", &config, "--output", &run];
        let mut arguments = [base.map(str::to_owned).to_vec(), self.workers()].concat();
        arguments.extend(set.iter().flat_map(|setting| ["--set".to_owned(), setting.clone()]));
        let resume = ["train", "--resume", &run].map(str::to_owned).to_vec();
        let resume = [resume, self.workers()].concat();
        let after =
            training.after.as_ref().and_then(|after| self.trainings.get(&place.fill(after)));
        let needs = after.copied().into_iter().collect();
        let (run, config) = (run.into(), config.into());
        let work = Work::Train { run, arguments, resume, config, settings: set };
        let trained = self.push(format!("training: {name}"), work, needs);
        self.trainings.insert(name.to_owned(), trained);
        *self.plan.runs.entry(place.backbone).or_default() += 1;
        Ok(trained)
    }

    /// The setting that names the file of the backbone's initial weights; none to start from scratch.
    fn initial_weights(&mut self, backbone: Arch, may_be_missing: bool) -> Result<Option<String>> {
        let folder = match self.request.weights {
            Some("none") => return Ok(None),
            Some(folder) => folder.to_owned(),
            None => beside_configs(self.request.configs, "weights"),
        };
        let file = match weights::file_of(backbone, &folder)? {
            Some(file) => file,
            None if may_be_missing => {
                let remark = format!("{backbone}: no weights in {folder}, from scratch");
                if !self.plan.remarks.contains(&remark) {
                    self.plan.remarks.push(remark);
                }
                return Ok(None);
            }
            // Which training then says is not there.
            None => format!("{folder}/{backbone}.pth"),
        };
        Ok(Some(format!("model.weights={file}")))
    }

    fn evaluate(&mut self, evaluation: &Evaluation, name: &str, trained: usize, place: &Place<'_>) {
        if evaluation.not_of.contains(&place.dataset) {
            return;
        }
        let wanted = |of: &[String]| of.is_empty() || of.iter().any(|shown| self.wants(shown));
        let suites: Vec<&str> =
            ["accuracy", "information", "localization", "faithfulness", "sanity"]
                .into_iter()
                .filter(|suite| evaluation.suites.get(*suite).is_some_and(|of| wanted(of)))
                .collect();
        if suites.is_empty() {
            return;
        }
        let run = format!("{}/{name}", self.output);
        let checkpoint = format!("{run}/checkpoints/last.safetensors");
        let folder = place.fill(&evaluation.folder).replace("{run}", &run).replace("{name}", name);
        let base = ["evaluate", "--checkpoint", &checkpoint].map(str::to_owned).to_vec();
        let mut arguments = [base, self.workers()].concat();
        arguments.extend(place.data());
        if place.root.is_some() {
            arguments.push("--allow-missing".to_owned());
        }
        arguments.extend(["--suite".to_owned(), suites.join(",")]);
        let full = evaluation.full.as_ref().filter(|_| self.request.full);
        arguments.extend(full.unwrap_or(&evaluation.arguments).iter().cloned());
        if evaluation.bf16 && (self.request.device != "cpu" || has_bfloat16(Device::Cpu)) {
            arguments.extend(["--precision", "bf16"].map(str::to_owned));
        }
        arguments.extend(["--output".to_owned(), folder]);
        self.push(format!("evaluation: {name}"), Work::Call { arguments }, vec![trained]);
    }

    /// Heatmaps before and after, of the first seed, and the figures that show them.
    fn pictures(&mut self, pictures: &Pictures, place: &Place<'_>) {
        let figures: Vec<String> = self
            .figures
            .iter()
            .filter(|it| ["1b", "3", "4"].contains(&it.as_str()))
            .cloned()
            .collect();
        let is_first = self.seeds.first() == Some(&place.seed);
        if figures.is_empty() || !is_first || pictures.not_of.contains(&place.dataset) {
            return;
        }
        let images = place.fill(&pictures.images_folder);
        let exported = match self.exports.get(&images) {
            Some(&exported) => exported,
            None => {
                let mut arguments = vec!["data".to_owned(), "export".to_owned()];
                arguments.extend(place.data());
                let limit = pictures.images.to_string();
                let rest = ["--split", "test", "--limit", &limit, "--output", &images];
                arguments.extend(rest.map(str::to_owned));
                let title = match &place.root {
                    Some(_) => format!("images: {}", place.dataset),
                    None => "images".to_owned(),
                };
                let exported = self.push(title, Work::Call { arguments }, Vec::new());
                self.exports.insert(images.clone(), exported);
                exported
            }
        };
        let [sib, baseline] = [&pictures.sib, &pictures.baseline].map(|name| place.fill(name));
        let [compared, with] = [&sib, &baseline]
            .map(|name| format!("{}/{name}/checkpoints/last.safetensors", self.output));
        let needs = [
            Some(exported),
            self.trainings.get(&sib).copied(),
            self.trainings.get(&baseline).copied(),
        ];
        let folder = place.fill(&pictures.heatmaps_folder);
        let name = place.fill(&pictures.name);
        let of = |separator: &str| {
            if name.is_empty() { String::new() } else { format!("{separator}{name}") }
        };
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let base = ["explain", "--checkpoint", &compared, "--compare", &with, "--image", &images];
        let shown = words(&["--method", "all", "--sheet-images", "3"]);
        let output = words(&["--output", &folder, "--overwrite"]);
        let arguments = [words(&base), shown, self.workers(), output].concat();
        let file = Path::new(&folder).join("explanation.toml");
        let title = format!("heatmaps before and after{}", of(": "));
        let needs = needs.into_iter().flatten().collect();
        let explained = self.push(title, Work::Make { file, arguments }, needs);
        for figure in figures {
            let file = format!("{}/figure{figure}{}", self.output, of("-"));
            self.figure(&figure, &folder, &file, &[], vec![explained]);
        }
    }

    /// A figure as SVG and PNG.
    fn figure(&mut self, number: &str, runs: &str, file: &str, more: &[&str], needs: Vec<usize>) {
        let files = ["svg", "png"].map(|ending| format!("{file}.{ending}"));
        let base = ["figure", number, "--runs", runs, "--output", &files[0], "--output", &files[1]];
        let arguments = base.iter().chain(more).map(|&word| word.to_owned()).collect();
        let files = files.map(PathBuf::from).to_vec();
        self.push(format!("figure {number}"), Work::Show { files, arguments }, needs);
    }

    /// What is shown of all runs together.
    fn finish(&mut self) {
        let output = self.output.clone();
        let show = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        if let Some(joined) = &self.profile.joined {
            let file = |name: &str| PathBuf::from(name.replace("{output}", &output));
            let (summaries, norms) = (file(&joined.summaries), file(&joined.gradient_norms));
            let work =
                Work::Join { output: output.clone().into(), summaries, gradient_norms: norms };
            self.push("joined summaries".to_owned(), work, Vec::new());
        }
        if let Some(compared) = &self.profile.compared {
            let file = compared.replace("{output}", &output);
            let [csv, markdown] = ["csv", "md"].map(|ending| format!("{file}.{ending}"));
            let arguments =
                show(&["compare", "--runs", &output, "--output", &csv, "--markdown", &markdown]);
            let files = vec![csv.into(), markdown.into()];
            self.push("comparison".to_owned(), Work::Show { files, arguments }, Vec::new());
        }
        for table in self.tables.clone() {
            let [csv, markdown] =
                ["csv", "md"].map(|ending| format!("{output}/table{table}.{ending}"));
            let arguments = show(&[
                "table",
                &table,
                "--runs",
                &output,
                "--output",
                &csv,
                "--markdown",
                &markdown,
            ]);
            let files = vec![csv.into(), markdown.into()];
            self.push(format!("table {table}"), Work::Show { files, arguments }, Vec::new());
        }
        for figure in self.figures.clone() {
            if ["1a", "5"].contains(&figure.as_str()) {
                let file = format!("{output}/figure{figure}");
                self.figure(&figure, &output, &file, &[], Vec::new());
                // HSIC crowds around 1/(batch - 1); CKA has a scale of its own.
                let cka = ["--estimator", "cka"];
                self.figure(&figure, &output, &format!("{file}-cka"), &cka, Vec::new());
            }
        }
        let file = format!("{output}/report.html");
        let arguments = show(&["report", "--runs", &output, "--output", &file]);
        self.push(
            "report".to_owned(),
            Work::Show { files: vec![file.into()], arguments },
            Vec::new(),
        );
    }
}
