"""Heatmaps of the backbones by Captum, pytorch-grad-cam and the ScoreCAM paper's formula.

Weights and images are made by formula, so the files hold maps only. Gradients are taken in f64: in
f32 a pre-activation within rounding of zero would switch a ReLU and change a map by chance.
"""

import copy
import functools
import io
import warnings
from contextlib import redirect_stderr

import captum.attr
import numpy as np
import pytorch_grad_cam
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from torchvision.models.vision_transformer import interpolate_embeddings

from formula import fill_by_formula, formula_tensor

CLASSES = 10
# Classes that the images are explained for, set net by net to such that no map is empty.
TARGETS = [9, 7]
# Classes that these are compared with.
OTHERS = [2, 5]


def images(seed, size_px, count):
    return formula_tensor(f"explain.images.{seed}", (2, 3, size_px, size_px))[:count]


def out_of_place(net):
    """The same network with no in-place ReLU: hooks see tensors that nobody overwrites later."""
    for module in net.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return net


def resnet(make):
    net = make(num_classes=CLASSES).double().eval()
    fill_by_formula(net)
    return out_of_place(net)


class DenseNetWithModules(nn.Module):
    """torchvision's DenseNet with its last ReLU as a module, which hooks can find."""

    def __init__(self, net):
        super().__init__()
        self.features, self.relu5, self.classifier = net.features, nn.ReLU(), net.classifier

    def forward(self, x):
        x = self.relu5(self.features(x))
        return self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))


def vit(size_px, make=torchvision.models.vit_b_32):
    net = make(num_classes=CLASSES).double().eval()
    fill_by_formula(net)
    state = interpolate_embeddings(size_px, net.patch_size, net.state_dict())
    net = make(num_classes=CLASSES, image_size=size_px).double().eval()
    net.load_state_dict(state)
    return net


def patch_map(tokens):
    """[B,1+n·n,C] to [B,C,n,n] without the class token."""
    side = int((tokens.shape[1] - 1) ** 0.5)
    return tokens[:, 1:].transpose(1, 2).unflatten(2, (side, side))


def max_abs(attribution):
    return attribution.abs().amax(1)


def sum_abs(attribution):
    return attribution.abs().sum(1)


def gradient_maps(net, x, steps=16):
    target = TARGETS[: len(x)]
    integrated, delta = captum.attr.IntegratedGradients(net).attribute(
        x, target=target, n_steps=steps, internal_batch_size=20, return_convergence_delta=True
    )
    return {
        "saliency": max_abs(captum.attr.Saliency(net).attribute(x, target=target, abs=False)),
        "input-x-gradient": sum_abs(captum.attr.InputXGradient(net).attribute(x, target=target)),
        "guided-backprop": max_abs(captum.attr.GuidedBackprop(net).attribute(x, target=target)),
        "integrated-gradients": sum_abs(integrated),
        "completeness_error": delta,
        "steps": torch.tensor(steps),
    }


def guided_by_pytorch_grad_cam(net, x):
    """Signed, image by image; its ReLUs are replaced module by module."""
    model = pytorch_grad_cam.GuidedBackpropReLUModel(net, device="cpu")
    maps = [model(image[None].clone(), target_category=c) for image, c in zip(x, TARGETS)]
    out_of_place(net)
    return max_abs(torch.from_numpy(np.stack(maps).transpose(0, 3, 1, 2).copy()))


def guided_grad_cam(net, layer, x):
    method = captum.attr.GuidedGradCam(net, layer)
    target = TARGETS[: len(x)]
    return max_abs(method.attribute(x, target=target, interpolate_mode="bilinear"))


def class_activation_map(method, net, layer, x, reshape=None, targets=None):
    """pytorch-grad-cam's rectified map before it is scaled and resized, and after."""
    targets = targets or [
        pytorch_grad_cam.utils.model_targets.ClassifierOutputTarget(c) for c in TARGETS[: len(x)]
    ]
    with method(net, [layer], reshape_transform=reshape) as cam, redirect_stderr(io.StringIO()):
        raw = []
        compute = cam.get_cam_image

        def recording(*arguments, **options):
            raw.append(np.maximum(compute(*arguments, **options), 0))
            return raw[-1]

        cam.get_cam_image = recording
        final = cam(input_tensor=x.clone(), targets=targets)
    return torch.from_numpy(raw[0]), torch.from_numpy(final)


CAMS = {
    "grad-cam": pytorch_grad_cam.GradCAM,
    "grad-cam-plus-plus": pytorch_grad_cam.GradCAMPlusPlus,
    "layer-cam": pytorch_grad_cam.LayerCAM,
}


