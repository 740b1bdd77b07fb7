//! Weights of other software: what PyTorch wrote is read as PyTorch reads it, and what must not be
//! read is refused with its reason. `scripts/golden/pth.py` writes the files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use sib_core::Result;
use sib_core::checkpoint::{read_tensors, write_tensors};
use sib_core::testing::{golden_path, shared_path};
use sib_models::{Arch, Model, ModelOptions, read_state_dict};
use tch::{Device, Kind, Tensor};

fn state(file: &str) -> Result<BTreeMap<String, Tensor>> {
    // ResNet's keys are translated to themselves.
    read_state_dict(&golden_path(file), Arch::ResNet18)
}

/// The error of reading `bytes` as a file of weights.
fn refusal(folder: &Path, bytes: &[u8]) -> Option<String> {
    let path = folder.join("weights.pth");
    fs::write(&path, bytes).unwrap();
    let message = read_state_dict(&path, Arch::ResNet18).err()?.to_string();
    assert!(message.starts_with(&*path.to_string_lossy()), "{message}");
    Some(message)
}

fn model(arch: Arch, num_classes: i64) -> Model {
    Model::new(arch, num_classes, Device::Cpu, &ModelOptions::default()).unwrap()
}

fn write(path: &Path, state: &BTreeMap<String, Tensor>) {
    write_tensors(path, state, &BTreeMap::new()).unwrap();
}

#[test]
fn every_container_is_read_as_pytorch_reads_it() {
    let (expected, _) = read_tensors(&golden_path("pth_expected.safetensors")).unwrap();
    for (file, tensors) in [
        ("pth_flat_zip.pth", 18),
        ("pth_nested_zip.pth", 18),
        ("pth_flat_legacy.pth", 18),
        ("pth_nested_legacy.pth", 18),
        ("pth_protocol4_zip.pth", 18),
        ("pth_big_endian_zip.pth", 2),
    ] {
        let state = state(file).unwrap();
        assert_eq!(state.len(), tensors, "{file}");
        for (name, tensor) in state {
            let expected = &expected[&name];
            assert_eq!(tensor.kind(), expected.kind(), "{file}: {name}");
            // Exact: every conversion to f32 rounds once, as PyTorch's does.
            assert!(tensor.equal(expected), "{file}: {name}: {tensor:?}");
        }
    }
}

#[test]
fn code_bombs_and_strangers_are_refused_with_the_reason() {
    for (file, reason) in [
        ("pth_evil_zip.pth", "refers to posix.system"),
        ("pth_evil_legacy.pth", "refers to posix.system"),
        ("pth_compressed_zip.pth", "is compressed"),
        ("pth_overlapping_zip.pth", "entries overlap"),
        ("pth_endless_zip.pth", "more elements than the file has bytes"),
        ("pth_endless_legacy.pth", "more elements than the file has bytes"),
    ] {
        let message = state(file).unwrap_err().to_string();
        assert!(message.contains(reason), "{file}: {message}");
    }
    assert!(!Path::new("opened-by-a-pickle").exists());

    let folder = tempfile::tempdir().unwrap();
    let legacy = |pickle: &[u8]| {
        let head = fs::read(golden_path("pth_flat_legacy.pth")).unwrap();
        // The mark and the version, then a dict for the machine, then the object.
        [&head[..21], b"\x80\x02}.", pickle, b"\x80\x02]."].concat()
    };
    let mut too_deep = vec![b']'; 500_000];
    too_deep.extend(vec![b'a'; 499_999]);
    too_deep.push(b'.');
    for (bytes, reason) in [
        (b"".to_vec(), "neither a PyTorch nor a safetensors file"),
        (b"GIF89a...............".to_vec(), "neither a PyTorch nor a safetensors file"),
        (b"cos\nsystem\n(S'ls'\ntR.".to_vec(), "refers to os.system"),
        (b"\x80\x04\x8c\x05posix\x8c\x06system\x93.".to_vec(), "refers to posix.system"),
        (b"\x80\x02}.".to_vec(), "neither a PyTorch nor a safetensors file"),
        (b"PK\x03\x04".to_vec(), "truncated or damaged zip"),
        ([&[0; 257], &b"ustar"[..], &[0; 300]].concat(), "tar container"),
        (legacy(b"cbuiltins\neval\n."), "refers to builtins.eval"),
        (legacy(b"(icollections\nOrderedDict\n."), "by opcode INST"),
        (legacy(b"}."), "its first keys are []"),
        (legacy(b"]."), "holds no state dict"),
        (legacy(&too_deep), "holds no state dict"),
        // A dict that is its own state dict.
        (legacy(b"}q\0X\x05\0\0\0modelh\0s."), "nested deeper"),
        (legacy(b"X\xff\xff\xff\xffx."), "structure alone takes more than"),
        (legacy(b"B\0\0\x80\0x."), "truncated"),
        (legacy(&[b')'; 2_000_000]), "more than 1048576 objects"),
        (legacy(b"t."), "damaged"),
        (legacy(b"."), "damaged"),
        (legacy(b"(0."), "damaged"),
        (legacy(b"h\x07."), "never kept"),
        (legacy(b"N)R."), "other than a named function"),
        (legacy(b"NQ."), "storage reference"),
        (legacy(b"\x8a\x80"), "truncated"),
        (legacy(b"K\x01NNs."), "other than a dict"),
    ] {
        let start = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
        let message = refusal(folder.path(), &bytes).expect("must be refused");
        assert!(message.contains(reason), "{start:?}: {message}");
    }
}

