// JPEG by libjpeg-turbo's own code, which Pillow, torchvision and OpenCV share: the same pixels.
//
// libjpeg reports by calling back. A fatal error, and a warning that pixels were made up, jump back
// into the function of ours that was called; no jump crosses Rust.

#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "jpeglib.h"
#include "jerror.h"

// Encoders write ten or so; each costs a pass over the whole image.
enum { MOST_SCANS = 500 };

typedef struct {
  struct jpeg_decompress_struct info;
  struct jpeg_error_mgr errors;
  struct jpeg_progress_mgr progress;
  jmp_buf back;
  char message[JMSG_LENGTH_MAX];
} SibJpeg;

static void refuse(j_common_ptr info, const char* message) {
  SibJpeg* jpeg = info->client_data;
  snprintf(jpeg->message, sizeof jpeg->message, "%s", message);
  longjmp(jpeg->back, 1);
}

static void on_error(j_common_ptr info) {
  char message[JMSG_LENGTH_MAX];
  info->err->format_message(info, message);
  refuse(info, message);
}

// Warnings have the level -1. Those of missing or damaged pixels are errors: libjpeg makes them up.
static void on_message(j_common_ptr info, int level) {
  if (level >= 0) return;
  switch (info->err->msg_code) {
    case JWRN_JFIF_MAJOR:
    case JWRN_ADOBE_XFORM:
    case JWRN_NOT_SEQUENTIAL:
      return;  // Headers of old software; every decoder reads such files alike.
    case JWRN_EXTRANEOUS_DATA: {
      // Bytes that belong to nothing are harmless between segments and behind the pixels, but
      // between the parts of a scan they are what a damaged part has left over.
      int marker = info->err->msg_parm.i[1];
      if (marker < JPEG_RST0 || marker > JPEG_RST0 + 7) return;
      break;
    }
    case JWRN_HIT_MARKER:
    case JWRN_JPEG_EOF:
      refuse(info, "a JPEG that ends early");
  }
  on_error(info);
}

static void on_progress(j_common_ptr info) {
  if (((j_decompress_ptr)info)->input_scan_number > MOST_SCANS)
    refuse(info, "a JPEG of more than 500 scans");
}

// A file of several scans may end after any of them: libjpeg leaves what the others would have added
// grey or coarse, and does not say so.
static void expect_all_scans(j_decompress_ptr info) {
  for (int c = 0; c < info->num_components; c++) {
    // Kept from the first scan that the component is in.
    int whole = info->comp_info[c].quant_table != NULL;
    // Bits of a coefficient that are still to come; -1 where none has.
    for (int k = 0; info->progressive_mode && k < DCTSIZE2; k++)
      whole = whole && info->coef_bits[c][k] == 0;
    if (!whole) refuse((j_common_ptr)info, "a JPEG without all of its scans");
  }
}

// A decoder; null where there is no memory for one.
SibJpeg* sib_jpeg_new(void) {
  SibJpeg* jpeg = calloc(1, sizeof *jpeg);
  if (jpeg == NULL) return NULL;
  jpeg->info.err = jpeg_std_error(&jpeg->errors);
  jpeg->errors.error_exit = on_error;
  jpeg->errors.emit_message = on_message;
  jpeg->progress.progress_monitor = on_progress;
  jpeg->info.client_data = jpeg;
  return jpeg;
}

// Reads the header of `bytes`, which must outlive the decoder, and writes width, height and channels
// (3 for RGB, 4 for CMYK) to `size`. Returns what is wrong, as text of the decoder, or null.
const char* sib_jpeg_open(SibJpeg* jpeg, const uint8_t* bytes, size_t length, uint32_t size[3]) {
  j_decompress_ptr info = &jpeg->info;
  if (setjmp(jpeg->back)) return jpeg->message;
  jpeg_create_decompress(info);  // Keeps the handlers above.
  info->progress = &jpeg->progress;
  jpeg_mem_src(info, bytes, length);
  jpeg_read_header(info, TRUE);
  int channels = info->num_components;
  if (channels != 1 && channels != 3 && channels != 4) {
    snprintf(jpeg->message, sizeof jpeg->message, "a JPEG of %d channels, expected 1, 3 or 4",
             channels);
    return jpeg->message;
  }
  info->out_color_space = channels == 4 ? JCS_CMYK : JCS_RGB;
  size[0] = info->image_width;
  size[1] = info->image_height;
  size[2] = channels == 4 ? 4 : 3;
  return NULL;
}

// Decodes into `pixels`, row by row, as many as `sib_jpeg_open` said. Returns as that does.
const char* sib_jpeg_read(SibJpeg* jpeg, uint8_t* pixels) {
  j_decompress_ptr info = &jpeg->info;
  if (setjmp(jpeg->back)) return jpeg->message;
  jpeg_start_decompress(info);
  if (jpeg_has_multiple_scans(info)) expect_all_scans(info);
  size_t stride = (size_t)info->output_width * info->output_components;
  while (info->output_scanline < info->output_height) {
    JSAMPROW row = pixels + stride * info->output_scanline;
    jpeg_read_scanlines(info, &row, 1);
  }
  jpeg_finish_decompress(info);
  return NULL;
}

void sib_jpeg_free(SibJpeg* jpeg) {
  jpeg_destroy_decompress(&jpeg->info);
  free(jpeg);
}
