//! What an update measured: scalars that stay on their device until somebody asks.

use tch::{Device, Kind, Tensor};

use crate::Result;
use crate::group::Group;

/// What an update measured, by name and in the order of the log.
#[derive(Debug, Default)]
pub struct Measurements(Vec<(&'static str, Value)>);

/// A scalar.
#[derive(Debug)]
enum Value {
    Known(f64),
    OnDevice(Tensor),
}

impl Value {
    /// A scalar tensor of f64.
    fn tensor(&self) -> Tensor {
        match self {
            Self::Known(value) => Tensor::from(*value),
            Self::OnDevice(scalar) => scalar.to_kind(Kind::Double),
        }
    }

    fn shallow_clone(&self) -> Self {
        match self {
            Self::Known(value) => Self::Known(*value),
            Self::OnDevice(scalar) => Self::OnDevice(scalar.shallow_clone()),
        }
    }

    fn device(&self) -> Device {
        match self {
            Self::Known(_) => Device::Cpu,
            Self::OnDevice(scalar) => scalar.device(),
        }
    }
}

impl Measurements {
    /// The values, in one transfer from their device, which has to have computed them.
    pub fn read(&self) -> Vec<(&'static str, f64)> {
        let on_device: Vec<Tensor> = self
            .0
            .iter()
            .filter(|(_, value)| matches!(value, Value::OnDevice(_)))
            .map(|(_, value)| value.tensor())
            .collect();
        let mut read = match on_device.is_empty() {
            true => Vec::new(),
            false => Vec::<f64>::try_from(Tensor::stack(&on_device, 0)).expect("a vector of f64"),
        }
        .into_iter();
        let values = self.0.iter().map(|(name, value)| match value {
            Value::Known(value) => (*name, *value),
            Value::OnDevice(_) => (*name, read.next().expect("one each")),
        });
        values.collect()
    }

    /// Whether [`Self::read`] waits for no device.
    pub fn are_at_hand(&self) -> bool {
        self.0.iter().all(|(_, value)| value.device() == Device::Cpu)
    }

    /// Adds a number.
    pub(super) fn know(&mut self, name: &'static str, value: f64) {
        self.0.push((name, Value::Known(value)));
    }

    /// Adds a scalar tensor.
    pub(super) fn keep(&mut self, name: &'static str, scalar: &Tensor) {
        self.0.push((name, Value::OnDevice(scalar.detach())));
    }

    /// The same scalars.
    pub(super) fn shallow_clone(&self) -> Self {
        Self(self.0.iter().map(|(name, value)| (*name, value.shallow_clone())).collect())
    }

    /// The scalar called `name`.
    pub(super) fn scalar(&self, name: &str) -> Option<Tensor> {
        let found = self.0.iter().find(|(of, _)| *of == name);
        found.map(|(_, value)| value.tensor())
    }

    /// The sum with measurements of the same, value by value.
    pub(super) fn plus(&self, more: &Self) -> Self {
        let sum =
            |((name, one), (other, two)): (&(&'static str, Value), &(&'static str, Value))| {
                assert_eq!(name, other, "the batches of an update measure the same");
                (*name, Value::OnDevice(one.tensor() + two.tensor()))
            };
        Self(self.0.iter().zip(&more.0).map(sum).collect())
    }

    /// The means over the members of `group`, in one operation.
    ///
    /// # Errors
    /// [`Error::Group`](crate::Error::Group) where another member does not take part.
    pub(super) fn mean_over(self, group: &Group) -> Result<Self> {
        if group.is_alone() {
            return Ok(self);
        }
        let on_device = |value: &Value| match value {
            Value::Known(_) => None,
            Value::OnDevice(scalar) => Some(scalar.shallow_clone()),
        };
        let scalars: Vec<Tensor> = self.0.iter().filter_map(|(_, it)| on_device(it)).collect();
        let mut means = group.means(&scalars)?.into_iter();
        let of_all = self.0.into_iter().map(|(name, value)| match value {
            Value::Known(value) => (name, Value::Known(value)),
            Value::OnDevice(_) => (name, Value::OnDevice(means.next().expect("one each"))),
        });
        Ok(Self(of_all.collect()))
    }

    /// All times `factor`.
    pub(super) fn times(&self, factor: f64) -> Self {
        let scaled = |(name, value): &(&'static str, Value)| {
            let product = match value {
                Value::Known(value) => Value::Known(value * factor),
                Value::OnDevice(_) if factor == 1.0 => value.shallow_clone(),
                Value::OnDevice(_) => Value::OnDevice(value.tensor() * factor),
            };
            (*name, product)
        };
        Self(self.0.iter().map(scaled).collect())
    }
}
