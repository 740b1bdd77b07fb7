"""The version of PyTorch whose libtorch the program is linked to."""

# That of scripts/setup.sh, which a test checks.
TORCH = "2.13.0"
