//! The names that a PyTorch file may refer to, and what they mean here.

use std::rc::Rc;

use tch::Kind;

use super::names::is_harmless;
use super::problem::Problem;

/// A Python class or function that a file names.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Global {
    /// `OrderedDict` and the other dicts of Python's own.
    Dict,
    /// `torch._utils._rebuild_tensor` and `_rebuild_tensor_v2`, which differ in later arguments.
    RebuildTensor,
    /// `torch._utils._rebuild_parameter`, and the one with attributes.
    RebuildParameter,
    /// `torch._tensor._rebuild_from_type_v2`: a subclass of tensors, or a tensor with attributes.
    RebuildFromType,
    /// Classes that are tensors and no more.
    TensorClass,
    /// A storage class, by its kind of element.
    Storage(Kind),
    /// Any other, by its name: what it makes is opaque.
    Named(Rc<str>),
}

impl Global {
    /// # Errors
    /// Names of Python's own library that are no data, naming them.
    pub(super) fn named(module: &str, name: &str) -> Result<Self, Problem> {
        Ok(match (module, name) {
            ("collections", "OrderedDict" | "defaultdict" | "Counter")
            | ("builtins" | "__builtin__", "dict") => Self::Dict,
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
                Self::RebuildParameter
            }
            ("torch._tensor", "_rebuild_from_type_v2") => Self::RebuildFromType,
            ("torch", "Tensor") | ("torch.nn.parameter", "Parameter" | "Buffer") => {
                Self::TensorClass
            }
            ("torch", "UntypedStorage") | ("torch.storage", "UntypedStorage") => {
                Self::Storage(Kind::Uint8)
            }
            ("torch", storage) if let Some(kind) = storage_kind(storage) => Self::Storage(kind),
            _ if is_harmless(module, name) => Self::Named(format!("{module}.{name}").into()),
            _ => {
                return Err(format!(
                    "refused: its pickle refers to {module}.{name} of Python's own library, of which \
                     only data types are read (nothing of it was run)"
                ));
            }
        })
    }

    /// As a name in messages.
    pub(super) fn name(&self) -> Rc<str> {
        match self {
            Self::Named(name) => name.clone(),
            other => format!("{other:?}").into(),
        }
    }
}

/// The kind of element of `torch.…Storage`.
fn storage_kind(name: &str) -> Option<Kind> {
    Some(match name.strip_suffix("Storage")? {
        "Double" => Kind::Double,
        "Float" => Kind::Float,
        "Half" => Kind::Half,
        "BFloat16" => Kind::BFloat16,
        "Long" => Kind::Int64,
        "Int" => Kind::Int,
        "Short" => Kind::Int16,
        "Char" => Kind::Int8,
        "Byte" => Kind::Uint8,
        "Bool" => Kind::Bool,
        "ComplexFloat" => Kind::ComplexFloat,
        "ComplexDouble" => Kind::ComplexDouble,
        "QInt8" => Kind::QInt8,
        "QUInt8" => Kind::QUInt8,
        "QInt32" => Kind::QInt32,
        _ => return None,
    })
}
