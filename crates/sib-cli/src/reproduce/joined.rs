//! Files about all runs of an ablation: their summaries one below the other, and how much each term moved
//! the weights.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use sib_core::Error;
use sib_metrics::Summary;

use crate::csv_rows;
use crate::run::MetricRow;

/// The runs in the folder at `output`, in the order of their names.
fn runs(output: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut runs = Vec::new();
    for entry in fs::read_dir(output).map_err(Error::io("read", output))? {
        let path = entry.map_err(Error::io("read", output))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        runs.push((name, path));
    }
    runs.sort();
    Ok(runs)
}

/// The rows of all `evaluation/summary.csv`, with the name of the run in front.
///
/// # Errors
/// When there is none, or one cannot be read.
pub(super) fn summaries(output: &Path) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut is_empty = true;
    for (run, path) in runs(output)? {
        let file = path.join("evaluation/summary.csv");
        if !file.is_file() {
            continue;
        }
        let text = fs::read(&file).map_err(Error::io("read", &file))?;
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&text[..]);
        for (line, row) in reader.records().enumerate() {
            if line > 0 || is_empty {
                let first = if line == 0 { "run" } else { &run };
                writer.write_record(std::iter::once(first).chain(row?.iter()))?;
            }
        }
        is_empty = false;
    }
    if is_empty {
        bail!("{}: no finished evaluation here", output.display());
    }
    Ok(writer.into_inner().map_err(csv::IntoInnerError::into_error)?)
}

/// Means over each run of the norms of its terms' gradients.
///
/// # Errors
/// When a log cannot be read or is damaged.
pub(super) fn gradient_norms(output: &Path) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["run", "name", "mean"])?;
    for (run, path) in runs(output)? {
        let file = path.join("metrics.csv");
        if !file.is_file() {
            continue;
        }
        let mut norms = BTreeMap::<String, Summary>::new();
        for row in csv_rows::read::<MetricRow>(&file)? {
            if row.name.starts_with("gradient_norm_") {
                norms.entry(row.name).or_default().push(row.value);
            }
        }
        for (name, norm) in norms {
            writer.serialize((&run, name, norm.mean()))?;
        }
    }
    Ok(writer.into_inner().map_err(csv::IntoInnerError::into_error)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_all_runs_carry_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert!(
            summaries(folder.path())
                .unwrap_err()
                .to_string()
                .ends_with("no finished evaluation here")
        );
        write("b/evaluation/summary.csv", "metric,value\ntop1_pct,1\n");
        write("a/evaluation/summary.csv", "metric,value\ntop1_pct,2\nmap_pct,\"3\"\n");
        write("images/1.png", "");
        let joined = String::from_utf8(summaries(folder.path()).unwrap()).unwrap();
        assert_eq!(joined, "run,metric,value\na,top1_pct,2\na,map_pct,3\nb,top1_pct,1\n");

        let log = "step,epoch,split,name,value\n1,0,train,gradient_norm_b,1\n1,0,train,loss,9\n\
                   2,0,train,gradient_norm_b,2\n2,0,train,gradient_norm_a,4\n";
        write("a/metrics.csv", log);
        let norms = String::from_utf8(gradient_norms(folder.path()).unwrap()).unwrap();
        assert_eq!(norms, "run,name,mean\na,gradient_norm_a,4.0\na,gradient_norm_b,1.5\n");
    }
}
