//! Boxes and masks go where the pixels go.

use image::{GrayImage, Luma};
use proptest::prelude::*;

use super::super::affine::Affine;
use super::super::plan::{Plan, Step};
use super::super::{BBox, Transform};

/// The mask of one box on an image of this size.
fn filled(bbox: &BBox, width: u32, height: u32) -> GrayImage {
    let mut inside = vec![false; (width * height) as usize];
    bbox.fill(&mut inside, width as usize);
    GrayImage::from_fn(width, height, |x, y| Luma([u8::from(inside[(y * width + x) as usize])]))
}

prop_compose! {
    /// An image size, a box inside it with whole-pixel edges, and steps that fit.
    fn planned()(
        width in 8_u32..60,
        height in 8_u32..60,
        corners in prop::array::uniform4(0.0_f32..1.0),
        resized in (4_u32..80, 4_u32..80),
        part in prop::array::uniform4(0.0_f32..1.0),
        order in 0..6,
    ) -> (Plan, BBox) {
        let edge = |a: f32, b: f32, end: u32| {
            let at = |t: f32| (t * end as f32).floor();
            (at(a.min(b)), at(a.max(b)) + 1.0)
        };
        let (x0, x1) = edge(corners[0], corners[1], width);
        let (y0, y1) = edge(corners[2], corners[3], height);
        let mut plan = Plan::new(width, height);
        let resize = Step::Resize { width: resized.0, height: resized.1 };
        let crop = |plan: &mut Plan| {
            let (width, height) = plan.output_size();
            let span = |a: f32, b: f32, end: u32| {
                let length = ((a * end as f32) as u32).clamp(1, end);
                ((b * (end - length) as f32) as u32, length)
            };
            let (x, w) = span(part[0], part[1], width);
            let (y, h) = span(part[2], part[3], height);
            plan.push(Step::Crop { x, y, width: w, height: h });
        };
        match order {
            0 => { plan.push(resize); crop(&mut plan); plan.push(Step::Flip); }
            1 => { crop(&mut plan); plan.push(resize); plan.push(Step::Flip); }
            2 => { plan.push(Step::Flip); crop(&mut plan); plan.push(resize); }
            3 => { plan.push(Step::Flip); plan.push(resize); crop(&mut plan); }
            4 => { crop(&mut plan); plan.push(Step::Flip); }
            _ => plan.push(resize),
        }
        (plan, BBox::new(x0, y0, x1.min(width as f32), y1.min(height as f32)))
    }
}