/// `(offset, size, stride)` that leave a storage of 24 elements, or overflow on the way.
#[test]
fn tensors_that_leave_their_storage_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let original = fs::read(golden_path("pth_flat_legacy.pth")).unwrap();
    // The first tensor, `float` of 4 by 6: K0 (K4 K6 tuple2) (K6 K1 tuple2), each tuple memoised.
    let shape = b"K\x00K\x04K\x06\x86q";
    let at = original.windows(shape.len()).position(|window| window == shape).unwrap();
    for (change, value) in [(1, 1), (3, 5), (5, 7)] {
        let mut bytes = original.clone();
        bytes[at + change] = value;
        let message = refusal(folder.path(), &bytes).expect("must be refused");
        assert!(message.contains("reaches beyond its storage of 24 elements"), "{message}");
    }
    for number in [&b"J\xff\xff\xff\xff"[..], b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f"] {
        for part in [0, 2, 4] {
            let mut bytes = original.clone();
            bytes.splice(at + part..at + part + 2, number.iter().copied());
            let message = refusal(folder.path(), &bytes).expect("must be refused");
            let reasons = ["negative or too large", "reaches beyond its storage"];
            assert!(reasons.iter().any(|reason| message.contains(reason)), "{message}");
        }
    }
}

#[test]
fn truncated_files_are_refused_at_every_length() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["pth_nested_zip.pth", "pth_nested_legacy.pth", "pth_expected.safetensors"] {
        let bytes = fs::read(golden_path(file)).unwrap();
        for length in (0..bytes.len()).step_by(7) {
            assert!(refusal(folder.path(), &bytes[..length]).is_some(), "{file}: {length} bytes");
        }
    }
}

proptest! {
    // A few hundred damaged files of each kind; the files take the time, not the reading.
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Damage anywhere gives either tensors or an error that names the file.
    #[test]
    fn damaged_files_are_read_or_refused(
        file in prop::sample::select(vec!["pth_flat_zip.pth", "pth_nested_legacy.pth"]),
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = fs::read(golden_path(file)).unwrap();
        for (place, value) in places {
            let i = place.index(bytes.len());
            bytes[i] = value;
        }
        let folder = tempfile::tempdir().unwrap();
        let _ = refusal(folder.path(), &bytes);
    }
}

