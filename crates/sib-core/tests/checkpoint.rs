//! Checkpoints and tensor files: what is written comes back, what is damaged is refused, and a
//! failed write leaves the former file.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use proptest::prelude::*;
use sib_core::Error;
use sib_core::checkpoint::{
    CheckpointMeta, Preprocessing, read_checkpoint, read_meta, read_metadata, read_tensors,
    write_atomic, write_checkpoint, write_tensors,
};
use tch::{Device, Kind, Tensor};

fn tensors() -> BTreeMap<String, Tensor> {
    let cpu = |kind| (kind, Device::Cpu);
    let ramp = Tensor::arange(12, cpu(Kind::Float)).reshape([3, 4]) / 7.0;
    let mut tensors = BTreeMap::from([
        ("view".to_owned(), ramp.transpose(0, 1)),
        ("step".to_owned(), ramp.slice(1, 1, None, 2)),
        ("scalar".to_owned(), Tensor::from(1_i64 << 40)),
        ("empty".to_owned(), Tensor::zeros([0, 3], cpu(Kind::Float))),
        ("gradient".to_owned(), ramp.copy().set_requires_grad(true)),
        ("bool".to_owned(), ramp.gt(0.5)),
    ]);
    for kind in [
        Kind::Double,
        Kind::Float,
        Kind::Half,
        Kind::BFloat16,
        Kind::Int64,
        Kind::Int,
        Kind::Int16,
        Kind::Int8,
        Kind::Uint8,
    ] {
        tensors.insert(format!("{kind:?}"), (&ramp * 50.0).to_kind(kind));
    }
    tensors
}

fn meta() -> CheckpointMeta {
    CheckpointMeta {
        arch: "resnet18".to_owned(),
        classes: vec!["cat".to_owned(), "Bär \"ursus\"".to_owned()],
        preprocessing: Preprocessing {
            crop_px: 64,
            mean: [0.485, 0.1, 1.0 / 3.0],
            ..Default::default()
        },
        config: "[train]\nepochs = 3\n".to_owned(),
        version: "0.1.0".to_owned(),
        extra: BTreeMap::from([("step".to_owned(), "17".to_owned())]),
    }
}

#[test]
fn tensors_of_every_kind_and_layout_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.safetensors");
    let (tensors, meta) = (tensors(), meta());
    write_checkpoint(&path, &tensors, &meta).unwrap();
    let (read, read_back) = read_checkpoint(&path).unwrap();
    assert_eq!(read_back, meta);
    assert_eq!(read_meta(&path).unwrap(), meta);
    assert_eq!(read_metadata(&path).unwrap()["format"], "pt");
    assert!(read.keys().eq(tensors.keys()));
    for (name, tensor) in &tensors {
        assert_eq!(read[name].kind(), tensor.kind(), "{name}");
        assert!(read[name].equal(tensor), "{name}");
    }

    let again = folder.path().join("again.safetensors");
    write_checkpoint(&again, &read, &meta).unwrap();
    assert_eq!(fs::read(&path).unwrap(), fs::read(&again).unwrap());
}

#[test]
fn other_files_are_told_apart_from_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let not_a_checkpoint = || {
        let error = read_checkpoint(&path).unwrap_err();
        assert!(matches!(error, Error::NotACheckpoint { .. }), "{error}");
        error.to_string()
    };
    write_tensors(&path, &tensors(), &BTreeMap::new()).unwrap();
    assert!(not_a_checkpoint().contains("not a checkpoint"));
    fs::write(&path, b"PK\x03\x04 and so on, the beginning of a zip file").unwrap();
    assert!(not_a_checkpoint().contains("announce a header"));
    fs::write(&path, b"short").unwrap();
    assert!(not_a_checkpoint().contains("shorter than 8 bytes"));

    let newer = BTreeMap::from([("sib_checkpoint".to_owned(), "2".to_owned())]);
    write_tensors(&path, &tensors(), &newer).unwrap();
    assert!(read_meta(&path).unwrap_err().to_string().contains("newer than this software's"));
    assert!(matches!(read_meta(&folder.path().join("none")), Err(Error::Io { .. })));
}

/// A file with this header and so many bytes of data.
fn with_header(header: &str, data_bytes: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![1; data_bytes]].concat()
}

fn refusal(path: &Path, bytes: &[u8]) -> Option<String> {
    fs::write(path, bytes).unwrap();
    let message = read_tensors(path).err()?.to_string();
    assert!(message.starts_with(&*path.to_string_lossy()), "{message}");
    assert!(!message.contains('\n'), "{message}");
    Some(message)
}

