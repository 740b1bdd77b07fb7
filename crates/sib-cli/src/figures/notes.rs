//! What the reader of a figure must know of the networks it compares.

use crate::results::compare::Group;

/// The value that all share.
pub(super) fn common<T: PartialEq>(mut values: impl Iterator<Item = Option<T>>) -> Option<T> {
    let first = values.next()??;
    values.all(|value| value.as_ref() == Some(&first)).then_some(first)
}

/// For a note: which groups hold networks that were trained for different lengths; empty where none does.
pub(super) fn lengths_note<T>(groups: &[Group<T>]) -> String {
    let of_group =
        |group: &Group<T>| Some(format!(" {}: {}.", group.title, group.unlike_lengths()?));
    groups.iter().filter_map(of_group).collect()
}

/// How many seeds there are, in words for a note.
pub(super) fn seeds_note<T>(groups: &[Group<T>], of_one: &str) -> String {
    let counts =
        groups.iter().flat_map(|group| group.called().into_iter().map(|of| group.of(of).count()));
    let counts: Vec<usize> = counts.collect();
    let (least, most) = (counts.iter().min().copied(), counts.iter().max().copied());
    match (least.unwrap_or_default(), most.unwrap_or_default()) {
        (_, 1) => of_one.to_owned(),
        (least, most) if least == most => format!("Mean ± standard error over {most} seeds."),
        (least, most) => format!("Mean ± standard error over {least} to {most} seeds."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Training;
    use crate::results::compare::grouped;
    use crate::results::compare::tests::measured;

    #[test]
    fn seeds_and_lengths_of_training_are_said() {
        use Training::{Baseline, SIb};
        let all = vec![measured(SIb, 2, "b"), measured(Baseline, 1, "b"), measured(SIb, 1, "b")];
        let groups = grouped(all).unwrap();
        assert_eq!(seeds_note(&groups, "One seed."), "Mean ± standard error over 1 to 2 seeds.");
        let lengths = " Oxford-IIIT Pet, ResNet-18: trained for different lengths: Baseline for 10 epochs, \
                       S-IB for 10 or 20 epochs.";
        assert_eq!(lengths_note(&groups), lengths);
        assert_eq!(lengths_note(&grouped(vec![measured(SIb, 1, "b")]).unwrap()), "");
    }

    #[test]
    fn a_batch_size_is_named_where_all_share_it() {
        assert_eq!(common([Some(32), Some(32)].into_iter()), Some(32));
        assert_eq!(common([Some(32), Some(64)].into_iter()), None);
        assert_eq!(common([Some(32), None].into_iter()), None);
    }
}
