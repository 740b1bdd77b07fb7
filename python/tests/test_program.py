"""The program as pip installs it."""

import os
import re
import shutil
import signal
import sys
import tempfile
import unittest
from pathlib import Path

import sib_cli
from sib_cli._torch import TORCH
from workplace import ROOT, needs, place, run, start


class Program(unittest.TestCase):
    def test_it_is_the_built_one_on_the_torch_beside_it(self):
        version = re.search(r'^version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
        self.assertEqual(run("sib-cli", "--version")[0], f"sib-cli {version}\n")
        self.assertEqual(run(sys.executable, "-m", "sib_cli", "--version")[0], f"sib-cli {version}\n")
        self.assertIn(f"libtorch  {TORCH}", run("sib-cli", "doctor")[0])
        setup = (ROOT / "scripts" / "setup.sh").read_text()
        self.assertEqual(re.search(r"\bTORCH=(\S+)", setup)[1], TORCH)

    def test_exit_codes_are_its_own(self):
        _, stderr = run("sib-cli", "train", "--nonsense", code=2)
        self.assertIn("--nonsense", stderr)
        run("sib-cli", "predict", "--checkpoint", "nowhere", "--image", "nowhere.png", code=1)

    def test_the_process_is_the_program_and_ends_by_a_signal_as_it_does(self):
        with tempfile.TemporaryDirectory() as folder:
            arguments = ["train", "--config", place() / "tiny.toml", "--output", "run", "--set", "train.epochs=1000"]
            with start("sib-cli", *arguments, cwd=folder) as process:
                while not process.stderr.readline().startswith("epoch 1/"):
                    self.assertIsNone(process.poll())
                self.assertEqual(Path(os.readlink(f"/proc/{process.pid}/exe")).name, "sib-cli")
                process.send_signal(signal.SIGTERM)
                _, stderr = process.communicate(timeout=300)
            self.assertEqual(process.returncode, 0)
            self.assertIn("--resume", stderr)

    def test_a_torch_elsewhere_is_found(self):
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "sib_cli"
            shutil.copytree(Path(sib_cli.__file__).parent, copy)
            doctor = run(sys.executable, "-m", "sib_cli", "doctor", env={"PYTHONPATH": folder})[0]
            self.assertIn(f"libtorch  {TORCH}", doctor)

    def test_another_torch_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            torch = Path(folder) / "torch"
            torch.mkdir()
            (torch / "__init__.py").touch()
            (torch / "version.py").write_text("__version__ = '2.12.1+cpu'\n")
            _, stderr = run("sib-cli", "doctor", env={"PYTHONPATH": folder}, code=1)
            self.assertEqual(
                stderr, f"error: {torch}: torch 2.12.1, expected {TORCH}\nhint: pip install torch=={TORCH}\n"
            )

    def test_importing_the_module_is_cheap(self):
        command = "import sys, sib_cli; print({'numpy', 'torch', 'PIL', 'safetensors'} & sys.modules.keys())"
        self.assertEqual(run(sys.executable, "-c", command)[0], "set()\n")


@needs("torch")
class Processes(unittest.TestCase):
    def test_torchrun_starts_them(self):
        with tempfile.TemporaryDirectory() as folder:
            torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--no-python"]
            run(*torchrun, "sib-cli", "train", "--config", place() / "tiny.toml", "--output", "run", cwd=folder)
            self.assertIn("finished", (Path(folder) / "run" / "status.toml").read_text())


if __name__ == "__main__":
    unittest.main()
