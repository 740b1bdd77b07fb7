#!/usr/bin/env python3
"""Compares logits and heatmaps of JPEG photographs with those of the Python reference implementations.

    scripts/check_photographs.py PHOTO_OR_FOLDER... [--sib-cli target/release/sib-cli]
        [--images N] [--arch ARCH ...] [--weights ARCH=FILE ...] [--methods NAME ...] [--png]
        [--resize-px PX] [--crop-px PX] [--at-least CORRELATION]

The reference reads the file with Pillow, resizes it as torchvision does, and runs torchvision's network
in f32 with Captum, pytorch-grad-cam or, for ScoreCAM and the S-IB map, a plain rendering. Ours is
`sib-cli predict` and `sib-cli explain` on the same file and weights: randomly initialised ones (--seed),
or a state dict that --weights names. One row a network and measure, the worst and the mean over the images:
the rank correlation of the maps of each method, and of the logits the largest difference over their standard
deviation.
With --png the same photographs go through once more, saved as PNG by Pillow, so that no JPEG decoder has
a part in it. Exits with 1 where a correlation is below --at-least.

It needs scripts/golden/requirements.txt. ScoreCAM takes a forward pass a channel on both sides: leave it
out by --methods for a first look.
"""

import argparse
import csv
import io
import pathlib
import subprocess
import sys
import tempfile
import warnings
from contextlib import redirect_stderr

import captum.attr
import numpy as np
import pytorch_grad_cam
import torch
import torchvision
from PIL import Image, ImageOps
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from scipy.stats import spearmanr
from torch import nn
from torch.nn import functional as F
from torchvision.transforms import CenterCrop, Compose, Normalize, Resize, ToTensor

ROOT = pathlib.Path(__file__).resolve().parents[1]
ARCHS = ["resnet18", "resnet50", "densenet121", "vit_b_32"]
METHODS = [
    "saliency", "input-x-gradient", "guided-backprop", "integrated-gradients", "grad-cam",
    "grad-cam-plus-plus", "layer-cam", "guided-grad-cam", "score-cam", "s-ib-map",
]  # fmt: skip
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
ENDINGS = {".jpg", ".jpeg"}


