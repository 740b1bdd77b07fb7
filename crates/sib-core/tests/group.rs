//! What members of a group do together.

use sib_core::group::{Group, Part};
use sib_core::testing::as_members;
use tch::{Device, Kind, Tensor};

/// A tensor that each member has another of.
fn own(group: &Group, shape: &[i64], kind: Kind) -> Tensor {
    let count = shape.iter().product::<i64>();
    let first = 1 + group.part().index() as i64;
    (Tensor::arange(count, (Kind::Int64, Device::Cpu)) * first).reshape(shape).to_kind(kind)
}

#[test]
fn tensors_of_any_layout_and_kind_are_added_up_in_place() {
    as_members("tensors_of_any_layout_and_kind_are_added_up_in_place", 3, |group| {
        let shape = [2, 3, 4, 5];
        for kind in [Kind::Float, Kind::Double, Kind::Int64] {
            let plain = own(&group, &shape, kind);
            // Channels last, and with gaps.
            let last = own(&group, &[2, 4, 5, 3], kind).permute([0, 3, 1, 2]);
            let gaps = own(&group, &[2, 3, 4, 10], kind).slice(3, 0, 10, 2);
            let scalar = own(&group, &[], kind) + 1 + group.part().index() as i64;
            // More than a bucket.
            let large = own(&group, &[7_000_000], kind);
            let all = [&plain, &last, &gaps, &scalar, &large];
            // 1 + 2 + 3 times the first member's, which is the own one divided by its place.
            let place = 1 + group.part().index() as i64;
            let expected = all.map(|x| (x.to_kind(Kind::Double) / place * 6).to_kind(kind));
            group.sum(&all).unwrap();
            for (sum, expected) in all.into_iter().zip(&expected) {
                assert_eq!(sum, expected, "{kind:?} {:?}", sum.size());
            }
        }
    });
}

#[test]
fn rows_texts_and_facts_go_round() {
    as_members("rows_texts_and_facts_go_round", 3, |group| {
        let index = group.part().index();
        assert_eq!(group.part(), Part::new(index, 3).unwrap());
        let rows = own(&group, &[2, 2], Kind::Double).set_requires_grad(true);
        let all = group.gathered(&rows).unwrap();
        assert_eq!(
            Vec::<f64>::try_from(all.reshape([-1])).unwrap(),
            [0., 1., 2., 3., 0., 2., 4., 6., 0., 3., 6., 9.]
        );
        // Of the rows of all, a member's gradient is that of its own.
        let gradient =
            Tensor::run_backward(&[(&all * &all).sum(Kind::Double)], &[&rows], false, false);
        assert_eq!(gradient[0], &rows * 2.0);

        for texts in [["", "a", "lang und länger"], ["x", "", ""], ["", "", ""]] {
            let expected = texts.map(|text| text.as_bytes().to_vec());
            assert_eq!(group.exchanged(texts[index].as_bytes()).unwrap(), expected);
        }
        assert_eq!(group.any([index == 1, false]).unwrap(), [true, false]);

        let mine = Tensor::from(index as f64);
        group.broadcast(&[&mine]).unwrap();
        assert_eq!(mine.double_value(&[]), 0.0);

        let fact = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let same = fact("a\tname", "of\ntwo lines");
        group.agree(std::slice::from_ref(&same)).unwrap();
        let other = [same, fact("seed", if index == 2 { "2" } else { "1" })];
        let message = group.agree(&other).unwrap_err().to_string();
        assert_eq!(
            message,
            "the processes do not agree: seed is \"1\" for rank 0, \"2\" for rank 2"
        );
        let further = fact("more", "1");
        let facts: &[_] = if index == 1 { &[further] } else { &[] };
        let message = group.agree(facts).unwrap_err().to_string();
        assert_eq!(
            message,
            "the processes do not agree: more is unset for rank 0, \"1\" for rank 1"
        );
        assert!(!group.is_broken());
    });
}

#[test]
fn one_member_alone_computes_nothing_together() {
    let group = Group::alone();
    let x = Tensor::from_slice(&[1.0, 2.0]);
    group.sum(&[&x]).unwrap();
    group.broadcast(&[&x]).unwrap();
    assert_eq!(group.gathered(&x).unwrap(), Tensor::from_slice(&[1.0, 2.0]));
    assert_eq!(group.exchanged(b"text").unwrap(), [b"text".to_vec()]);
    assert_eq!(group.any([true, false]).unwrap(), [true, false]);
    assert!(group.is_alone() && group.is_first() && group.leave());
}
