"""Metrics by scikit-learn, SciPy, scikit-image, OpenCV, and plain renderings of the protocols."""

import math
import os
import pathlib

import cv2
import numpy as np
import scipy
import skimage
import sklearn
import torch
from formula import fill_by_formula, formula_tensor
from PIL import Image
from safetensors.numpy import load_file, save_file
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr, ttest_rel
from skimage.filters import threshold_otsu
from sklearn.metrics import accuracy_score, average_precision_score, jaccard_score

PEERS = (cv2, np, scipy, skimage, sklearn, torch)
VERSIONS = ", ".join(f"{peer.__name__} {peer.__version__}" for peer in PEERS)


def save(path, tensors) -> None:
    arrays = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    save_file(arrays, path, metadata={"versions": VERSIONS})


def blobs(rng, count, height, width):
    """Smooth random maps, f32, the second half cut to few levels so that ties abound."""
    noise = rng.standard_normal((count, height, width))
    maps = np.stack([gaussian_filter(plane, 2.5) for plane in noise])
    half = count // 2
    maps[half:] = np.round(maps[half:] * 40) / 8
    return maps.astype(np.float32)


def normalise(plane):
    plane = plane.astype(np.float64)
    return (plane - plane.min()) / (plane.max() - plane.min())


def localization(out, rng) -> None:
    heatmaps = blobs(rng, 8, 24, 28)
    truth = blobs(rng, 8, 24, 28) > 0.02
    cuts = {
        "fixed": [normalise(h) > 0.5 for h in heatmaps],
        "mean": [normalise(h) > normalise(h).mean() for h in heatmaps],
        "otsu": [normalise(h) > threshold_otsu(normalise(h)) for h in heatmaps],
    }
    tensors = {
        "heatmaps": heatmaps,
        "truth": truth.astype(np.uint8),
        "average_precision": [
            average_precision_score(t.ravel(), h.ravel()) for t, h in zip(truth, heatmaps)
        ],
        "spearman": [
            spearmanr(a.ravel(), b.ravel()).statistic
            for a, b in zip(heatmaps, np.roll(heatmaps, 1, axis=0))
        ],
    }
    for name, masks in cuts.items():
        pairs = [(t.ravel(), m.ravel()) for t, m in zip(truth, masks)]
        tensors[f"{name}.pixel_accuracy"] = [accuracy_score(t, m) for t, m in pairs]
        # Columns: background, foreground.
        tensors[f"{name}.iou"] = [jaccard_score(t, m, average=None) for t, m in pairs]
        pooled = [np.concatenate(side) for side in zip(*pairs)]
        tensors[f"{name}.pooled_iou"] = jaccard_score(*pooled, average=None)
    save(out / "metrics_localization.safetensors", tensors)


def boxes_above(grey, level):
    """(area, box) of each border that OpenCV finds in the pixels above a grey level."""
    _, binary = cv2.threshold(grey, level, 255, cv2.THRESH_BINARY)
    contours, _ = cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    height, width = grey.shape
    found = []
    for contour in contours:
        x, y, w, h = cv2.boundingRect(contour)
        box = (x, y, min(x + w, width - 1), min(y + h, height - 1))
        found.append((cv2.contourArea(contour), box))
    return found


