//! Textures: values in `[0,1]` of a point of the plane. Those of objects are geometric patterns,
//! those of backgrounds are made of noise, so that neither is mistaken for the other.

use std::f32::consts::{PI, TAU};

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// How a texture lies on its surface.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    /// Added to the coordinates.
    offset: [f32; 2],
    /// In radians.
    angle: f32,
    /// Multiplies frequencies.
    scale: f32,
    /// Of the noise.
    seed: u32,
}

impl Frame {
    pub(super) fn random(rng: &mut ChaCha8Rng) -> Self {
        Self {
            offset: [(); 2].map(|()| rng.random_range(0.0..1.0)),
            angle: rng.random_range(0.0..TAU),
            scale: rng.random_range(0.8..1.25),
            seed: rng.random(),
        }
    }

    /// Scaled only: patterns keep their place on the object.
    pub(super) fn shifted(&self, u: f32, v: f32) -> [f32; 2] {
        [u * self.scale, v * self.scale]
    }

    /// Turned, scaled and shifted.
    pub(super) fn turned(&self, u: f32, v: f32) -> [f32; 2] {
        let (sin, cos) = self.angle.sin_cos();
        [
            (cos * u - sin * v) * self.scale + 7.0 * self.offset[0],
            (sin * u + cos * v) * self.scale + 7.0 * self.offset[1],
        ]
    }
}

/// The texture of the objects of `class` at `p`, in units of the object's radius.
pub(super) fn object(class: usize, p: [f32; 2], frame: &Frame) -> f32 {
    let [u, v] = p;
    let [du, dv] = frame.offset;
    let r = u.hypot(v);
    match class {
        0 => edge((TAU * (2.2 * v + dv)).sin()),
        1 => edge((PI * (2.4 * u + du)).sin() * (PI * (2.4 * v + dv)).sin() * 3.0),
        2 => {
            // Dots on a hexagonal lattice.
            let row = (v * 2.6 + dv).floor();
            let a = (u * 2.25 + du + 0.5 * row.rem_euclid(2.0)).rem_euclid(1.0) - 0.5;
            let b = (v * 2.6 + dv).rem_euclid(1.0) - 0.5;
            edge((0.3 - a.hypot(b)) * 6.0)
        }
        3 => edge((TAU * (2.4 * r + du)).sin()),
        4 => {
            let zigzag = ((u * 2.0 + du).rem_euclid(1.0) - 0.5).abs();
            edge((TAU * (2.0 * v + dv + 1.2 * zigzag)).sin())
        }
        5 => {
            let line = |t: f32| 0.16 - (t.rem_euclid(1.0) - 0.5).abs();
            edge(line(2.8 * u + du).max(line(2.8 * v + dv)) * 8.0)
        }
        6 => {
            let row = (v * 2.8 + dv).floor();
            let a = (u * 1.5 + du + 0.5 * row.rem_euclid(2.0)).rem_euclid(1.0);
            let b = (v * 2.8 + dv).rem_euclid(1.0);
            edge((a.min(1.0 - a) / 1.5).min(b.min(1.0 - b) / 2.8) * 20.0 - 1.4)
        }
        7 => edge((9.0 * v.atan2(u) + TAU * du).sin() * (r * 3.0).min(1.0)),
        8 => edge((noise(u * 3.0, v * 3.0, frame.seed) - 0.5) * 6.0),
        _ => {
            // Over and under: strands along u and v take turns on a checkerboard.
            let (a, b) = (2.4 * u + du, 2.4 * v + dv);
            let over = (a.floor() + b.floor()).rem_euclid(2.0) < 1.0;
            let across = if over { b } else { a };
            0.5 - 0.5 * (TAU * across).cos()
        }
    }
}

