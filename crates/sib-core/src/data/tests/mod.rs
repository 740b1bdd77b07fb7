mod annotations;
mod folders;
mod fuzz;
mod geometry;
mod golden;
mod in_memory;
mod layouts;
mod loader;
mod masks;
mod mix;
mod shared;
mod split_lists;
mod synthetic;

use std::path::Path;

use image::{Rgb, RgbImage};

/// A PNG file of one colour, in a folder that is made where it is missing.
fn write_image(path: &Path, width: u32, height: u32, colour: [u8; 3]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    RgbImage::from_pixel(width, height, Rgb(colour))
        .save_with_format(path, image::ImageFormat::Png)
        .unwrap();
}

fn write_text(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}