#[test]
fn another_class_count_keeps_the_new_head_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("five.safetensors");
    let (five, three) = (model(Arch::ResNet18, 5), model(Arch::ResNet18, 3));
    write(&path, &five.state_dict());
    let head = three.state_dict()["fc.weight"].copy();

    let report = three.load_weights(&path).unwrap();
    let (ours, theirs) = (three.state_dict(), five.state_dict());
    assert_eq!((report.loaded, report.missing.len(), report.unexpected.len()), (120, 0, 0));
    let replaced: Vec<_> = report.replaced.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(replaced, ["fc.bias", "fc.weight"]);
    assert!(report.to_string().contains("newly initialised: fc.weight [5, 512] -> [3, 512]"));
    assert!(ours["fc.weight"].equal(&head));
    for (name, tensor) in ours.iter().filter(|(name, _)| !name.starts_with("fc.")) {
        assert!(tensor.equal(&theirs[name]), "{name}");
    }

    let (imported, report) =
        Model::import(&path, Arch::ResNet18, None, Device::Cpu, &ModelOptions::default()).unwrap();
    assert_eq!(imported.num_classes(), 5);
    assert!(report.is_exact(), "{report}");
}

#[test]
fn old_files_without_batch_counters_are_complete() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.safetensors");
    let source = model(Arch::ResNet18, 5);
    let mut state = source.state_dict();
    state.retain(|name, _| !name.ends_with("num_batches_tracked"));
    state.insert("fc_norm.weight".to_owned(), Tensor::ones(3, (Kind::Float, Device::Cpu)));
    write(&path, &state);
    let report = source.load_weights(&path).unwrap();
    assert_eq!((report.loaded, report.counters_added), (122, 20));
    assert_eq!(report.unexpected, ["fc_norm.weight"]);
}

#[test]
fn other_architectures_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let refused = |arch: Arch, state: &BTreeMap<String, Tensor>| {
        write(&path, state);
        let target = model(arch, 2);
        let before = target.state_dict()["bn1.weight"].copy();
        let message = target.load_weights(&path).unwrap_err().to_string();
        assert!(target.state_dict()["bn1.weight"].equal(&before));
        message
    };
    let small = model(Arch::ResNet18, 2).state_dict();
    let large = model(Arch::ResNet50, 2).state_dict();
    let message = refused(Arch::ResNet18, &large);
    assert!(message.contains("\"fc.weight\" has shape [2, 2048]"), "{message}");
    assert!(message.contains("not resnet18") && message.contains("may be resnet50"), "{message}");
    let message = refused(Arch::ResNet50, &small);
    assert!(message.contains("not resnet50") && message.contains("may be resnet18"), "{message}");

    // ResNet-34 has every tensor of ResNet-18, and more blocks.
    let mut deeper = model(Arch::ResNet18, 2).state_dict();
    deeper.insert("layer1.2.conv1.weight".to_owned(), small["layer1.1.conv1.weight"].copy());
    let message = refused(Arch::ResNet18, &deeper);
    assert!(message.contains("\"layer1.2.conv1.weight\", a part that resnet18 lacks"), "{message}");

    let mut gap = model(Arch::ResNet18, 2).state_dict();
    gap.remove("layer2.0.bn1.weight");
    let message = refused(Arch::ResNet18, &gap);
    assert!(message.contains("lacks 1 of its tensors"), "{message}");

    let other = BTreeMap::from([("weight".to_owned(), Tensor::from(1.0))]);
    let message = refused(Arch::ResNet18, &other);
    assert!(message.contains("none of its 122 tensors"), "{message}");
}

/// A real file: torchvision's ResNet-18 with 200 classes, floats stored as f16.
#[test]
fn a_trained_resnet18_is_imported_whole() {
    let path = "weights/resnet18-tiny-imagenet200.pth";
    let Some(path): Option<PathBuf> = shared_path(path) else { return };
    let (model, report) =
        Model::import(&path, Arch::ResNet18, None, Device::Cpu, &ModelOptions::default()).unwrap();
    assert_eq!(model.num_classes(), 200);
    assert!(report.is_exact(), "{report}");
    for (name, tensor) in model.state_dict() {
        assert!(bool::try_from(tensor.isfinite().all()).unwrap(), "{name}");
    }
}
