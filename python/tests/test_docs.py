"""Every block of code in docs/python.md runs, in the order in which they stand there."""

import contextlib
import os
import re
import unittest

from workplace import ROOT, needs, place, run

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@needs("torch", "torchvision", "safetensors", "captum", "pytorch_grad_cam")
class Docs(unittest.TestCase):
    def test_every_block_runs(self):
        blocks = BLOCK.findall((ROOT / "docs" / "python.md").read_text(encoding="utf-8"))
        self.assertGreater(len(blocks), 4)
        names = {}
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        os.chdir(place())
        for language, code in blocks:
            with self.subTest(code=code):
                if language == "sh":
                    run("bash", "-euo", "pipefail", "-c", code)
                else:
                    self.assertEqual(language, "python")
                    with contextlib.redirect_stdout(None):
                        exec(compile(code, "docs/python.md", "exec"), names)
        methods = (place() / "evaluation" / "summary.csv").read_text()
        for method in ("captum", "pytorch-grad-cam", "grad-cam"):
            self.assertIn(f"{method},", methods)


if __name__ == "__main__":
    unittest.main()
