//! Borders of the 8-connected components of a binary image, and of their holes.

/// One closed border, as pixels of the component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Border {
    /// Twice the area of the polygon through the border's pixel centres.
    pub(super) doubled_area: u64,
    /// First column, first row, last column, last row.
    pub(super) bounds: [i32; 4],
}

/// Follows all borders of a binary image, by the algorithm of Suzuki & Abe (1985,
/// doi:10.1016/0734-189X(85)90016-7), which OpenCV's `findContours` implements too. Keeps its
/// buffer, as the images of one heatmap at hundreds of thresholds are of one size.
#[derive(Debug)]
pub(super) struct BorderFollower {
    /// Cells of a row, the frame of background around the image included.
    stride: usize,
    cells: Vec<Cell>,
    /// [`DIRECTIONS`] as steps in `cells`.
    steps: [isize; 8],
}

/// The paper's labels, less which border a pixel is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    Background,
    Unvisited,
    Visited,
    /// Visited, and a border passed between it and a background pixel on its right.
    VisitedLeftOfBackground,
}

const RIGHT: usize = 0;
const LEFT: usize = 4;

/// Column and row steps to the eight neighbours, clockwise from the right one.
const DIRECTIONS: [(i32, i32); 8] =
    [(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)];

impl BorderFollower {
    pub(super) fn new(width: usize, height: usize) -> Self {
        let stride = width + 2;
        Self {
            stride,
            cells: vec![Cell::Background; stride * (height + 2)],
            steps: DIRECTIONS.map(|(dx, dy)| dx as isize + dy as isize * stride as isize),
        }
    }

    /// Calls `found` with the outer border of each component and the border of each hole, in the
    /// order of a raster scan. `foreground` has one value per pixel.
    pub(super) fn follow(
        &mut self,
        foreground: impl Iterator<Item = bool>,
        mut found: impl FnMut(Border),
    ) {
        let (stride, rows) = (self.stride, self.cells.len() / self.stride);
        let mut foreground = foreground;
        for row in self.cells.chunks_mut(stride).skip(1).take(rows - 2) {
            for (cell, inside) in row[1..stride - 1].iter_mut().zip(foreground.by_ref()) {
                *cell = if inside { Cell::Unvisited } else { Cell::Background };
            }
        }
        for start in stride..self.cells.len() - stride {
            let outside = match self.cells[start] {
                Cell::Background | Cell::VisitedLeftOfBackground => continue,
                Cell::Unvisited if self.cells[start - 1] == Cell::Background => LEFT,
                _ if self.cells[start + 1] == Cell::Background => RIGHT,
                _ => continue,
            };
            found(self.follow_one(start, outside));
        }
    }

    fn neighbour(&self, cell: usize, direction: usize) -> usize {
        cell.wrapping_add_signed(self.steps[direction])
    }

    /// The border through `start` whose background lies in direction `outside`.
    fn follow_one(&mut self, start: usize, outside: usize) -> Border {
        // Column and row in image coordinates, inside the frame.
        let (mut x, mut y) = ((start % self.stride) as i32 - 1, (start / self.stride) as i32 - 1);
        let mut border = Border { doubled_area: 0, bounds: [x, y, x, y] };
        let clockwise = (outside + 1..outside + 8).map(|direction| direction % 8);
        let Some(to_last) = clockwise
            .into_iter()
            .find(|&direction| self.cells[self.neighbour(start, direction)] != Cell::Background)
        else {
            self.cells[start] = Cell::VisitedLeftOfBackground;
            return border;
        };
        let last = self.neighbour(start, to_last);

        let (mut here, mut back) = (start, to_last);
        let mut signed_area = 0i64;
        loop {
            let mut passed_right = false;
            let mut ahead = back;
            for turn in 1..=8 {
                ahead = (back + 8 - turn) % 8;
                if self.cells[self.neighbour(here, ahead)] != Cell::Background {
                    break;
                }
                passed_right |= ahead == RIGHT;
            }
            if passed_right {
                self.cells[here] = Cell::VisitedLeftOfBackground;
            } else if self.cells[here] == Cell::Unvisited {
                self.cells[here] = Cell::Visited;
            }
            let next = self.neighbour(here, ahead);
            let (dx, dy) = DIRECTIONS[ahead];
            signed_area += i64::from(x) * i64::from(dy) - i64::from(dx) * i64::from(y);
            (x, y) = (x + dx, y + dy);
            let [x0, y0, x1, y1] = border.bounds;
            border.bounds = [x0.min(x), y0.min(y), x1.max(x), y1.max(y)];
            if next == start && here == last {
                border.doubled_area = signed_area.unsigned_abs();
                return border;
            }
            back = (ahead + 4) % 8;
            here = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn borders(image: &[&str]) -> Vec<Border> {
        let mut follower = BorderFollower::new(image[0].len(), image.len());
        let mut found = vec![];
        let pixels = || image.iter().flat_map(|row| row.bytes().map(|pixel| pixel == b'#'));
        for _ in 0..2 {
            // The second pass must not see what the first left behind.
            found.clear();
            follower.follow(pixels(), |border| found.push(border));
        }
        found
    }

    #[test]
    fn components_and_holes_by_hand() {
        let found = borders(&[
            "##....#", //
            "##...#.", //
            "....#..", //
            ".#####.", //
            ".#...#.", //
            ".#.#.#.", //
            ".#...#.", //
            ".#####.",
        ]);
        let expected = [
            // The square, area 1.
            Border { doubled_area: 2, bounds: [0, 0, 1, 1] },
            // The ring, area 16, with the triangle (3,3) (4,2) (5,3) on it and the line from there.
            Border { doubled_area: 2 * (16 + 1), bounds: [1, 0, 6, 7] },
            // The ring's hole, corners cut.
            Border { doubled_area: 2 * (16 - 2), bounds: [1, 3, 5, 7] },
            // The pixel inside it.
            Border { doubled_area: 0, bounds: [3, 5, 3, 5] },
        ];
        assert_eq!(found, expected);
    }
}