#[test]
fn hostile_headers_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hostile.safetensors");
    let entry = |dtype: &str, shape: &str, from: u64, to: u64| {
        format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{from},{to}]}}"#)
    };
    let one = |entry: String| with_header(&format!(r#"{{"a":{entry}}}"#), 16);
    let two = |a: String, b: String| with_header(&format!(r#"{{"a":{a},"b":{b}}}"#), 16);
    for (bytes, reason) in [
        (u64::MAX.to_le_bytes().to_vec(), "announce a header of 18446744073709551615 bytes"),
        ((1_u64 << 40).to_le_bytes().to_vec(), "announce a header"),
        (with_header("{", 0), "header"),
        (with_header("[1]", 0), "header"),
        (with_header(&r#"{"a":"#.repeat(100_000), 0), "recursion limit"),
        (with_header(r#"{"__metadata__":{"a":1}}"#, 0), "header"),
        (one(entry("F32", "[4]", 0, 8)), "header"),
        (one(entry("F32", "[4]", 4, 20)), "header"),
        (one(entry("F32", "[8]", 0, 32)), "the file has 16"),
        (one(entry("F32", "[2]", 0, 8)), "the file has 16"),
        (one(entry("F32", "[4294967296,4294967296,4]", 0, 16)), "header"),
        (one(entry("F32", "[-4]", 0, 16)), "header"),
        (one(entry("F32", "[4]", 16, 0)), "header"),
        (one(entry("F99", "[4]", 0, 16)), "header"),
        (one(entry("U64", "[2]", 0, 16)), "cannot read elements of U64"),
        (one(entry("U8", &format!("[16{}]", ",1".repeat(1000)), 0, 16)), "shape out of range"),
        (two(entry("F32", "[4]", 0, 16), entry("F32", "[2]", 8, 16)), "header"),
        (two(entry("F32", "[2]", 0, 8), entry("F32", "[1]", 12, 16)), "header"),
    ] {
        let message = refusal(&path, &bytes).expect("must be refused");
        assert!(message.contains(reason), "{message}");
    }
    // A bool of 1s is fine, one of 7s must not become an invalid C++ bool.
    let mut bytes = one(entry("BOOL", "[16]", 0, 16));
    let end = bytes.len();
    bytes[end - 1] = 7;
    assert_eq!(refusal(&path, &bytes), None);
    assert_eq!(read_tensors(&path).unwrap().0["a"].sum(Kind::Int64).int64_value(&[]), 16);
}

#[test]
fn truncated_files_are_refused_at_every_length() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, cut) = (folder.path().join("whole"), folder.path().join("cut"));
    write_checkpoint(&whole, &tensors(), &meta()).unwrap();
    let bytes = fs::read(&whole).unwrap();
    for length in (0..bytes.len()).step_by(5) {
        assert!(refusal(&cut, &bytes[..length]).is_some(), "{length} bytes");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Damage anywhere gives either tensors or an error that names the file.
    #[test]
    fn damaged_files_are_read_or_refused(
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("damaged");
        write_checkpoint(&path, &tensors(), &meta()).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        for (place, value) in places {
            let i = place.index(bytes.len());
            bytes[i] = value;
        }
        let _ = refusal(&path, &bytes);
        let _ = read_checkpoint(&path);
    }
}

#[test]
fn a_failed_write_leaves_the_former_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let names = || -> Vec<_> {
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    };
    let full_disk = |file: &mut dyn io::Write| {
        file.write_all(&[1; 1 << 21])?;
        Err(ErrorKind::StorageFull.into())
    };
    let error = write_atomic(&path, full_disk).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: cannot write", path.display())), "{error}");
    assert!(names().is_empty());

    write_atomic(&path, |file| file.write_all(b"former")).unwrap();
    assert!(write_atomic(&path, full_disk).is_err());
    assert_eq!((fs::read(&path).unwrap(), names().len()), (b"former".to_vec(), 1));

    // A kind that the format lacks is noticed before anything is written.
    let complex = Tensor::zeros(2, (Kind::ComplexFloat, Device::Cpu));
    let tensors = BTreeMap::from([("z".to_owned(), complex)]);
    let error = write_tensors(&path, &tensors, &BTreeMap::new()).unwrap_err().to_string();
    assert!(error.contains("cannot store elements of ComplexFloat"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"former");

    write_atomic(&path, |file| file.write_all(b"latter")).unwrap();
    assert_eq!((fs::read(&path).unwrap(), names().len()), (b"latter".to_vec(), 1));
    assert!(write_atomic(Path::new("/"), |_| Ok(())).is_err());
    assert!(write_atomic(&folder.path().join("no/folder"), |_| Ok(())).is_err());
}

#[test]
fn a_checkpoint_with_a_number_that_is_not_finite_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nan.safetensors");
    let mut tensors = tensors();
    for kind in [Kind::Float, Kind::Half, Kind::Double] {
        let broken = Tensor::from_slice(&[1.0, f64::NAN, f64::INFINITY]).to_kind(kind);
        tensors.insert("layer4.1.bn2.weight".to_owned(), broken);
        write_checkpoint(&path, &tensors, &meta()).unwrap();
        let message = read_checkpoint(&path).unwrap_err().to_string();
        let expected =
            "nan.safetensors: not finite: 2 of 3 values of \"layer4.1.bn2.weight\" are NaN";
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_checkpoint_that_names_a_class_twice_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cranes.safetensors");
    for names in [&["crane", "heron", "crane"][..], &["", ""]] {
        let classes = names.iter().map(|name| (*name).to_owned()).collect();
        let meta = CheckpointMeta { classes, ..meta() };
        write_checkpoint(&path, &tensors(), &meta).unwrap();
        for message in [read_checkpoint(&path).unwrap_err(), read_meta(&path).unwrap_err()] {
            let expected =
                format!("cranes.safetensors: header, it names class {:?} twice", names[0]);
            assert!(message.to_string().contains(&expected), "{message}");
        }
    }
}
