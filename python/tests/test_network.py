"""Networks and preprocessing against the program's own."""

import csv
import io
import json
import tempfile
import unittest
import warnings
from pathlib import Path

import sib_cli
from workplace import needs, photographs, place, refused, run


def predicted(checkpoint, images):
    """The program's logits and probabilities [B, K] of image files."""
    import torch

    arguments = ["--checkpoint", checkpoint, "--top", "1000", "--image", *images]
    rows = list(csv.DictReader(io.StringIO(run("sib-cli", "predict", *arguments)[0])))
    classes = len(rows) // len(images)
    logits, probabilities = torch.empty(len(images), classes), torch.empty(len(images), classes)
    place_of = {str(image): i for i, image in enumerate(images)}
    for row in rows:
        at = place_of[row["image"]], int(row["class_index"])
        logits[at], probabilities[at] = float(row["logit"]), float(row["probability"])
    return logits, probabilities


@needs("torch", "torchvision", "safetensors")
class Load(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def assert_same(self, checkpoint, images, **options):
        """Logits to 1e-5 of their magnitude: a pixel that is one level off is further away."""
        import torch

        model = sib_cli.load(checkpoint)
        with torch.no_grad():
            ours = torch.cat([model(model.preprocess(image, **options)[None]) for image in images])
        logits, probabilities = predicted(checkpoint, images)
        self.assertLessEqual((ours - logits).abs().max(), 1e-5 * logits.abs().max())
        self.assertLessEqual((ours.softmax(dim=1) - probabilities).abs().max(), 1e-5)

    def test_a_trained_network_gives_the_programs_logits(self):
        import torch

        state = torch.get_rng_state()
        model = sib_cli.load(place() / "run")
        self.assertTrue(torch.equal(torch.get_rng_state(), state))
        self.assertFalse(model.training)
        self.assertEqual((len(model.classes), model.classes[0]), (10, "striped-disc"))
        self.assertEqual(model(torch.zeros(2, 3, 64, 64)).shape, (2, 10))
        images = sorted((place() / "images").rglob("*.png"))
        self.assert_same(place() / "run" / "checkpoints" / "last.safetensors", images)

    def test_photographs_are_seen_as_the_program_sees_them(self):
        images = photographs(4)
        if not images:
            self.skipTest("no photographs in ../shared/data")
        self.assert_same(place() / "run", images)

    def test_images_of_every_kind_are_seen_as_the_program_sees_them(self):
        import numpy as np
        from PIL import Image

        warnings.simplefilter("ignore")  # Pillow's, that palettes may lose their transparency
        noise = np.random.default_rng(0).integers(0, 256, (61, 97, 4), dtype=np.uint8)
        coloured = Image.fromarray(noise, "RGBA")
        files = []
        for name, mode in [
            ("rgb.png", "RGB"), ("alpha.png", "RGBA"), ("grey.png", "L"), ("grey-alpha.png", "LA"), ("bits.png", "1"),
            ("palette.png", "P"), ("rgb.jpg", "RGB"), ("grey.jpg", "L"), ("cmyk.jpg", "CMYK"), ("palette.gif", "P"),
            ("rgb.tif", "RGB"), ("rgb.bmp", "RGB"), ("rgb.ppm", "RGB"),
        ]:  # fmt: skip
            files.append(self.folder / name)
            coloured.convert("RGB" if mode == "CMYK" else mode).convert(mode).save(files[-1])
        for orientation in range(1, 9):
            exif = Image.Exif()
            exif[0x112] = orientation
            files.append(self.folder / f"turned-{orientation}.jpg")
            coloured.convert("RGB").save(files[-1], exif=exif)
        checkpoint = place() / "run"
        self.assert_same(checkpoint, files)
        preprocess = sib_cli.load(checkpoint).preprocess
        with Image.open(files[-1]) as image:
            turned, stored = preprocess(image), preprocess(image, upright=False)
        self.assertEqual((turned.shape, turned.dtype), (stored.shape, stored.dtype))
        self.assertFalse(turned.equal(stored))

    def test_position_embeddings_are_resized_as_in_the_program(self):
        import torch
        import torchvision

        torch.manual_seed(0)
        state = torchvision.models.vit_b_32(weights=None, num_classes=5).state_dict()
        state["heads.head.weight"].normal_()  # which torchvision leaves at 0
        torch.save(state, self.folder / "vit.pth")
        sizes = ["--resize-px", "100", "--crop-px", "96"]
        checkpoint = self.folder / "vit.safetensors"
        run("sib-cli", "import", self.folder / "vit.pth", "--arch", "vit_b_32", "--output", checkpoint, *sizes)
        self.assertEqual(sib_cli.load(checkpoint).classes, [])
        self.assert_same(checkpoint, sorted((place() / "images").rglob("*.png")))

    def changed(self, change):
        """A copy of the checkpoint whose header and tensors `change` has changed."""
        from safetensors import safe_open
        from safetensors.torch import save_file

        with safe_open(place() / "run" / "checkpoints" / "best.safetensors", framework="pt") as file:
            header, state = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}
        change(header, state)
        path = self.folder / "changed.safetensors"
        save_file(state, path, header)
        return path

    def test_what_is_no_checkpoint_is_refused(self):
        nowhere = self.folder / "nowhere.safetensors"
        for path, named in [(nowhere, nowhere), (self.folder, self.folder / "checkpoints" / "best.safetensors")]:
            with refused(self, FileNotFoundError, named, "expected a checkpoint"):
                sib_cli.load(path)
        whole = (place() / "run" / "checkpoints" / "best.safetensors").read_bytes()
        for content in (b"", b"no checkpoint", whole[: len(whole) // 2]):
            nowhere.write_bytes(content)
            with refused(self, ValueError, nowhere, "not a whole safetensors file"):
                sib_cli.load(nowhere)

    def test_a_checkpoint_that_would_come_out_wrong_is_refused(self):
        def sizes(header, **values):
            header["preprocessing"] = json.dumps(json.loads(header["preprocessing"]) | values)

        def half(state):
            state["fc.bias"] = state["fc.bias"].half()

        def shorter(state):
            state["fc.bias"] = state["fc.bias"][:9]

        cases = [
            (lambda header, state: header.pop("sib_checkpoint"), "sib_checkpoint is None, expected '1'"),
            (lambda header, state: header.update(arch="alexnet"), "architecture 'alexnet', expected one of resnet18, "),
            (lambda header, state: header.update(arch="resnet34"), "lacks the tensor 'layer1.2"),
            (lambda header, state: header.update(arch="vgg16"), "lacks the tensor 'classifier.6.weight'"),
            (lambda header, state: header.update(classes='["cat"]'), "1 classes, expected as many as its 10 logits"),
            (lambda header, state: header.update(classes="[1]"), "classes [1], expected a list of names"),
            (lambda header, state: header.update(preprocessing="{}"), "preprocessing: 'resize_px', expected "),
            (lambda header, state: header.pop("preprocessing"), "preprocessing is None in its header, expected JSON"),
            (lambda header, state: sizes(header, crop_px=73), "crop_px 73, expected 1 to resize_px, which is 72"),
            (lambda header, state: sizes(header, crop_px=0), "crop_px 0, expected 1 to resize_px"),
            (lambda header, state: sizes(header, std=[0.5, 0.0, 0.5]), "expected numbers above 0"),
            (lambda header, state: sizes(header, mean=[0.5]), "expected 3 numbers"),
            (lambda header, state: sizes(header, gamma=2), "gamma, expected resize_px, crop_px, mean and std only"),
            (lambda header, state: state["fc.bias"].fill_(float("nan")), "'fc.bias' holds NaN or infinity"),
            (lambda header, state: half(state), "'fc.bias' is [10] torch.float16, expected [10] torch.float32"),
            (lambda header, state: shorter(state), "'fc.bias' is [9] torch.float32, expected [10] torch.float32"),
            (lambda header, state: state.update(more=state["fc.bias"].clone()), "also holds the tensor 'more'"),
        ]
        for change, expected in cases:
            with self.subTest(expected):
                path = self.changed(change)
                with refused(self, ValueError, path, expected):
                    sib_cli.load(path)

    def test_images_that_would_come_out_wrong_are_refused(self):
        from PIL import Image

        preprocess = sib_cli.load(place() / "run").preprocess
        for mode in ("I;16", "I", "F", "RGBa", "HSV"):
            with refused(self, ValueError, f"mode {mode}, expected one of 1, L, "):
                preprocess(Image.new(mode, (8, 8)))
        with refused(self, ValueError, "got Tensor, expected a Pillow image"):
            preprocess(preprocess(Image.new("RGB", (8, 8))))
        with self.assertRaises(FileNotFoundError):
            preprocess(self.folder / "nowhere.png")
        path = self.folder / "image.png"
        path.write_text("no image")
        with refused(self, ValueError, path, "expected an image file"):
            preprocess(path)
        Image.effect_noise((64, 64), 50).save(path)
        path.write_bytes(path.read_bytes()[:1000])
        with refused(self, ValueError, path, "expected a whole image"):
            preprocess(path)


if __name__ == "__main__":
    unittest.main()
