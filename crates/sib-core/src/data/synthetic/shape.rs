//! Outlines of the ten classes as signed distances.

use std::f32::consts::{PI, TAU};

/// Signed distance from `p` to the outline of `class`, negative inside, in units in which the
/// shape's radius is about 1. Exact near the outline, which is all that antialiasing needs.
pub(super) fn distance(class: usize, p: [f32; 2]) -> f32 {
    let [x, y] = p;
    let r = x.hypot(y);
    match class {
        0 => r - 0.85,
        1 => rectangle(x, y, 0.75, 0.75),
        2 => regular(x, y, 3, 1.05),
        3 => star(x, y, 5, 1.05, 0.5),
        4 => rectangle(x, y, 0.95, 0.33).min(rectangle(x, y, 0.33, 0.95)),
        5 => (r - 0.68).abs() - 0.27,
        6 => regular(x, y, 6, 0.95),
        7 => (r - 0.95).max(0.78 - (x - 0.5).hypot(y)),
        8 => heart(x, y),
        _ => {
            // A segment along x with round ends.
            (x - x.clamp(-0.6, 0.6)).hypot(y) - 0.4
        }
    }
}

/// A rectangle with these half sides.
fn rectangle(x: f32, y: f32, half_width: f32, half_height: f32) -> f32 {
    let (dx, dy) = (x.abs() - half_width, y.abs() - half_height);
    dx.max(0.0).hypot(dy.max(0.0)) + dx.max(dy).min(0.0)
}

/// A regular polygon with corners at `radius`.
fn regular(x: f32, y: f32, sides: u32, radius: f32) -> f32 {
    let step = TAU / sides as f32;
    let angle = (y.atan2(x)).rem_euclid(step) - step / 2.0;
    x.hypot(y) * angle.cos() - radius * (step / 2.0).cos()
}

/// A star whose points are at `outer` and whose inner corners are at `inner`.
fn star(x: f32, y: f32, points: u32, outer: f32, inner: f32) -> f32 {
    // Folded into the half sector between a point (angle 0) and an inner corner (angle `half`).
    let half = PI / points as f32;
    let angle = y.atan2(x).rem_euclid(2.0 * half);
    let folded = angle.min(2.0 * half - angle);
    let r = x.hypot(y);
    let (px, py) = (r * folded.cos(), r * folded.sin());
    let (ax, ay) = (outer, 0.0);
    let (bx, by) = (inner * half.cos(), inner * half.sin());
    let (ex, ey) = (bx - ax, by - ay);
    // Positive on the outer side of the edge from the point to the corner.
    (ex * (ay - py) - ey * (ax - px)) / ex.hypot(ey)
}

/// Two discs and the part of a turned square below them.
fn heart(x: f32, y: f32) -> f32 {
    let x = x.abs();
    let y = -y + 0.1;
    // The square with one corner at the bottom, sides at 45 degrees.
    let (a, b) = ((x + y) / 2.0_f32.sqrt(), (y - x) / 2.0_f32.sqrt());
    let side = 0.55;
    let square = rectangle(a, b, side, side);
    let offset = side / 2.0_f32.sqrt();
    let lobe = (x - offset).hypot(y - offset) - side;
    square.min(lobe)
}