def overlap(a, b):
    def area(x0, y0, x1, y1):
        return max(0, x1 - x0 + 1) * max(0, y1 - y0 + 1)

    shared = area(max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
    return shared / (area(*a) + area(*b) - shared)


def max_box_acc(out, rng) -> None:
    """wsolevaluation's definition, 1 000 thresholds, on drawn shapes under noise."""
    height, width, images = 40, 48, 12
    thresholds = np.arange(0, 1, 0.001)
    percent = [30, 50, 70]
    heatmaps, boxes = [], []
    hits = np.zeros((2, images, len(percent), len(thresholds)), dtype=bool)
    for image in range(images):
        plane = np.abs(gaussian_filter(rng.standard_normal((height, width)), 1.0 + image / 6))
        plane *= (0.2 + 0.1 * (image % 5)) / plane.max()
        drawn = []
        for shape in range(1 + image % 3):
            x, y = rng.integers(0, width - 12), rng.integers(0, height - 12)
            w, h = rng.integers(6, 30), rng.integers(6, 24)
            x1, y1 = min(x + w, width) - 1, min(y + h, height) - 1
            level = rng.uniform(0.3, 1.0)
            if image % 2:
                centre, axes = (int(x + x1) // 2, int(y + y1) // 2), (int(x1 - x) // 2, int(y1 - y) // 2)
                thickness = 2 if image % 4 == 1 else cv2.FILLED
                cv2.ellipse(plane, centre, axes, 0, 0, 360, level, thickness)
            else:
                plane[y : y1 + 1, x : x1 + 1] += level
            drawn.append((x, y, x1, y1))
        plane = plane.astype(np.float32)
        heatmaps.append(plane)
        boxes.append(drawn + [(-9, -9, -9, -9)] * (3 - len(drawn)))
        scaled = plane - plane.min()
        grey = (scaled / scaled.max() * 255).astype(np.uint8)
        for t, threshold in enumerate(thresholds):
            found = boxes_above(grey, int(threshold * grey.max()))
            largest = max(found, key=lambda border: border[0])
            for rule, candidates in enumerate([[largest], found]):
                best = max(overlap(box, true) for _, box in candidates for true in drawn)
                hits[rule, image, :, t] = [best >= p / 100 for p in percent]
    save(
        out / "metrics_max_box_acc.safetensors",
        {
            "heatmaps": np.stack(heatmaps),
            "boxes": np.array(boxes, dtype=np.int64),
            "hits": np.packbits(hits, axis=-1),
            "accuracy": hits.mean(axis=1).max(axis=-1),
        },
    )


def cub_annotations():
    """Sizes and boxes of 131 test images of CUB-200-2011: from its folder where SIB_CUB names it,
    otherwise those of the committed golden file. A box is x, y, x + width, y + height in whole pixels, inside
    the image, as in wsolevaluation's list."""
    if "SIB_CUB" not in os.environ:
        golden = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden"
        kept = load_file(golden / "metrics_max_box_acc_cub.safetensors")
        return kept["sizes"], kept["boxes"]
    root = pathlib.Path(os.environ["SIB_CUB"])

    def table(name):
        return dict(line.split(maxsplit=1) for line in (root / name).read_text().splitlines())

    images, boxes = table("images.txt"), table("bounding_boxes.txt")
    test = [key for key, is_train in table("train_test_split.txt").items() if is_train == "0"]
    sizes, corners = [], []
    for key in test[:: len(test) // 131][:131]:
        width, height = Image.open(root / "images" / images[key]).size
        x, y, w, h = map(float, boxes[key].split())
        sizes.append((width, height))
        corners.append((x, y, min(x + w, width - 1), min(y + h, height - 1)))
    return np.array(sizes, dtype=np.int64), np.array(corners).astype(np.int64)


def max_box_acc_cub(out, rng) -> None:
    """wsolevaluation's definition on real boxes: those of the resized images, cut to whole pixels.
    The maps are bumps near the birds under noise, 64 px from 16 px, in whole numbers."""
    sizes, boxes = cub_annotations()
    side, percent = 64, [30, 50, 70]
    thresholds = np.arange(0, 1, 0.001)
    hits = np.zeros((2, len(boxes), len(percent), 255), dtype=bool)
    coarse = np.zeros((len(boxes), 16, 16), dtype=np.uint8)
    for image, ((width, height), corners) in enumerate(zip(sizes, boxes)):
        scale = np.array([side / width, side / height] * 2)
        true = tuple(int(c * side / length) for c, length in zip(corners, [width, height] * 2))
        x0, y0, x1, y1 = corners * scale / 4
        y, x = np.mgrid[0:16, 0:16] + 0.5
        centre = [(x0 + x1) / 2 + rng.normal(0, 1), (y0 + y1) / 2 + rng.normal(0, 1)]
        spread = rng.uniform(0.25, 0.6, 2) * [x1 - x0, y1 - y0]
        bump = np.exp(-(((x - centre[0]) / spread[0]) ** 2) - ((y - centre[1]) / spread[1]) ** 2)
        noise = gaussian_filter(rng.standard_normal((16, 16)), 1.0)
        plane = bump + rng.uniform(0, 0.8) * noise
        coarse[image] = np.round(normalise(plane) * 255)
        tensor = torch.from_numpy(coarse[image].astype(np.float32))[None, None]
        plane = torch.nn.functional.interpolate(tensor, size=(side, side), mode="bilinear")[0, 0]
        scaled = plane.numpy() - plane.numpy().min()
        grey = (scaled / scaled.max() * 255).astype(np.uint8)
        for level in range(255):
            found = boxes_above(grey, level)
            largest = max(found, key=lambda border: border[0])
            for rule, candidates in enumerate([[largest], found]):
                best = max(overlap(box, true) for _, box in candidates)
                hits[rule, image, :, level] = [best >= p / 100 for p in percent]
    levels = (thresholds * 255).astype(int)  # every map's highest level is 255
    assert set(levels) == set(range(255))
    save(
        out / "metrics_max_box_acc_cub.safetensors",
        {
            "sizes": sizes,
            "boxes": boxes,
            "coarse": coarse,
            "hits": np.packbits(hits, axis=-1),
            "accuracy": hits[..., levels].mean(axis=1).max(axis=-1),
        },
    )


def blur(image, name):
    if name == "gaussian":
        offset = torch.arange(-5, 6, dtype=torch.float64)
        taps = torch.exp(-(offset**2) / (2 * 5.0**2))
        kernel = torch.outer(taps, taps)
        kernel = kernel / kernel.sum()
    else:
        impulse = np.zeros((11, 11))
        impulse[5, 5] = 1
        kernel = torch.from_numpy(gaussian_filter(impulse, 5))
    weight = torch.zeros(3, 3, 11, 11)
    for channel in range(3):
        weight[channel, channel] = kernel.float()
    return torch.nn.functional.conv2d(image, weight, padding=5)


@torch.no_grad()
def causal_curve(net, start, finish, heatmap, step, target):
    """Points and area of RISE's curve from `start` to `finish`, one image at a time."""
    pixels = heatmap.numel()
    order = torch.argsort(heatmap.flatten(), descending=True, stable=True)
    current = start.clone()
    points = []
    for k in range(math.ceil(pixels / step) + 1):
        points.append(torch.softmax(net(current), dim=1)[0, target].item())
        changed = order[k * step : (k + 1) * step]
        current.view(1, 3, pixels)[:, :, changed] = finish.reshape(1, 3, pixels)[:, :, changed]
    points = np.array(points)
    area = (points.sum() - points[0] / 2 - points[-1] / 2) / (len(points) - 1)
    return points, area


def faithfulness(out, rng) -> None:
    height, width, count = 20, 24, 4
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(8, 16, 3, stride=2, padding=1),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(16, 10),
    ).eval()
    fill_by_formula(net)
    with torch.no_grad():
        net[6].weight *= 30
    images = blobs(rng, count * 3, height, width).reshape(count, 3, height, width)
    images = torch.from_numpy(images / images.std(axis=(1, 2, 3), keepdims=True))
    heatmaps = torch.from_numpy(blobs(rng, count, height, width))
    target = net(images).argmax(1)
    tensors = {"images": images, "heatmaps": heatmaps, "class": target}
    for step in (7, 48):
        for kernel in ("gaussian", "rise"):
            inserted, deleted = [], []
            for image, heatmap, c in zip(images, heatmaps, target):
                image = image[None]
                blurred = blur(image, kernel)
                inserted.append(causal_curve(net, blurred, image, heatmap, step, c))
                deleted.append(
                    causal_curve(net, image, torch.zeros_like(image), heatmap, step, c)
                )
            for name, curves in (("insertion", inserted), ("deletion", deleted)):
                key = f"{name}.{kernel}.{step}" if name == "insertion" else f"{name}.{step}"
                tensors[f"{key}.points"] = np.stack([points for points, _ in curves])
                tensors[f"{key}.auc"] = np.array([area for _, area in curves])
    save(out / "metrics_faithfulness.safetensors", tensors)


def information(out) -> None:
    images = formula_tensor("region.images", (6, 3, 8, 8)).numpy()
    r = 1e-6 * (formula_tensor("region.r", (6, 3, 8, 8)).numpy() + images)
    mask = (formula_tensor("region.mask", (6, 1, 8, 8)).numpy() + 1) / 2
    n = len(images)
    h = np.eye(n) - 1 / n

    def gram(maps, region):
        rows = (maps * region).reshape(n, -1)
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return rows @ rows.T

    def hsic(k, l):
        return np.trace(k @ h @ l @ h) / (n - 1) ** 2

    def entropy(a, alpha=1.01):
        eigenvalues = np.linalg.eigvalsh(a).clip(0)
        return np.log2((eigenvalues**alpha).sum()) / (1 - alpha)

    def renyi(k, l):
        scale = lambda k: k / np.sqrt(np.outer(np.diag(k), np.diag(k))) / n
        a, b = scale(k), scale(l)
        return entropy(a) + entropy(b) - entropy(a * b / np.trace(a * b))

    measures = {
        "hsic": hsic,
        "cka": lambda k, l: hsic(k, l) / np.sqrt(hsic(k, k) * hsic(l, l)),
        "renyi_bits": renyi,
    }
    regions = (mask, 1 - mask)
    save(
        out / "metrics_information.safetensors",
        {
            name: np.array(
                [[measure(gram(images, a), gram(r, b)) for b in regions] for a in regions]
            )
            for name, measure in measures.items()
        },
    )


def paired(out, rng) -> None:
    tensors = {}
    for n in (3, 4, 30, 1200):
        baseline, ours = rng.standard_normal(n), 0.2 + rng.standard_normal(n)
        tensors[f"{n}.differences"] = ours - baseline
        tensors[f"{n}.p_value"] = ttest_rel(ours, baseline).pvalue
    save(out / "metrics_paired.safetensors", tensors)


def make(out, seed) -> None:
    rng = np.random.default_rng(seed)
    localization(out, rng)
    max_box_acc(out, rng)
    faithfulness(out, rng)
    information(out)
    paired(out, rng)
    max_box_acc_cub(out, rng)