/// The background texture of `class` at `p`; the image's side is 2 long.
pub(super) fn ground(class: usize, p: [f32; 2], frame: &Frame) -> f32 {
    let [u, v] = p;
    let seed = frame.seed;
    let value = match class {
        // Clouds.
        0 => fractal(u * 1.5, v * 1.5, seed, 3),
        // Wood: long fibres.
        1 => fractal(u * 0.7, v * 7.0, seed, 2),
        // Marble: veins.
        2 => 1.0 - (2.0 * fractal(u * 2.0, v * 2.0, seed, 3) - 1.0).abs() * 3.0,
        // Cracked earth: borders of cells.
        3 => {
            let [near, next] = cells(u * 2.5, v * 2.5, seed);
            (next - near) * 3.0
        }
        // Pebbles.
        4 => 1.1 - 1.6 * cells(u * 4.0, v * 4.0, seed)[0],
        // Ripples: bent waves.
        5 => 0.5 + 0.5 * (TAU * (2.0 * v + 1.2 * noise(u * 1.2, v * 1.2, seed))).sin(),
        // Sand.
        6 => noise(u * 14.0, v * 14.0, seed),
        // Camouflage: flat patches.
        7 => edge((fractal(u * 2.0, v * 2.0, seed, 2) - 0.5) * 14.0),
        // Grass: short strokes in two directions.
        8 => noise(u * 3.0, v * 11.0, seed).max(noise(v * 3.0, u * 11.0, !seed)),
        // Plasma: the sum of three waves.
        _ => {
            let wave = |a: f32, b: f32, t: f32| (TAU * (a * u + b * v) + t).sin();
            let phase = (seed % 628) as f32 / 100.0;
            0.5 + (wave(1.4, 0.0, phase) + wave(-0.7, 1.2, 0.0) + wave(-0.7, -1.2, 0.0)) / 5.2
        }
    };
    value.clamp(0.0, 1.0)
}

/// A soft step from 0 to 1 around `t` = 0.
fn edge(t: f32) -> f32 {
    let t = (t * 0.8 + 0.5).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Value noise: uniform random values on the integer lattice, smoothly interpolated.
fn noise(x: f32, y: f32, seed: u32) -> f32 {
    let (ix, iy) = (x.floor(), y.floor());
    let smooth = |t: f32| t * t * (3.0 - 2.0 * t);
    let (tx, ty) = (smooth(x - ix), smooth(y - iy));
    let (ix, iy) = (ix as i32, iy as i32);
    let at = |dx: i32, dy: i32| uniform(hash(ix + dx, iy + dy, seed));
    let row = |dy: i32| at(0, dy) + tx * (at(1, dy) - at(0, dy));
    row(0) + ty * (row(1) - row(0))
}

/// Noise of several octaves, each twice as fine and half as strong; in `[0,1]`.
fn fractal(x: f32, y: f32, seed: u32, octaves: u32) -> f32 {
    let (mut sum, mut total, mut weight, mut frequency) = (0.0, 0.0, 1.0, 1.0);
    for octave in 0..octaves {
        sum += weight * noise(x * frequency, y * frequency, seed.wrapping_add(octave));
        total += weight;
        weight *= 0.5;
        frequency *= 2.0;
    }
    sum / total
}

/// Distances to the nearest and next of points scattered one a unit square (Worley 1996,
/// doi:10.1145/237170.237267).
fn cells(x: f32, y: f32, seed: u32) -> [f32; 2] {
    let (ix, iy) = (x.floor() as i32, y.floor() as i32);
    let mut distances = [f32::MAX; 2];
    for cy in iy - 1..=iy + 1 {
        for cx in ix - 1..=ix + 1 {
            let bits = hash(cx, cy, seed);
            let px = cx as f32 + uniform(bits);
            let py = cy as f32 + uniform(bits.wrapping_mul(0x9e37_79b9));
            let distance = (x - px).hypot(y - py);
            if distance < distances[0] {
                distances = [distance, distances[0]];
            } else {
                distances[1] = distances[1].min(distance);
            }
        }
    }
    distances
}

/// Scrambles a lattice point; xor-shift-multiply rounds with the constants of `lowbias32`
/// (C. Wellons, public domain).
fn hash(x: i32, y: i32, seed: u32) -> u32 {
    let mut h = seed ^ (x as u32).wrapping_mul(0x85eb_ca6b) ^ (y as u32).wrapping_mul(0xc2b2_ae35);
    h ^= h >> 16;
    h = h.wrapping_mul(0x7feb_352d);
    h ^= h >> 15;
    h = h.wrapping_mul(0x846c_a68b);
    h ^ (h >> 16)
}

/// Upper 24 bits as a number in `[0,1)`.
fn uniform(bits: u32) -> f32 {
    (bits >> 8) as f32 / (1 << 24) as f32
}
