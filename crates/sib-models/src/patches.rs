//! Tokens of patches as maps, and maps as tokens.

use sib_core::Probe;
use tch::Tensor;

/// Shows a probe tokens `[B,1+h·w,C]` as the map `[B,C,h,w]` of their patches; the class token, the first,
/// stays as it is.
pub(crate) struct PatchMaps<'p> {
    pub(crate) probe: &'p mut dyn Probe,
    /// Patches of a column and of a row.
    pub(crate) grid: [i64; 2],
}

impl Probe for PatchMaps<'_> {
    fn looks_at(&mut self, layer: &str) -> bool {
        self.probe.looks_at(layer)
    }

    fn tap(&mut self, layer: &str, tokens: Tensor) -> Tensor {
        if !self.probe.looks_at(layer) {
            return tokens;
        }
        let [height, width] = self.grid;
        let map = to_map(&tokens.narrow(1, 1, height * width), self.grid);
        let map = self.probe.tap(layer, map);
        Tensor::cat(&[tokens.narrow(1, 0, 1), to_tokens(&map)], 1)
    }
}

/// Position embeddings `[1,1+n·n,C]` for a grid of another size, `[1,1+h·w,C]`: bicubic, corners
/// aligned, as torchvision resizes them; the class token's stays.
pub(crate) fn resize_positions(positions: &Tensor, grid: [i64; 2]) -> Tensor {
    let side = (positions.size()[1] - 1).isqrt();
    if grid == [side, side] {
        return positions.shallow_clone();
    }
    let map = to_map(&positions.narrow(1, 1, side * side), [side, side]);
    let map = map.upsample_bicubic2d(grid, true, None, None);
    Tensor::cat(&[positions.narrow(1, 0, 1), to_tokens(&map)], 1)
}

/// Whether so many patches fill a square.
pub(crate) fn is_square_grid(patches: i64) -> bool {
    patches > 0 && patches.isqrt().pow(2) == patches
}

/// `[B,C,h,w] -> [B,h·w,C]`.
pub(crate) fn to_tokens(map: &Tensor) -> Tensor {
    map.flatten(2, 3).transpose(1, 2)
}

/// `[B,h·w,C] -> [B,C,h,w]`.
fn to_map(tokens: &Tensor, [height, width]: [i64; 2]) -> Tensor {
    let size = tokens.size();
    tokens.transpose(1, 2).reshape([size[0], size[2], height, width])
}
