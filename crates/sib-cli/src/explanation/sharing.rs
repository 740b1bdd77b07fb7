//! Processes that explain together: each has some of the chunks of images, the first one writes what all have made.

use anyhow::{Context, Result};
use sib_core::group::Group;
use sib_explain::TargetScores;
use tch::{Device, Kind, Tensor};

use super::networks::{Explained, Heatmaps, OfNetwork};

/// What each process has made, in their order; with others than the first nothing.
///
/// # Errors
/// Where another process does not take part.
pub(super) fn gathered(group: &Group, own: Option<Explained>) -> Result<Vec<Option<Explained>>> {
    if group.is_alone() {
        return Ok(vec![own]);
    }
    let numbers = own.as_ref().map(numbers).transpose()?.unwrap_or_default();
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    let all = group.exchanged(&bytes)?;
    if !group.is_first() {
        return Ok(Vec::new());
    }
    let read = |bytes: &Vec<u8>| -> Result<Option<Explained>> {
        let words = bytes.chunks_exact(8).map(|word| word.try_into().expect("eight bytes"));
        let numbers: Vec<f64> = words.map(f64::from_le_bytes).collect();
        if numbers.is_empty() { Ok(None) } else { Numbers(&numbers).explained().map(Some) }
    };
    all.iter().map(read).collect()
}

/// All of it as numbers: images, height and width of the maps, networks, methods, then each network's targets, logits and
/// probabilities, and of each of its methods the seconds, whether there are errors, these and the maps.
fn numbers(explained: &Explained) -> Result<Vec<f64>> {
    let networks: Vec<&OfNetwork> =
        [&explained.ours].into_iter().chain(&explained.theirs).collect();
    let methods = explained.ours.heatmaps.len();
    let &[images, height, width] = &explained.ours.heatmaps[0].maps.size()[..] else {
        anyhow::bail!("maps of a chunk: expected [B,H,W]");
    };
    let mut all = vec![images as f64, height as f64, width as f64, networks.len() as f64];
    all.push(methods as f64);
    let mut push = |tensor: &Tensor| -> Result<()> {
        let flat = tensor.to_device(Device::Cpu).to_kind(Kind::Double).reshape([-1]);
        all.extend(Vec::<f64>::try_from(flat)?);
        Ok(())
    };
    for network in networks {
        push(&network.scores.targets)?;
        push(&network.scores.logits)?;
        push(&network.scores.probabilities)?;
        for Heatmaps { maps, completeness_error, seconds_an_image } in &network.heatmaps {
            push(&Tensor::from(*seconds_an_image))?;
            push(&Tensor::from(f64::from(u8::from(completeness_error.is_some()))))?;
            completeness_error.iter().try_for_each(&mut push)?;
            push(maps)?;
        }
    }
    Ok(all)
}

/// What is still to be read.
struct Numbers<'n>(&'n [f64]);

impl Numbers<'_> {
    fn take(&mut self, count: usize) -> Result<&[f64]> {
        let (taken, rest) = self.0.split_at_checked(count).context("maps of another process")?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<f64> {
        Ok(self.take(1)?[0])
    }

    fn explained(&mut self) -> Result<Explained> {
        let [images, height, width] = [self.number()?, self.number()?, self.number()?];
        let size = [images, height, width].map(|length| length as i64);
        let (networks, methods) = (self.number()?, self.number()? as usize);
        let ours = self.network(size, methods)?;
        let theirs = (networks > 1.0).then(|| self.network(size, methods)).transpose()?;
        Ok(Explained { ours, theirs })
    }

    fn network(&mut self, size: [i64; 3], methods: usize) -> Result<OfNetwork> {
        let images = size[0] as usize;
        let targets = Tensor::from_slice(self.take(images)?).to_kind(Kind::Int64);
        let logits = Tensor::from_slice(self.take(images)?);
        let probabilities = Tensor::from_slice(self.take(images)?);
        let mut heatmaps = Vec::with_capacity(methods);
        for _ in 0..methods {
            let seconds_an_image = self.number()?;
            let has_error = self.number()? > 0.0;
            let error = has_error.then(|| self.take(images).map(Tensor::from_slice)).transpose()?;
            let maps = Tensor::from_slice(self.take(size.iter().product::<i64>() as usize)?);
            heatmaps.push(Heatmaps {
                maps: maps.reshape(size),
                completeness_error: error,
                seconds_an_image,
            });
        }
        Ok(OfNetwork { scores: TargetScores { targets, logits, probabilities }, heatmaps })
    }
}
