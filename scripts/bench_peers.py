#!/usr/bin/env python3
"""Times this project against the Python packages that do the same, interleaved in one run.

    python3 -m pip install -r scripts/golden/requirements.txt
    cargo build --release
    scripts/bench_peers.py [--repeat N] [--size-px N] [--images DIR] [--device cuda] [WORK ...]

WORK is any of step, cheaper, memory, explain, integrated-gradients, faithfulness, loader. Both sides get the same
weights and images and take turns, so that what else the machine does slows both; what they compute is
compared in the same run. A row is peer seconds over ours: median and quartiles of the ratio. Where a
row names no precision both sides compute in f32, on a GPU too, where PyTorch would otherwise round the operands
of convolutions.
"""

import argparse
import contextlib
import copy
import csv
import io
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

ROOT = pathlib.Path(__file__).resolve().parents[1]
OURS = pathlib.Path(os.environ.get("SIB_CLI", ROOT / "target" / "release" / "sib-cli"))
ARCHS = {"resnet18": 16, "resnet50": 8, "densenet121": 8, "vit_b_32": 16}


class Ours:
    """`sib-cli bench` in lockstep: it runs what it is told to, and answers with its seconds."""

    def __init__(self, *arguments, output=None):
        command = [OURS, "bench", *map(str, arguments), "--lockstep"]
        self.output = output
        if output:
            command += ["--output", str(output)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        self.is_ready = False

    def run(self, variant):
        if not self.is_ready:
            ready = self.process.stdout.readline().split()
            assert ready and ready[0] == "ready", f"{self.process.args} did not start"
            self.is_ready = True
        print(variant, file=self.process.stdin, flush=True)
        seconds, value = map(float, self.process.stdout.readline().split())
        return seconds, value

    def finish(self):
        """The peak of its resident memory in MiB, and what it wrote."""
        rest, _ = self.process.communicate()
        assert self.process.returncode == 0
        peak = float(rest.split()[-1])
        return peak, load_file(self.output) if self.output else None


def timed(call):
    started = time.perf_counter()
    value = call()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter() - started, value


def interleaved(ours, theirs, repeat, warm_up=True):
    """Runs the variants `ours` and `theirs` in turn, after a round that does not count; for each of
    ours the ratios of theirs over it, the seconds of both, and both last values."""
    rounds = []
    for turn in range(repeat + warm_up):
        # Who comes first alternates.
        if turn % 2:
            b, a = theirs(), {name: run() for name, run in ours.items()}
        else:
            a, b = {name: run() for name, run in ours.items()}, theirs()
        rounds.append((a, b))
    rounds = rounds[int(warm_up):]
    return {
        name: ([b[0] / a[name][0] for a, b in rounds], [(a[name][0], b[0]) for a, b in rounds],
               rounds[-1][0][name][1], rounds[-1][1][1])
        for name in ours
    }


class Table:
    def __init__(self):
        self.out = csv.writer(sys.stdout)
        self.out.writerow("work,peer,ours_s,peer_s,ratio,q1,q3,repeats,agreement".split(","))

    def row(self, work, peer, ratios, seconds, agreement):
        q1, median, q3 = np.quantile(ratios, [0.25, 0.5, 0.75])
        ours, theirs = (statistics.median(column) for column in zip(*seconds))
        figures = [f"{x:.3f}" for x in (ours, theirs, median, q1, q3)]
        self.out.writerow([work, peer, *figures, len(ratios), agreement])
        sys.stdout.flush()


# --- What the peers compute ---------------------------------------------------------------------


def soft_quantile(rows, q, temperature=0.1):
    ordered, _ = rows.sort(-1)
    n = ordered.shape[1]
    distance = (torch.arange(n, dtype=rows.dtype, device=rows.device) - q * (n - 1)).abs()
    return (ordered * torch.softmax(-distance / temperature, -1)).sum(-1, keepdim=True)


@contextlib.contextmanager
def computing_in(precision):
    """Whether operands on a GPU are rounded to 10 bits."""
    rounded = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = rounded
    yield
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False


def logits_of(net, images, precision):
    with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bf16"):
        return net(images).float()


def s_ib_loss(net, images, labels, precision="f32"):
    """The objective as METHOD states it, in plain PyTorch."""
    x = images.clone().requires_grad_()
    logits = logits_of(net, x, precision)
    p = logits.softmax(-1)
    (r,) = torch.autograd.grad((p * p).sum() / 2, x, create_graph=True)
    batch, side = len(x), x.shape[-1]
    g = r.mean(1).abs().flatten(1)
    low, high = soft_quantile(g, 0.05), soft_quantile(g, 0.95)
    g = (g - low) / (high - low + 1e-8)
    strong = torch.sigmoid(10 * (g - soft_quantile(g, 0.8)))
    window = max(3, 2 * round((31 * side / 224 - 1) / 2) + 1)
    density = F.avg_pool2d(strong.view(batch, 1, side, side), window, 1, window // 2).flatten(1)
    mask = torch.sigmoid(10 * (density - soft_quantile(density, 0.8))).view(batch, 1, side, side)
    rows = [F.normalize((t * mask).flatten(1), dim=1) for t in (r, images)]
    centre = torch.eye(batch, device=x.device) - 1 / batch
    k, l = (f @ f.T for f in rows)
    hsic = torch.trace(k @ centre @ l @ centre) / (batch - 1) ** 2
    background = (r * (1 - mask)).flatten(1).var(1).mean()
    return F.cross_entropy(logits, labels) + 1000 * background - 0.01 * hsic


def attention_with_second_derivative():
    """ViT's fused attention has no second derivative: the plain one has."""
    return torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)


def s_ib_step(net, optimizer, images, labels, precision="f32"):
    with attention_with_second_derivative(), computing_in(precision):
        loss = s_ib_loss(net, images, labels, precision)
        optimizer.zero_grad()
        loss.backward(inputs=list(net.parameters()))
    optimizer.step()
    return loss.item()


def plain_step(net, optimizer, images, labels, precision="f32"):
    with computing_in(precision):
        loss = F.cross_entropy(logits_of(net, images, precision), labels)
        optimizer.zero_grad()
        loss.backward()
    optimizer.step()
    return loss.item()


def rise_curves(net, images, heatmaps, step):
    """Insertion and deletion as RISE has them: blurred and zero substrates, `step` pixels a step."""
    axis = torch.arange(11, device=images.device) - 5.0
    kernel = torch.exp(-axis**2 / 50)
    kernel = (kernel[:, None] * kernel) / kernel.sum() ** 2
    blur = kernel.expand(3, 1, 11, 11)
    areas = []
    with torch.no_grad():
        for image, heatmap in zip(images, heatmaps):
            image = image[None]
            target = net(image).argmax()
            order = heatmap.flatten().argsort(descending=True, stable=True)
            blurred = F.conv2d(image, blur, padding=5, groups=3)
            pairs = [(blurred, image), (image, torch.zeros_like(image))]
            steps = -(-len(order) // step)
            for start, end in pairs:
                current, scores = start.clone(), []
                versions = [current.clone()]
                for i in range(steps):
                    chosen = order[i * step : (i + 1) * step]
                    current.view(3, -1)[:, chosen] = end.view(3, -1)[:, chosen]
                    versions.append(current.clone())
                for chunk in torch.cat(versions).split(64):
                    scores.append(net(chunk).softmax(1)[:, target])
                scores = torch.cat(scores).double()
                areas.append((scores.sum() - scores[0] / 2 - scores[-1] / 2) / steps)
    return torch.stack(areas).view(-1, 2)


# --- The rows -----------------------------------------------------------------------------------


class Case:
    """The same network and images on both sides."""

    def __init__(self, folder, arch, batch, size_px, device="cpu"):
        torch.manual_seed(0)
        self.arch, self.batch, self.device = arch, batch, device
        extra = {"image_size": size_px} if arch.startswith("vit") else {}
        self.net = getattr(torchvision.models, arch)(num_classes=1000, **extra)
        if arch.startswith("vit"):
            torch.nn.init.normal_(self.net.heads.head.weight, std=0.02)
        # Running statistics of its own images, so that an untrained network tells them apart.
        images = torch.randn(batch, 3, size_px // 8, size_px // 8)
        self.images = F.interpolate(images, size=size_px, mode="bilinear").to(device) * 2
        self.net.to(device)
        with torch.no_grad():
            self.net.train()
            for _ in range(30):
                self.net(self.images)
        self.net.eval()
        with torch.no_grad():
            self.labels = self.net(self.images).argmax(1)
        self.heatmaps = F.interpolate(
            torch.rand(batch, 1, size_px // 16, size_px // 16), size=size_px, mode="bilinear"
        )[:, 0].to(device)
        self.weights, self.inputs = folder / f"{arch}.pth", folder / f"{arch}.safetensors"
        torch.save({key: value.cpu() for key, value in self.net.state_dict().items()}, self.weights)
        tensors = {"images": self.images, "labels": self.labels, "heatmaps": self.heatmaps}
        save_file({key: value.cpu().contiguous() for key, value in tensors.items()}, self.inputs)

    def ours(self, work, *more, output=None):
        arguments = ["--arch", self.arch, "--weights", self.weights, "--inputs", self.inputs]
        arguments += ["--device", self.device]
        return Ours(work, *arguments, *more, output=output)


STEPS = {"s-ib": s_ib_step, "plain": plain_step}


class Peer:
    """A copy of the case's network and an optimizer of its own."""

    def __init__(self, case, precision):
        self.net = copy.deepcopy(case.net).train()
        self.images, self.labels, self.precision = case.images, case.labels, precision
        if case.device != "cpu":
            # What a GPU is fastest with.
            self.net = self.net.to(memory_format=torch.channels_last)
            self.images = self.images.contiguous(memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=1e-4, weight_decay=1e-4)

    def run(self, variant):
        step = STEPS[variant]
        return timed(lambda: step(self.net, self.optimizer, self.images, self.labels, self.precision))


def step(table, folder, options):
    """Both sides in each precision, in turn; the first losses are of the same weights."""
    on_gpu = options.device != "cpu"
    precisions = ["f32", "tf32", "bf16"] if on_gpu else ["f32", "bf16"]
    if on_gpu:
        torch.backends.cudnn.benchmark = True
    for arch in options.archs:
        case = Case(folder, arch, options.batch_size or ARCHS[arch], options.size_px, options.device)
        title = f"{arch}, B {case.batch}"
        seconds = {}
        started = {
            (variant, precision): case.ours("step", "--only", variant, "--precision", precision)
            for variant in STEPS for precision in precisions
        }
        for variant, name in [("s-ib", "S-IB"), ("plain", "plain")]:
            both = {p: (started[variant, p], Peer(case, p)) for p in precisions}
            rounds, peaks = [], {}
            for turn in range(options.repeat + 1):
                runs = {}
                for precision, (ours, peer) in list(both.items())[:: -1 if turn % 2 else 1]:
                    if on_gpu:
                        torch.cuda.reset_peak_memory_stats()
                    runs[precision] = ours.run(variant), peer.run(variant)
                    if on_gpu:
                        peaks[precision] = torch.cuda.max_memory_allocated() / 2**20
                rounds.append(runs)
            for precision, (ours, _) in both.items():
                (_, own), (_, theirs) = rounds[0][precision]
                said = f"first loss differs by {abs(own / theirs - 1):.1e}"
                said += f"; ours peaks at {ours.finish()[0]:.0f} MiB"
                if on_gpu:
                    said += f", PyTorch at {peaks[precision]:.0f} with its other copies"
                pairs = [tuple(took for took, _ in runs[precision]) for runs in rounds[1:]]
                seconds[precision, variant] = [own for own, _ in pairs]
                table.row(f"{name} step in {precision}, {title}", "PyTorch",
                          [theirs / own for own, theirs in pairs], pairs, said)
            del both
        ours_alone(table, title, seconds)


def ours_alone(table, title, seconds):
    """What S-IB costs and what a precision saves, of the same runs."""
    for (precision, variant), own in seconds.items():
        if variant == "s-ib":
            pairs = list(zip(seconds[precision, "plain"], own))
            table.row(f"S-IB over plain step in {precision}, {title}", "our plain step",
                      [s / p for p, s in pairs], pairs, "")
        if precision != "f32":
            pairs = list(zip(own, seconds["f32", variant]))
            table.row(f"{variant} step in f32 over {precision}, {title}", "our f32",
                      [exact / rounded for rounded, exact in pairs], pairs, "")


def candidates(batch, size_px):
    """Cheaper ways to compute S-IB, as `sib-cli bench step` takes them."""
    scale = 0.5 if size_px % 64 == 0 else 4 / 7  # 128 px of 224: whole patches of 32
    layers = [f"vjp.at=layer{stage}" for stage in (1, 2, 3)]
    images = [f"images={batch // part}" for part in (2, 4, 8) if batch // part > 1]
    return [*layers, *images, f"scale={scale}", "every=4"]


def cheaper(table, folder, options):
    """S-IB, cheaper ways to compute it and eager PyTorch's exact step over our plain step, all in turn."""
    for arch in options.archs:
        case = Case(folder, arch, options.batch_size or ARCHS[arch], options.size_px, options.device)
        cheap = candidates(case.batch, options.size_px)
        chosen = [part for name in cheap for part in ("--candidate", name)]
        ours, peer = case.ours("step", *chosen), Peer(case, "f32")
        rounds = []
        for _ in range(options.repeat + 1):
            runs = {name: ours.run(name)[0] for name in ["plain", "s-ib", *cheap]}
            runs["PyTorch's S-IB"] = peer.run("s-ib")[0]
            rounds.append(runs)
        ours.finish()
        for name in list(rounds[0])[1:]:
            pairs = [(runs["plain"], runs[name]) for runs in rounds[1:]]
            table.row(f"{name} over plain step, {arch}, B {case.batch}", "our plain step",
                      [s / p for p, s in pairs], pairs, "")


def step_memory(table, folder, options):
    """In processes of their own: what the other rows leave behind does not count."""
    if options.device != "cpu":
        print("memory: on a GPU, the rows of step say it", file=sys.stderr)
        return
    script = (
        "import sys, resource, torch; sys.path.insert(0, sys.argv[1]);"
        "import bench_peers as b, pathlib, tempfile;"
        "case = b.Case(pathlib.Path(tempfile.mkdtemp()), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]));"
        "net = case.net.train();"
        "o = torch.optim.AdamW(net.parameters(), lr=1e-4, weight_decay=1e-4);"
        "[b.s_ib_step(net, o, case.images, case.labels) for _ in range(3)];"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    for arch in options.archs:
        batch = options.batch_size or ARCHS[arch]
        case = Case(folder, arch, batch, options.size_px)
        peaks = {}
        for variant in ["s-ib", "s-ib-checkpointed"]:
            ours = case.ours("step", "--only", variant)
            for _ in range(3):
                ours.run(variant)
            peaks[variant], _ = ours.finish()
        command = [sys.executable, "-c", script, str(ROOT / "scripts"), arch, batch, options.size_px]
        theirs = float(subprocess.run(list(map(str, command)), capture_output=True, text=True,
                                      check=True).stdout.split()[-1])
        for variant, peak in peaks.items():
            table.row(f"peak memory of an S-IB step in MiB, {variant}, {arch}, B {batch}", "PyTorch",
                      [theirs / peak], [(peak, theirs)], "")


def explain(table, folder, options):
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    case = Case(folder, "resnet50", 1, options.size_px, options.device)
    ours = {
        precision: case.ours(
            "explain", "--method", "score-cam", "--set", "score-cam.weights=softmax-logit",
            "--set", "score-cam.align_corners=true", "--precision", precision,
            output=folder / f"maps.{precision}.safetensors")
        for precision in options.precisions
    }
    targets = [ClassifierOutputTarget(int(label)) for label in case.labels]
    with pytorch_grad_cam.ScoreCAM(case.net, [case.net.layer4]) as cam:
        cam.batch_size = best_batch(case.net, case.images, options.cam_batches)

        def theirs():
            with contextlib.redirect_stderr(io.StringIO()):
                return timed(lambda: cam(case.images, targets=targets))

        # Each side takes minutes: a round to warm up would change nothing.
        measured = interleaved(
            {precision: lambda process=process: process.run("score-cam")
             for precision, process in ours.items()}, theirs, options.repeat, warm_up=False)
    for precision, (ratios, seconds, _, reference) in measured.items():
        _, written = ours[precision].finish()
        table.row(f"ScoreCAM in {precision}, ResNet-50, batch {cam.batch_size} there",
                  "pytorch-grad-cam", ratios, seconds,
                  agreement(written["heatmaps"], torch.from_numpy(reference)))


def best_batch(net, images, sizes):
    """The size by which an image's forward pass is fastest."""

    def seconds_an_image(size):
        batch = images[:1].repeat(size, 1, 1, 1)
        with torch.no_grad():
            return min(timed(lambda: net(batch))[0] for _ in range(3)) / size

    return min(sizes, key=seconds_an_image)


def agreement(ours, theirs):
    """Largest difference of the maps scaled to [0,1], and their rank correlation."""
    scaled = []
    for maps in (ours.double(), theirs.double()):
        low, high = maps.amin((1, 2), True), maps.amax((1, 2), True)
        scaled.append((maps - low) / (high - low))
    ranks = [maps.flatten(1).argsort(1).argsort(1).double() for maps in scaled]
    correlation = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(*ranks)])
    return f"maps differ by {(scaled[0] - scaled[1]).abs().max():.1e}, rank correlation {correlation:.4f}"


def integrated_gradients(table, folder, options):
    import captum.attr

    case = Case(folder, "resnet50", 2, options.size_px, options.device)
    output = folder / "maps.safetensors"
    ours = case.ours("explain", "--method", "integrated-gradients", output=output)
    method = captum.attr.IntegratedGradients(case.net)

    def theirs():
        return timed(lambda: method.attribute(case.images, target=case.labels, n_steps=50,
                                              internal_batch_size=16))

    measured = interleaved({"": lambda: ours.run("integrated-gradients")}, theirs, options.repeat)
    ratios, seconds, _, reference = measured[""]
    _, written = ours.finish()
    table.row("integrated gradients, 50 steps, ResNet-50", "Captum", ratios, seconds,
              agreement(written["heatmaps"], reference.detach().abs().sum(1).cpu()))


def faithfulness(table, folder, options):
    case = Case(folder, "resnet50", 1, options.size_px, options.device)
    ours = {
        precision: case.ours("faithfulness", "--precision", precision,
                             output=folder / f"auc.{precision}.safetensors")
        for precision in options.precisions
    }
    measured = interleaved(
        {precision: lambda process=process: process.run("insertion-deletion")
         for precision, process in ours.items()},
        lambda: timed(lambda: rise_curves(case.net, case.images, case.heatmaps, 224)),
        options.repeat)
    for precision, (ratios, seconds, _, reference) in measured.items():
        _, written = ours[precision].finish()
        difference = (written["auc"] - reference.cpu()).abs().max()
        table.row(f"insertion and deletion in {precision}, ResNet-50", "PyTorch loop", ratios,
                  seconds, f"AUC differs by {difference:.1e}")


def loader(table, folder, options):
    from torchvision import transforms

    if options.images is None:
        print("loader: needs --images DIR with DIR/train/<class>/*", file=sys.stderr)
        return
    for augment in (False, True):
        head = ([transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip()] if augment
                else [transforms.Resize(256), transforms.CenterCrop(224)])
        transform = transforms.Compose(
            [*head, transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)])
        dataset = torchvision.datasets.ImageFolder(options.images / "train", transform)
        theirs = torch.utils.data.DataLoader(dataset, 64, shuffle=True, num_workers=options.workers)
        more = ["--augment"] if augment else []
        ours = Ours("loader", "--data", "folder", "--root", options.images, *more)
        ratios, seconds, a, b = interleaved(
            {"": lambda: ours.run("epoch")},
            lambda: timed(lambda: sum(len(labels) for _, labels in theirs)), options.repeat)[""]
        ours.finish()
        table.row(f"loader, {'augmented' if augment else 'resize and crop'}",
                  f"torchvision, {options.workers} workers", ratios, seconds, f"{a:.0f} and {b} images")


WORK = {
    "step": step,
    "cheaper": cheaper,
    "memory": step_memory,
    "explain": explain,
    "integrated-gradients": integrated_gradients,
    "faithfulness": faithfulness,
    "loader": loader,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", nargs="*", choices=[*WORK, []], default=list(WORK))
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--size-px", type=int, default=224)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--archs", nargs="+", choices=list(ARCHS), default=list(ARCHS))
    parser.add_argument("--cam-batches", nargs="+", type=int, default=[16, 32, 64],
                        help="batch sizes of which pytorch-grad-cam gets its best")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--workers", type=int, default=2, help="of torchvision's loader")
    parser.add_argument("--images", type=pathlib.Path, help="folder of train/<class>/*")
    parser.add_argument("--precisions", nargs="+", choices=["f32", "bf16"], default=["f32", "bf16"],
                        help="of our forward passes, in explain and faithfulness")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message="Setting backward hooks|.*required_grads")
    if options.device != "cpu":
        torch.backends.cudnn.allow_tf32 = False
    table = Table()
    with tempfile.TemporaryDirectory() as folder:
        for work in options.work or WORK:
            WORK[work](table, pathlib.Path(folder), options)


if __name__ == "__main__":
    main()