proptest! {
    /// The rasterised box and the transformed mask of the same box differ at most near its edges:
    /// by half a source pixel, which is `scale / 2` pixels of the result, and half a pixel of it.
    #[test]
    fn boxes_follow_masks((plan, bbox) in planned()) {
        let (width, height) = plan.source_size();
        let mask = plan.mask(&filled(&bbox, width, height));
        let (w, h) = plan.output_size();
        let moved = plan.bbox(&bbox);
        let raster = moved.map_or_else(|| GrayImage::new(w, h), |moved| filled(&moved, w, h));
        let source = plan.source_rect();
        let scale_x = w as f32 / (source.x1 - source.x0);
        let scale_y = h as f32 / (source.y1 - source.y0);
        for (x, y, value) in mask.enumerate_pixels() {
            if value != raster.get_pixel(x, y) {
                let Some(moved) = moved else {
                    // All of the box is cut away, so at most its border may show.
                    continue;
                };
                let near = |centre: f32, edges: [f32; 2], slack: f32| {
                    edges.into_iter().any(|edge| (centre - edge).abs() <= slack)
                };
                let near_x = near(x as f32 + 0.5, [moved.x0, moved.x1], scale_x / 2.0 + 0.5);
                let near_y = near(y as f32 + 0.5, [moved.y0, moved.y1], scale_y / 2.0 + 0.5);
                prop_assert!(near_x || near_y, "({x}, {y}) with {moved:?}");
            }
        }
    }

    /// What is inside the part that is shown comes back where it was.
    #[test]
    fn to_source_inverts_bbox((plan, bbox) in planned()) {
        let shown = plan.source_rect();
        let (width, height) = plan.source_size();
        prop_assert!(shown.x0 >= -1e-3 && shown.y0 >= -1e-3);
        prop_assert!(shown.x1 <= width as f32 + 1e-3 && shown.y1 <= height as f32 + 1e-3);
        if let Some(moved) = plan.bbox(&bbox) {
            let back = plan.to_source(&moved);
            let expected = BBox::new(
                bbox.x0.max(shown.x0),
                bbox.y0.max(shown.y0),
                bbox.x1.min(shown.x1),
                bbox.y1.min(shown.y1),
            );
            for (a, b) in [
                (back.x0, expected.x0),
                (back.y0, expected.y0),
                (back.x1, expected.x1),
                (back.y1, expected.y1),
            ] {
                // f32 arithmetic on coordinates up to 100.
                prop_assert!((a - b).abs() < 1e-3, "{back:?} is not {expected:?}");
            }
        }
    }

    /// A box turned with its mask still holds all of it.
    #[test]
    fn turned_boxes_hold_their_masks(
        degrees in -180.0_f32..180.0,
        (plan, bbox) in planned(),
    ) {
        let (width, height) = plan.source_size();
        let mut turned = Plan::new(width, height);
        turned.push(Step::Affine(Affine::rotation(degrees)));
        let mask = turned.mask(&filled(&bbox, width, height));
        let moved = turned.bbox(&bbox);
        for (x, y, value) in mask.enumerate_pixels() {
            if value.0[0] > 0 {
                let (x, y) = (x as f32 + 0.5, y as f32 + 0.5);
                let holds = moved.is_some_and(|moved| {
                    moved.x0 - 0.01 <= x
                        && x <= moved.x1 + 0.01
                        && moved.y0 - 0.01 <= y
                        && y <= moved.y1 + 0.01
                });
                prop_assert!(holds, "({x}, {y}) is outside {moved:?}");
            }
        }
        let back = turned.to_source(&turned.bbox(&bbox).unwrap_or(bbox));
        let centre = |b: &BBox| ((b.x0 + b.x1) / 2.0, (b.y0 + b.y1) / 2.0);
        if let Some(moved) = moved
            && moved.x0 > 0.0 && moved.y0 > 0.0
            && moved.x1 < width as f32 && moved.y1 < height as f32
        {
            let ((ax, ay), (bx, by)) = (centre(&back), centre(&bbox));
            prop_assert!((ax - bx).abs() < 0.01 && (ay - by).abs() < 0.01);
        }
    }

    /// The middle as Python's `int(round((length - side) / 2.0))` gives it.
    #[test]
    fn center_crop_rounds_halves_to_even(width in 1_u32..500, side in 1_u32..500) {
        prop_assume!(side < width);
        let transform = Transform::evaluation(width, side, [0.0; 3], [1.0; 3]).unwrap();
        let plan = transform.fixed_plan(width, width);
        let expected = (f64::from(width - side) / 2.0).round_ties_even() as u32;
        prop_assert_eq!(
            plan.steps(),
            [Step::Crop { x: expected, y: expected, width: side, height: side }]
        );
    }
}

#[test]
fn a_box_covers_the_pixels_whose_centres_are_inside() {
    let covered = |bbox: BBox| {
        let mut mask = [false; 16];
        bbox.fill(&mut mask, 4);
        mask.iter().filter(|&&inside| inside).count()
    };
    assert_eq!(covered(BBox::new(0.0, 0.0, 4.0, 4.0)), 16);
    assert_eq!(covered(BBox::new(0.5, 0.5, 2.5, 2.5)), 4);
    assert_eq!(covered(BBox::new(0.6, 0.6, 2.4, 2.4)), 1);
    assert_eq!(covered(BBox::new(-9.0, 1.0, 99.0, 2.0)), 4);
    assert_eq!(covered(BBox::new(0.6, 0.0, 0.7, 4.0)), 0);
    assert_eq!(covered(BBox::new(f32::NAN, 0.0, 4.0, 4.0)), 0);
}

#[test]
fn overlap_of_boxes() {
    let a = BBox::new(0.0, 0.0, 2.0, 2.0);
    assert_eq!(a.iou(&a), 1.0);
    assert_eq!(a.iou(&BBox::new(1.0, 1.0, 3.0, 3.0)), 1.0 / 7.0);
    assert_eq!(a.iou(&BBox::new(5.0, 5.0, 6.0, 6.0)), 0.0);
    assert_eq!(BBox::new(0.0, 0.0, 0.0, 0.0).iou(&BBox::new(0.0, 0.0, 0.0, 0.0)), 0.0);
}
