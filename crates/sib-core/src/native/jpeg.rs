//! The border to libjpeg.

use std::ffi::{CStr, c_char};
use std::marker::PhantomData;
use std::ptr::NonNull;

// Links the library that `native/jpeg.c` calls.
use mozjpeg_sys as _;

/// A decoder on the other side of the border.
#[repr(C)]
struct Decoder {
    _opaque: [u8; 0],
}

unsafe extern "C" {
    fn sib_jpeg_new() -> *mut Decoder;
    fn sib_jpeg_open(
        decoder: *mut Decoder,
        bytes: *const u8,
        length: usize,
        size: *mut u32,
    ) -> *const c_char;
    fn sib_jpeg_read(decoder: *mut Decoder, pixels: *mut u8) -> *const c_char;
    fn sib_jpeg_free(decoder: *mut Decoder);
}

/// A JPEG whose header has been read.
pub(crate) struct Jpeg<'b> {
    decoder: NonNull<Decoder>,
    bytes: PhantomData<&'b [u8]>,
    width: u32,
    height: u32,
    channels: u32,
}

impl<'b> Jpeg<'b> {
    /// Reads the header.
    ///
    /// # Errors
    /// What is wrong, in libjpeg's words or ours.
    pub(crate) fn open(bytes: &'b [u8]) -> Result<Self, String> {
        // SAFETY: returns a new decoder, or null.
        let decoder = NonNull::new(unsafe { sib_jpeg_new() }).ok_or("no memory for a decoder")?;
        // From here on the decoder is freed with the value.
        let mut jpeg = Self { decoder, bytes: PhantomData, width: 0, height: 0, channels: 0 };
        let mut size = [0; 3];
        // SAFETY: the bytes live as long as the value, `size` holds the three numbers written, and
        // no jump of libjpeg's leaves the function.
        checked(unsafe {
            sib_jpeg_open(decoder.as_ptr(), bytes.as_ptr(), bytes.len(), size.as_mut_ptr())
        })?;
        [jpeg.width, jpeg.height, jpeg.channels] = size;
        Ok(jpeg)
    }

    /// Width and height.
    pub(crate) fn dimensions(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// 3 for RGB, 4 for CMYK.
    pub(crate) fn channels(&self) -> u32 {
        self.channels
    }

    /// The pixels `[height, width, channels]`.
    ///
    /// # Errors
    /// What is wrong, in libjpeg's words or ours, and where there is too little memory.
    pub(crate) fn read(self) -> Result<Vec<u8>, String> {
        let length = self.width as usize * self.height as usize * self.channels as usize;
        let mut pixels: Vec<u8> = Vec::new();
        pixels.try_reserve_exact(length).map_err(|error| error.to_string())?;
        // SAFETY: there is room for every pixel, and no jump of libjpeg's leaves the function.
        checked(unsafe { sib_jpeg_read(self.decoder.as_ptr(), pixels.as_mut_ptr()) })?;
        // SAFETY: without a message, all of them have been written.
        unsafe { pixels.set_len(length) };
        Ok(pixels)
    }
}

impl Drop for Jpeg<'_> {
    fn drop(&mut self) {
        // SAFETY: nobody else has the decoder.
        unsafe { sib_jpeg_free(self.decoder.as_ptr()) }
    }
}

/// The message, if there is one.
fn checked(message: *const c_char) -> Result<(), String> {
    if message.is_null() {
        return Ok(());
    }
    // SAFETY: a message is a C string within a decoder that is still there.
    Err(unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned())
}