def photographs(paths, count):
    files = []
    for path in map(pathlib.Path, paths):
        files += sorted(p for p in path.rglob("*") if p.suffix.lower() in ENDINGS) if path.is_dir() else [path]
    if not files:
        sys.exit(f"error: no JPEG file in {', '.join(map(str, paths))}")
    # Spread over all of them rather than the first of one class.
    return files if count is None or count >= len(files) else [files[i * len(files) // count] for i in range(count)]


class DenseNet(nn.Module):
    """torchvision's DenseNet with its last ReLU as a module, which hooks can find."""

    def __init__(self, net):
        super().__init__()
        self.features, self.relu5, self.classifier = net.features, nn.ReLU(), net.classifier

    def forward(self, x):
        x = self.relu5(self.features(x))
        return self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Peer:
    """One network as the Python packages see it."""

    def __init__(self, arch, weights, crop_px, seed):
        torch.manual_seed(seed)
        self.state = self.state_dict(arch, weights)
        classes = next(reversed(self.state.values())).shape[0]
        size = {"image_size": crop_px} if arch == "vit_b_32" else {}
        net = getattr(torchvision.models, arch)(weights=None, num_classes=classes, **size)
        state = dict(self.state)
        if arch == "vit_b_32":
            resized = torchvision.models.vision_transformer.interpolate_embeddings
            state = resized(crop_px, 32, state)
        net.load_state_dict(state)
        self.reshape = None
        if arch == "densenet121":
            net = DenseNet(net)
            self.layer = net.relu5
        elif arch == "vit_b_32":
            self.layer, self.reshape = net.encoder.layers[-1].ln_1, self.patches
        else:
            self.layer = net.layer4
        for module in net.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = False  # hooks must see what nobody overwrites later
        self.net = net.eval()

    @staticmethod
    def state_dict(arch, weights):
        if weights:
            state = torch.load(weights, map_location="cpu", weights_only=True)
            state = state.get("state_dict", state)
            return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
        net = getattr(torchvision.models, arch)(weights=None, num_classes=37)
        if arch == "vit_b_32":  # torchvision starts the head at zero: every map would be flat
            nn.init.normal_(net.heads.head.weight, std=0.02)
        return net.state_dict()

    @staticmethod
    def patches(tokens):
        side = int((tokens.shape[1] - 1) ** 0.5)
        return tokens[:, 1:].transpose(1, 2).unflatten(2, (side, side))

    def map(self, method, x, target):
        """The heatmap `[H,W]` of `x` `[1,3,H,W]`; None where the network has none."""
        attribute = {"target": target}
        if method == "saliency":
            return captum.attr.Saliency(self.net).attribute(x, abs=True, **attribute).amax(1)[0]
        if method == "input-x-gradient":
            return captum.attr.InputXGradient(self.net).attribute(x, **attribute).abs().sum(1)[0]
        if method == "guided-backprop":
            return captum.attr.GuidedBackprop(self.net).attribute(x, **attribute).abs().amax(1)[0]
        if method == "integrated-gradients":
            explainer = captum.attr.IntegratedGradients(self.net)
            return explainer.attribute(x, n_steps=50, internal_batch_size=10, **attribute).abs().sum(1)[0]
        if method == "guided-grad-cam":
            if self.reshape:
                return None  # Captum takes feature maps only
            explainer = captum.attr.GuidedGradCam(self.net, self.layer)
            return explainer.attribute(x, interpolate_mode="bilinear", **attribute).abs().amax(1)[0]
        if method == "score-cam":
            return self.score_cam(x, target)
        if method == "s-ib-map":
            return self.s_ib_map(x)
        return self.cam(method, x, target)

    def cam(self, method, x, target):
        kind = {
            "grad-cam": pytorch_grad_cam.GradCAM,
            "grad-cam-plus-plus": pytorch_grad_cam.GradCAMPlusPlus,
            "layer-cam": pytorch_grad_cam.LayerCAM,
        }[method]
        with kind(self.net, [self.layer], reshape_transform=self.reshape) as cam:
            with redirect_stderr(io.StringIO()):
                final = cam(input_tensor=x.clone(), targets=[ClassifierOutputTarget(target)])
        return torch.from_numpy(final)[0]

    @torch.no_grad()
    def score_cam(self, x, target, batch=32):
        """Σ_k p_k A_k, p_k the probability under the mask of channel k (arXiv:1910.01279)."""
        seen = []
        reshape = self.reshape or (lambda tokens: tokens)
        handle = self.layer.register_forward_hook(lambda _, __, out: seen.append(reshape(out)))
        self.net(x)
        handle.remove()
        channels = seen[0][0].clone()
        up = F.interpolate(channels[:, None], x.shape[2:], mode="bilinear")
        low, high = up.amin((2, 3), keepdim=True), up.amax((2, 3), keepdim=True)
        varying = (high > low).flatten()
        masks = (up - low) / torch.where(high > low, high - low, 1)
        p = torch.cat([self.net(x * part).softmax(1)[:, target] for part in masks.split(batch)])
        total = (p * varying)[:, None, None].mul(channels).sum(0).relu()
        return F.interpolate(total[None, None], x.shape[2:], mode="bilinear")[0, 0]

    def s_ib_map(self, x):
        x = x.clone().requires_grad_(True)
        p = self.net(x).double().softmax(1)
        (vjp,) = torch.autograd.grad(0.5 * p.square().sum(), x)
        vjp = vjp / vjp.abs().max()
        height = x.shape[2]
        window = 2 * round((31 * height / 224 - 1) / 2) + 1
        g = vjp.mean(1).abs().flatten()

        def quantile(q):
            ordered = g.sort().values
            rank = torch.arange(len(g), dtype=torch.float64)
            weights = torch.softmax(-(rank - q * (len(g) - 1)).abs() / 0.1, 0)
            return (ordered * weights).sum()

        strong = torch.sigmoid(10 * (g - quantile(0.8)) / (quantile(0.95) - quantile(0.05) + 1e-8))
        strong = strong.reshape(1, 1, *x.shape[2:])
        return F.avg_pool2d(strong, window, stride=1, padding=window // 2)[0, 0]


def run(command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"error: {' '.join(map(str, command))}\n{done.stderr.strip()}")
    return done.stdout


def upright(file):
    """As `predict` and `explain` show it: turned as its EXIF orientation says."""
    return ImageOps.exif_transpose(Image.open(file)).convert("RGB")


def rank_correlation(ours, theirs):
    flat = [np.ptp(map) == 0 for map in (ours, theirs)]
    if any(flat):
        return 1.0 if all(flat) else 0.0
    return float(spearmanr(ours.ravel(), theirs.ravel()).statistic)


def check(arch, files, options, folder):
    """Rank correlations by method, and differences of logits, of `files`."""
    peer = Peer(arch, options.weights.get(arch), options.crop_px, options.seed)
    weights, checkpoint = folder / "weights.pth", folder / "checkpoint.safetensors"
    torch.save(peer.state, weights)
    sizes = ["--resize-px", options.resize_px, "--crop-px", options.crop_px]
    run([options.sib_cli, "import", weights, "--arch", arch, "--output", checkpoint, *sizes])
    out = run([options.sib_cli, "predict", "--checkpoint", checkpoint, "--top", 10**6, "--image", *files])
    predicted = list(csv.DictReader(io.StringIO(out)))
    maps = folder / "maps"
    run([options.sib_cli, "explain", "--checkpoint", checkpoint, "--method", ",".join(options.methods),
         "--set", "grad-cam-plus-plus.epsilon=1e-6",  # pytorch-grad-cam's guard
         "--sheet-images", 0, "--output", maps, "--image", *files])  # fmt: skip
    manifest = list(csv.DictReader((maps / "manifest.csv").open()))

    prepare = Compose([Resize(options.resize_px), CenterCrop(options.crop_px), ToTensor(), Normalize(MEAN, STD)])
    logits, correlations = [], {method: [] for method in options.methods}
    for file in files:
        x = prepare(upright(file))[None]
        with torch.no_grad():
            theirs = peer.net(x)[0].numpy()
        ours = np.full_like(theirs, np.nan)
        for row in predicted:
            if row["image"] == str(file):
                ours[int(row["class_index"])] = float(row["logit"])
        logits.append(np.abs(ours - theirs).max() / theirs.std())
        for row in manifest:
            if row["image"] == str(file):
                method, target = row["method"], int(row["target_index"])
                theirs_map = peer.map(method, x, target)
                if theirs_map is not None:
                    ours_map = np.load(maps / f"{file.stem}.{method}.npy")
                    correlations[method].append(
                        rank_correlation(ours_map, theirs_map.detach().numpy())
                    )
    return logits, correlations


def main() -> None:
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photographs", nargs="+")
    parser.add_argument("--sib-cli", type=pathlib.Path, default=ROOT / "target/release/sib-cli")
    parser.add_argument("--images", type=int, help="at most this many, spread over all")
    parser.add_argument("--arch", nargs="*", choices=ARCHS, default=ARCHS)
    parser.add_argument("--weights", nargs="*", default=[], metavar="ARCH=FILE")
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=METHODS)
    parser.add_argument("--png", action="store_true")
    parser.add_argument("--resize-px", type=int, default=256)
    parser.add_argument("--crop-px", type=int, default=224)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at-least", type=float, default=0.999)
    options = parser.parse_args()
    options.weights = dict(pair.split("=", 1) for pair in options.weights)
    files = photographs(options.photographs, options.images)

    out = csv.writer(sys.stdout)
    out.writerow(["arch", "files", "measure", "images", "worst", "mean"])
    too_low = []
    for arch in options.arch:
        for ending in ["jpg", "png"] if options.png else ["jpg"]:
            with tempfile.TemporaryDirectory() as name:
                folder = pathlib.Path(name)
                # Names that cannot collide.
                copies = [folder / f"{i:04}.{ending}" for i in range(len(files))]
                for source, copy in zip(files, copies):
                    if ending == "jpg":
                        copy.write_bytes(source.read_bytes())
                    else:
                        upright(source).save(copy)
                logits, correlations = check(arch, copies, options, folder)
            out.writerow([arch, ending, "logits: difference over their spread", len(logits),
                          f"{max(logits):.1e}", f"{np.mean(logits):.1e}"])  # fmt: skip
            for method, values in correlations.items():
                if values:
                    out.writerow([arch, ending, f"{method}: rank correlation", len(values),
                                  f"{min(values):.6f}", f"{np.mean(values):.6f}"])  # fmt: skip
                    if min(values) < options.at_least:
                        too_low.append(f"{arch} {ending} {method}")
            sys.stdout.flush()
    if too_low:
        sys.exit(f"error: below {options.at_least}: {', '.join(too_low)}")


if __name__ == "__main__":
    main()
