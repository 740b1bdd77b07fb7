//! Weights of other software: what PyTorch wrote is read as PyTorch reads it, and what must not be
//! read is refused with its reason. `scripts/golden/pth.py` writes the files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use sib_core::Result;
use sib_core::checkpoint::read_tensors;
use sib_core::testing::golden_path;
use sib_models::{Arch, read_state_dict};
use tch::Tensor;

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

#[test]
fn every_container_is_read_as_pytorch_reads_it() {
    let (expected, _) = read_tensors(&golden_path("pth_expected.safetensors")).unwrap();
    for (file, tensors) in [
        ("pth_flat_zip.pth", 18),
        ("pth_nested_zip.pth", 18),
        ("pth_flat_legacy.pth", 18),
        ("pth_nested_legacy.pth", 18),
        ("pth_protocol4_zip.pth", 18),
        ("pth_average_zip.pth", 18),
        // Beside the state dict all that training scripts save: optimizer and MultiStepLR with its
        // counter, arguments, sizes, devices, kinds, sets, NumPy's numbers, objects of classes.
        ("pth_training_zip.pth", 18),
        ("pth_training_legacy.pth", 18),
        ("pth_training_protocol5_zip.pth", 18),
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
        ("pth_sparse_zip.pth", "\"weight\": made by torch._utils._rebuild_sparse_tensor"),
        ("pth_quantised_zip.pth", "\"weight\": made by torch._utils._rebuild_qtensor"),
        ("pth_complex_zip.pth", "\"weight\": holds ComplexFloat numbers, expected real ones"),
        ("pth_meta_zip.pth", "\"weight\": made by torch._utils._rebuild_meta_tensor_no_storage"),
        ("pth_numpy_zip.pth", "\"weight\": made by numpy._core.multiarray._reconstruct"),
        ("pth_float8_zip.pth", "\"weight\": made by torch._utils._rebuild_tensor_v3"),
        (
            "pth_module_zip.pth",
            "holds a whole torch.nn.modules.linear.Linear, expected a state dict",
        ),
        ("pth_script_zip.pth", "a TorchScript program, expected a state dict"),
        ("pth_script_zip.pth", "torch.save(torch.jit.load(\"IN.pt\""),
        ("pth_exported_zip.pth", "a program of torch.export, expected a state dict"),
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
        (b"PNG and the like, longer than eight bytes".to_vec(), "nor a safetensors file"),
        (b"<!DOCTYPE html><html>404</html>".to_vec(), "but a page of HTML"),
        (b"version https://git-lfs.github.com/spec/v1\noid".to_vec(), "but a pointer of Git LFS"),
        (b"\x0f\0\0\0\0\0\0\0{\"a\"".to_vec(), "announce a header of 15 bytes, but 4 follow"),
        (b"cos\nsystem\n(S'ls'\ntR.".to_vec(), "refers to os.system"),
        (b"\x80\x04\x8c\x13torch.serialization\x8c\x09os.system\x93.".to_vec(), "os.system of"),
        (b"\x80\x02cbuiltins\ngetattr\n.".to_vec(), "refers to builtins.getattr"),
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
        (legacy(&[b'('; 2_000_000]), "more than 1048576 open marks"),
        (legacy(&[&b"N"[..], &[b'2'; 2_000_000]].concat()), "stack holds more than 1048576"),
        (legacy(&[&b"N"[..], &[0x94; 2_000_000]].concat()), "keeps more than 1048576"),
        (legacy(&[b"cc\n", &[b'x'; 2000][..], b"\n."].concat()), "a name of more than 1024 bytes"),
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

/// Pickles that use one large object over and over must not cost more memory than their own size allows:
/// what a call copies is counted, in whatever container it lies.
#[test]
fn objects_that_are_used_over_and_over_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let head = fs::read(golden_path("pth_flat_legacy.pth")).unwrap();
    let legacy = |pickle: &[u8]| [&head[..21], b"\x80\x02}.", pickle, b"\x80\x02]."].concat();
    let (pairs, calls) = (200_000, 60);
    // Kept as number 0: a function; as 1: something large; then calls of the one with the other.
    let dict = b"ccollections\nOrderedDict\nq\0";
    let mut list = b"]q\x01(".to_vec();
    list.extend(b"NN\x86q\x02");
    list.extend(b"h\x02".repeat(pairs));
    list.extend(b"e0");
    let ordered = [&dict[..], b"0", &list, &b"h\0h\x01\x85R0".repeat(calls), b"}."].concat();
    // A shape that is copied into each tensor.
    let tuple = [&b"("[..], &b"N".repeat(pairs), b"tq\x01"].concat();
    let sizes = [
        &b"ctorch._utils\n_rebuild_tensor_v2\nq\x00"[..],
        &tuple,
        b"(U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x01tQq\x03",
        &b"h\0(h\x03K\0h\x01h\x01tR0".repeat(calls),
        b"}.",
    ]
    .concat();
    for (pickle, reason) in [
        (ordered, "containers have more than 4194304 members"),
        (sizes, "whose shape is not of whole numbers, at most 64"),
    ] {
        let message = refusal(folder.path(), &legacy(&pickle)).expect("must be refused");
        assert!(message.contains(reason), "{message}");
    }
    // A long text as the key of many storages, or as the name of many classes.
    let text = [&b"X\x00\x00\x10\x00"[..], &[b'k'; 1 << 20], b"q\x01"].concat();
    let keys = [&text[..], b"(U\x07storagectorch\nFloatStorage\nh\x01U\x03cpuK\x01tQ."].concat();
    let names = [&b"\x80\x04"[..], &text, b"h\x01\x93."].concat();
    let in_a_dict = [&text[..], b"0}h\x01Ns."].concat();
    for pickle in [keys, names] {
        let message = refusal(folder.path(), &legacy(&pickle)).expect("must be refused");
        assert!(message.contains("a name of more than 1024 bytes"), "{message}");
    }
    let message = refusal(folder.path(), &legacy(&in_a_dict)).expect("must be refused");
    assert!(message.contains("a key of more than 1024 bytes"), "{message}");
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
