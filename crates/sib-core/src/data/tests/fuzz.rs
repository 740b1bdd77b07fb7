//! No reader panics or allocates without bound, whatever the bytes.

use proptest::prelude::*;
use tch::Tensor;

use super::super::decode::{self, Orientation, labels};
use super::super::split_list::SplitList;
use super::super::{MaskRule, cifar100, cub200, dogs, folder, layout, mat5, pets, voc};
use crate::testing::golden_path;

/// Bytes of a valid file with some of them changed, and cut short.
fn mutated(valid: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let end = valid.len();
    (prop::collection::vec((0..end, any::<u8>()), 0..12), 0..=end).prop_map(
        move |(changes, end)| {
            let mut bytes = valid.clone();
            for (at, value) in changes {
                bytes[at] = value;
            }
            bytes.truncate(end);
            bytes
        },
    )
}

fn golden_file(golden: &str, name: &str) -> Vec<u8> {
    let files = Tensor::read_safetensors(golden_path(golden)).unwrap();
    let (_, file) = files.into_iter().find(|(known, _)| known == name).unwrap();
    Vec::try_from(file).unwrap()
}

fn mat_file(name: &str) -> Vec<u8> {
    golden_file("data_mat.safetensors", name)
}

/// A damaged image file of some kind.
fn image_file() -> impl Strategy<Value = Vec<u8>> {
    let names = [
        "jpeg-420-33x18",
        "jpeg-440-17x31",
        "jpeg-progressive",
        "jpeg-restarts",
        "jpeg-inks",
        "jpeg-arithmetic",
        "jpeg-exif",
        "png-palette",
        "png-16-bit-rgb",
        "bmp-palette",
        "gif-corner-transparent",
        "gif-animated",
        "webp-lossy",
        "webp-lossless",
        "webp-alpha",
        "tiff-lzw",
        "tiff-fax",
        "tiff-cmyk",
        "pnm-bits",
        "pnm-text",
    ];
    let files = names.map(|name| {
        let file = golden_file("data_decode.safetensors", &format!("{name}.bytes"));
        // Half of the changes in the header, where one makes more of a difference.
        let header = file.len().min(64);
        (mutated(file), prop::collection::vec((0..header, any::<u8>()), 0..3)).prop_map(
            |(mut file, changes)| {
                for (at, value) in changes {
                    if let Some(byte) = file.get_mut(at) {
                        *byte = value;
                    }
                }
                file
            },
        )
    });
    prop::strategy::Union::new(files)
}

/// Lines of words and numbers, as the lists are, and not quite as they are.
fn list() -> impl Strategy<Value = String> {
    "(([0-9]{1,12}|-?[0-9.e]{1,6}|[a-zA-Z_./\\\\]{1,9}|é|NaN|inf|#)[ \t]{0,2}){0,5}(\n|\r\n|)"
        .prop_flat_map(|line| prop::collection::vec(Just(line), 0..4))
        .prop_map(|lines| lines.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn mat_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = mat5::read(&bytes);
        // With a valid header the elements are reached.
        let mut file = vec![b' '; 124];
        file.extend([0, 1, b'I', b'M']);
        file.extend(bytes);
        let _ = mat5::read(&file);
    }

    #[test]
    fn mat_plain(bytes in mutated(mat_file("plain"))) {
        let _ = mat5::read(&bytes);
        let _ = dogs::parse(&bytes);
    }

    #[test]
    fn mat_compressed(bytes in mutated(mat_file("compressed"))) {
        let _ = mat5::read(&bytes);
    }

    #[test]
    fn cifar(bytes in prop::collection::vec(any::<u8>(), 0..50), records in 0_usize..3) {
        let mut file = vec![0; records * 3074];
        file.extend(bytes);
        let _ = cifar100::parse(&file, 100);
    }

    #[test]
    fn voc_text(text in "\\PC{0,80}") {
        let _ = voc::parse(&text);
    }

    #[test]
    fn voc_bytes(bytes in mutated(
        b"<?xml version=\"1.0\"?><annotation><object><name>a</name><bndbox><xmin>1</xmin>\
          <ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox></object></annotation>".to_vec()
    )) {
        if let Ok(boxes) = voc::parse(&String::from_utf8_lossy(&bytes)) {
            prop_assert!(boxes.iter().all(|bbox| !bbox.is_empty()));
        }
    }

    #[test]
    fn csv_bytes(bytes in mutated(b"image,x0,y0,x1,y1\na/b.png,1,2,3,4\nc,0,0,1e9,5\n".to_vec())) {
        if let Some(Ok(boxes)) = layout::text(&bytes).map(|text| folder::parse_boxes(&text)) {
            let boxes = boxes.into_values().filter_map(Result::ok).flatten();
            prop_assert!(boxes.into_iter().all(|bbox| !bbox.is_empty()));
        }
    }

    #[test]
    fn split_list(bytes in mutated(b"image,split\na/b.png,train\na/c.jpg,val\n".to_vec())) {
        if let Some(Ok(list)) = layout::text(&bytes).map(|text| SplitList::parse(&text)) {
            prop_assert_eq!(SplitList::parse(&list.to_csv()), Ok(list));
        }
    }

    #[test]
    fn text_bytes(bytes in prop::collection::vec(any::<u8>(), 0..40), mark in 0..3_usize) {
        let mark: &[u8] = [&[][..], &[0xff, 0xfe], &[0xfe, 0xff]][mark];
        let _ = layout::text(&[mark, &bytes].concat());
    }

    #[test]
    fn images(bytes in image_file()) {
        let read = decode::rgb_of(&bytes, "it".as_ref(), Orientation::Upright);
        if let Err(error) = read {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }

    #[test]
    fn masks(bytes in mutated(golden_file("data_decode.safetensors", "png-palette-2-bit.bytes"))) {
        for rule in [MaskRule::NonZero, MaskRule::Trimap, MaskRule::Majority] {
            let _ = labels::foreground_of(&bytes, "it".as_ref(), (40, 28), rule);
        }
    }

    #[test]
    fn text_lists(text in list()) {
        let _ = pets::parse(&text);
        let _ = cub200::parse_names(&text, "path");
        let _ = cub200::Boxes::parse(&text).of(1);
    }
}

/// A small compressed element that unpacks to a great deal.
#[test]
fn a_compression_bomb_is_refused() {
    use std::io::Write;
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..64 {
        zlib.write_all(&vec![0; 1 << 20]).unwrap();
    }
    let packed = zlib.finish().unwrap();
    let mut file = vec![b' '; 124];
    file.extend([0, 1, b'I', b'M']);
    file.extend(15_u32.to_le_bytes());
    file.extend((packed.len() as u32).to_le_bytes());
    file.extend(packed);
    let error = mat5::read(&file).unwrap_err();
    assert!(error.contains("unpacks to more than"), "{error}");
}

/// Sizes are what the file says, not what it holds.
#[test]
fn a_cell_array_of_declared_millions_is_refused() {
    let mut matrix = Vec::new();
    for word in [6_u32, 8, 1, 0, 5, 8, 1 << 30, 1 << 20, 1, 0] {
        matrix.extend(word.to_le_bytes());
    }
    let mut file = vec![b' '; 124];
    file.extend([0, 1, b'I', b'M']);
    file.extend(14_u32.to_le_bytes());
    file.extend((matrix.len() as u32).to_le_bytes());
    file.extend(matrix);
    assert_eq!(mat5::read(&file).unwrap_err(), "the file ends early");
}