def cam_maps(net, layer, x, reshape=None, suffix=""):
    maps = {}
    for name, method in CAMS.items():
        raw, final = class_activation_map(method, net, layer, x, reshape)
        maps[f"{name}{suffix}"] = raw
        if name == "grad-cam" and not suffix:
            maps["grad-cam.final"] = final
    return maps


@torch.no_grad()
def score_cam_by_formula(net, layer, x, reshape=lambda a: a):
    """Σ_k p_k A_k, p_k the target's probability for the image masked with channel k scaled to
    [0,1]; channels that are constant over the image are skipped (arXiv:1910.01279)."""
    maps = []
    for image, target in zip(x, TARGETS):
        image = image[None]
        seen = []
        handle = layer.register_forward_hook(lambda _, __, output: seen.append(reshape(output)))
        net(image)
        handle.remove()
        activation = seen[0].clone()
        up = F.interpolate(activation, x.shape[2:], mode="bilinear")[0]
        low, high = up.amin((1, 2), keepdim=True), up.amax((1, 2), keepdim=True)
        (varied,) = torch.where((high > low).flatten())
        total = torch.zeros_like(activation[:, 0])
        for some in varied.split(64):
            masks = (up[some] - low[some]) / (high[some] - low[some])
            scores = net(image * masks[:, None]).softmax(1)[:, target]
            total += (scores[:, None, None] * activation[0, some]).sum(0)
        maps.append(total.relu())
    return torch.cat(maps)


def score_maps(net, layer, x, reshape=None, which=("probability", "softmax-logit")):
    maps = {}
    if "probability" in which:
        maps["score-cam"] = score_cam_by_formula(net, layer, x, reshape or (lambda a: a))
    if "softmax-logit" in which:
        raw, _ = class_activation_map(pytorch_grad_cam.ScoreCAM, net, layer, x, reshape)
        maps["score-cam.softmax-logit"] = raw
    return maps


def empty(maps):
    return [key for key, value in maps.items() if key != "steps" and not value.any()]


def write(out, name, seed, maps):
    maps = {key: value.detach().float().contiguous() for key, value in maps.items()}
    assert not empty(maps), f"{name}: {empty(maps)} are zero everywhere and would prove nothing"
    maps["seed"] = torch.tensor(seed)
    maps["targets"] = torch.tensor(TARGETS)
    versions = {
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "captum": captum.__version__,
        "grad-cam": "1.5.7",
    }
    save_file(maps, out / f"explain_{name}.safetensors", metadata=versions)


def resnet18(seed):
    net, x = resnet(torchvision.models.resnet18), images(seed, 64, 2)
    maps = gradient_maps(net, x, steps=50)
    maps["guided-backprop.pytorch-grad-cam"] = guided_by_pytorch_grad_cam(net, x[:1])
    maps["guided-grad-cam"] = guided_grad_cam(net, net.layer4, x)
    for rule in ["middle", "left", "right", "trapezoid"]:
        method = captum.attr.IntegratedGradients(net)
        map = method.attribute(x[:1], target=TARGETS[0], n_steps=8, method=f"riemann_{rule}")
        maps[f"integrated-gradients.riemann-{rule}"] = sum_abs(map)
    maps |= cam_maps(net, net.layer4, x)
    maps |= cam_maps(net, net.layer2, x, suffix=".layer2")
    small = images(seed, 33, 2).float()
    return maps | score_maps(net.float(), net.layer4, small)


def resnet50(seed):
    net, x = resnet(torchvision.models.resnet50), images(seed, 64, 1)
    maps = gradient_maps(net, x)
    maps["guided-grad-cam"] = guided_grad_cam(net, net.layer4, x)
    maps |= cam_maps(net, net.layer4, x)
    small = images(seed, 33, 1).float()  # layer4 is 2 × 2 from here on
    return maps | score_maps(net.float(), net.layer4, small)


def densenet121(seed):
    net, x = torchvision.models.densenet121(num_classes=CLASSES).double().eval(), images(seed, 64, 1)
    fill_by_formula(net)
    original = functools.partial(captum.attr.GuidedBackprop(net).attribute, target=TARGETS[:1])
    maps = {}
    # The last ReLU is a function there: Captum leaves it plain, and it overwrites norm5's output.
    maps["guided-backprop.last-relu-plain"] = max_abs(original(x))
    maps |= cam_maps(net, net.features.norm5, x, suffix=".norm5-overwritten")
    net = out_of_place(DenseNetWithModules(net))
    maps |= gradient_maps(net, x)
    maps["guided-grad-cam"] = guided_grad_cam(net, net.relu5, x)
    maps |= cam_maps(net, net.features.norm5, x, suffix=".norm5")
    maps |= cam_maps(net, net.relu5, x)
    return maps | score_maps(net.float(), net.relu5, x.float())


