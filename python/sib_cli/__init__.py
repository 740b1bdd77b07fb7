"""Networks and heatmaps of `sib-cli` in Python: see docs/python.md of the project.

The program itself is `sib-cli` on the PATH, or `python -m sib_cli`. Importing this module imports neither
NumPy nor PyTorch.
"""

from sib_cli._heatmaps import Heatmap, heatmaps, save_heatmap
from sib_cli._network import load
from sib_cli._preprocessing import Preprocessing

__all__ = ["Heatmap", "Preprocessing", "heatmaps", "load", "save_heatmap"]
