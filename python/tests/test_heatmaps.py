"""Heatmaps from the program, and to it."""

import csv
import tempfile
import unittest
from pathlib import Path

import sib_cli
from workplace import needs, place, refused, run


@needs("numpy")
class OfTheProgram(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.maps = Path(folder.name) / "maps"
        arguments = ["--image", "images/test", "--method", "saliency,grad-cam", "--output", self.maps]
        networks = ["--checkpoint", "run", "--compare", "run/checkpoints/last.safetensors"]
        run("sib-cli", "explain", *networks, *arguments, cwd=place())

    def test_all_are_read_with_their_names(self):
        import numpy as np

        found = sib_cli.heatmaps(self.maps)
        of = [(heatmap.image, heatmap.network, heatmap.method) for heatmap in found]
        with (self.maps / "manifest.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual(len(of), 4 * 2 * 2)
        self.assertEqual(of, [(row["image"], row["checkpoint"], row["method"]) for row in rows])
        for heatmap, row in zip(found, rows, strict=True):
            suffix = ".baseline" if heatmap.network == "baseline" else ""
            file = self.maps / f"{Path(heatmap.image).stem}.{heatmap.method}{suffix}.npy"
            np.testing.assert_array_equal(heatmap.array, np.load(file))
            self.assertEqual((heatmap.array.shape, heatmap.array.dtype), ((64, 64), np.float32))
            self.assertEqual(heatmap.target_name, row["target_name"])
            self.assertEqual(heatmap.target_index, int(row["target_index"]))
            self.assertAlmostEqual(heatmap.probability, float(row["probability"]))

    def test_what_is_not_whole_is_refused(self):
        import numpy as np

        stem = sib_cli.heatmaps(self.maps)[0].stem
        path = self.maps / f"{stem}.saliency.npy"
        whole = np.load(path)
        for array, expected in [
            (whole + 1, "as in manifest.csv"),
            (whole.astype(np.float64), "float64 [64, 64], expected float32 [64, 64]"),
            (whole[:8], "float32 [8, 64], expected float32 [64, 64]"),
            (np.full_like(whole, np.nan), "holds NaN or infinity"),
        ]:
            np.save(path, array)
            with refused(self, ValueError, path, expected):
                sib_cli.heatmaps(self.maps)
        path.write_text("no array")
        with refused(self, ValueError, path, "expected an .npy file"):
            sib_cli.heatmaps(self.maps)
        path.unlink()
        with refused(self, FileNotFoundError, path):
            sib_cli.heatmaps(self.maps)
        np.save(path, whole)

        manifest = self.maps / "manifest.csv"
        text = manifest.read_text()
        lines = text.splitlines(keepends=True)
        swapped = [lines[0], lines[2], lines[1], *lines[3:]]
        for damaged, expected in [
            ("".join(lines[:-1]), "15 heatmaps, expected the 16 of explanation.toml"),
            ("".join(swapped), "a row of "),
            (text.replace(",target_index,", ",index,"), "a damaged row of "),
        ]:
            manifest.write_text(damaged)
            with refused(self, ValueError, manifest, expected):
                sib_cli.heatmaps(self.maps)
        manifest.unlink()
        with refused(self, FileNotFoundError, manifest):
            sib_cli.heatmaps(self.maps)
        description = self.maps / "explanation.toml"
        for content, expected in [("methods =", "expected TOML"), ("methods = []", "lacks 'images'")]:
            description.write_text(content)
            with refused(self, ValueError, description, expected):
                sib_cli.heatmaps(self.maps)
        description.unlink()
        with refused(self, FileNotFoundError, description, "expected a finished explanation"):
            sib_cli.heatmaps(self.maps)


@needs("numpy")
class ToTheProgram(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def test_the_programs_own_maps_score_as_its_own(self):
        of = ["--checkpoint", "run", "--data", "folder", "--root", "images", "--suite", "faithfulness"]
        arguments = ["--image", "images/test", "--method", "saliency", "--output", self.folder / "maps"]
        run("sib-cli", "explain", "--checkpoint", "run", *arguments, cwd=place())
        theirs = self.folder / "theirs"
        for heatmap in sib_cli.heatmaps(self.folder / "maps"):
            image_id = Path(heatmap.image).relative_to("images").as_posix()
            path = sib_cli.save_heatmap(theirs, image_id, heatmap.array.astype(float))
            self.assertEqual(path, theirs / f"{image_id}.npy")
        output = self.folder / "evaluation"
        run("sib-cli", "evaluate", *of, "--method", "saliency", "--heatmaps", theirs, "--output", output, cwd=place())
        scores = {}
        with (output / "per_image.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                if row["insertion_auc"]:
                    scores[row["method"], row["image"]] = float(row["insertion_auc"]), float(row["deletion_auc"])
        self.assertEqual(len(scores), 2 * 4)
        for (method, image), of_image in scores.items():
            for ours, own in zip(of_image, scores["saliency", image], strict=True):
                self.assertAlmostEqual(ours, own, places=5, msg=f"{method}, {image}")

    def test_arrays_of_any_real_type_are_stored(self):
        import numpy as np

        ramp = np.arange(9).reshape(3, 3)
        for array in (ramp, ramp.tolist(), ramp.astype(">f8"), np.asfortranarray(ramp.astype(np.float16)), ramp > 4):
            path = sib_cli.save_heatmap(self.folder, "test/cat/1.jpg", array)
            stored = np.load(path)
            self.assertEqual(stored.dtype, np.float32)
            np.testing.assert_array_equal(stored, np.asarray(array))
        self.assertEqual([path.name for path in self.folder.rglob("*") if path.is_file()], ["1.jpg.npy"])

    def test_what_cannot_be_scored_is_refused(self):
        import numpy as np

        cases = [
            (np.zeros((3, 4)), "shape [3, 4], expected a square [S, S]"),
            (np.zeros((1, 3, 4, 4)), "shape [1, 3, 4, 4], expected a square [S, S]; reduce the channels first"),
            (np.zeros((0, 0)), "shape [0, 0]"),
            (1.0, "shape []"),
            (np.eye(3) * np.nan, "holds NaN"),
            (np.eye(3) * 1e300, "a number beyond float32"),
            (np.eye(3) * 1j, "type complex128, expected real numbers"),
            (np.array([["a"]]), "expected real numbers"),
        ]
        for array, expected in cases:
            with self.subTest(expected), refused(self, ValueError, "test/1", expected):
                sib_cli.save_heatmap(self.folder / "maps", "test/1", array)
        for image_id in ("", "/etc/1", "../1", "test/../../1", "test/"):
            expected = f"image id {image_id!r}, expected a path within the dataset"
            with self.subTest(image_id), refused(self, ValueError, expected):
                sib_cli.save_heatmap(self.folder / "maps", image_id, np.eye(3))
        self.assertFalse((self.folder / "maps").exists())


@needs("torch", "numpy")
class Tensors(unittest.TestCase):
    def test_tensors_with_gradients_and_of_bfloat16_are_stored(self):
        import numpy as np
        import torch

        ramp = torch.arange(9.0).reshape(3, 3)
        with tempfile.TemporaryDirectory() as folder:
            for tensor in (ramp.clone().requires_grad_(), ramp.bfloat16(), ramp.int(), ramp.T.contiguous().T):
                path = sib_cli.save_heatmap(folder, "1", tensor)
                np.testing.assert_array_equal(np.load(path), ramp.numpy())


if __name__ == "__main__":
    unittest.main()