def vit_b_32(seed):
    net, x = vit(96), images(seed, 96, 1)
    maps = gradient_maps(net, x)
    maps |= cam_maps(net, net.encoder.layers[-1].ln_1, x, patch_map)
    net, x = vit(64).float(), images(seed, 64, 1).float()
    return maps | score_maps(net, net.encoder.layers[-1].ln_1, x, patch_map)


# The other networks, the side of their image and what names the layer of class-activation maps: each method
# once.
OTHER_NETWORKS = {
    "resnet34": (33, lambda net: net.layer4),
    "resnet101": (33, lambda net: net.layer4),
    "resnet152": (33, lambda net: net.layer4),
    "wide_resnet50_2": (33, lambda net: net.layer4),
    "resnext50_32x4d": (33, lambda net: net.layer4),
    "densenet161": (64, lambda net: net.relu5),
    "densenet169": (64, lambda net: net.relu5),
    "densenet201": (64, lambda net: net.relu5),
    "vgg16": (33, lambda net: net.features[29]),
    "vgg16_bn": (33, lambda net: net.features[42]),
    "vit_b_16": (32, lambda net: net.encoder.layers[-1].ln_1),
    "vit_l_16": (32, lambda net: net.encoder.layers[-1].ln_1),
    "vit_l_32": (64, lambda net: net.encoder.layers[-1].ln_1),
}


def other_network(name, seed):
    make = getattr(torchvision.models, name)
    size_px, layer_of = OTHER_NETWORKS[name]
    x, reshape = images(seed, size_px, 1), None
    if name.startswith("vit"):
        net, reshape = vit(size_px, make), patch_map
    else:
        net = make(num_classes=CLASSES).double().eval()
        fill_by_formula(net)
        if name.startswith("densenet"):
            net = DenseNetWithModules(net)
        net = out_of_place(net)
    for TARGETS[0] in range(CLASSES):
        maps = cam_maps(net, layer_of(net), x, reshape)
        if not empty(maps):
            break
    maps |= gradient_maps(net, x, steps=4)
    which = ["probability"]
    return maps | score_maps(net.float(), layer_of(net), x.float(), reshape, which)


# Scalars of the logits [..., K] of an image that are no class's, given two classes.
SCALARS = {
    "difference": lambda z, target, other: z[..., target] - z[..., other],
    "log-probability": lambda z, target, other: z.log_softmax(-1)[..., target],
    "free-energy": lambda z, target, other: z.logsumexp(-1),
}


ATTRIBUTIONS = {
    "saliency": (captum.attr.Saliency, max_abs, {"abs": False}),
    "input-x-gradient": (captum.attr.InputXGradient, sum_abs, {}),
    "guided-backprop": (captum.attr.GuidedBackprop, max_abs, {}),
    "integrated-gradients": (captum.attr.IntegratedGradients, sum_abs, {"n_steps": 16}),
}


class OfLogits(nn.Module):
    """A network with a scalar of its logits in their place."""

    def __init__(self, net, scalar):
        super().__init__()
        self.net, self.scalar = net, scalar

    def forward(self, x):
        return self.scalar(self.net(x))


def targets(seed):
    """ResNet-18 explained for other scalars than a class's logit, image by image."""
    net, x = resnet(torchvision.models.resnet18), images(seed, 64, 2)
    small = images(seed, 33, 2)
    maps = {"others": torch.tensor(OTHERS)}
    for name, scalar in SCALARS.items():
        of = [functools.partial(scalar, target=t, other=o) for t, o in zip(TARGETS, OTHERS)]
        for key, (method, reduce, options) in ATTRIBUTIONS.items():
            rows = [
                method(OfLogits(net, f)).attribute(image[None], **options)
                for f, image in zip(of, small)
            ]
            maps[f"{name}.{key}"] = reduce(torch.cat(rows))
        for key, method in CAMS.items():
            raw, _ = class_activation_map(method, net, net.layer4, x, targets=of)
            maps[f"{name}.{key}"] = raw
        single = copy.deepcopy(net).float()
        raw, _ = class_activation_map(
            pytorch_grad_cam.ScoreCAM, single, single.layer4, small.float(), targets=of
        )
        maps[f"{name}.score-cam.softmax-logit"] = raw
    return maps


def make(out, seed):
    warnings.filterwarnings("ignore", message="Setting backward hooks|.*required_grads")
    for net in [resnet18, resnet50, densenet121, vit_b_32, targets]:
        TARGETS[0] = 3 if net is vit_b_32 else 9
        write(out, net.__name__, seed, net(seed))
    for name in OTHER_NETWORKS:
        write(out, name, seed, other_network(name, seed))
