#!/usr/bin/env python3
"""Times an S-IB step of a ResNet in JAX, compiled as a whole by XLA: the strongest peer on a GPU.

    python3 -m pip install jax          # jax[cuda13] on a GPU
    scripts/bench_jax.py [--archs resnet18 resnet50] [--batch-size N] [--precision f32|tf32|bf16] [--repeat N]

A row is like those of bench_peers.py: median seconds of a plain and of an S-IB step. The weights are random, which no
time depends on; the objective is that of bench_peers.py, AdamW included. XLA has no step of this project beside it:
run `sib-cli bench step` on the same machine for the ratio.
"""

import argparse
import functools
import statistics
import time

import jax
import jax.numpy as jnp
from jax import lax

STAGES = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}


def kernel(key, side, inputs, outputs):
    return jax.random.normal(key, (side, side, inputs, outputs)) * (2 / (side * side * outputs)) ** 0.5


def new_network(arch, classes=1000):
    """Parameters as a list that `logits` takes in order."""
    keys = iter(jax.random.split(jax.random.PRNGKey(0), 200))
    norm = lambda channels: (jnp.ones(channels), jnp.zeros(channels))
    conv = lambda side, inputs, outputs: (kernel(next(keys), side, inputs, outputs), norm(outputs))
    bottleneck = arch == "resnet50"
    widen = 4 if bottleneck else 1
    parameters, channels = [conv(7, 3, 64)], 64
    for stage, depth in enumerate(STAGES[arch]):
        width = 64 * 2**stage
        for block in range(depth):
            stride, outputs = (2 if stage > 0 and block == 0 else 1), width * widen
            layers = ([conv(1, channels, width), conv(3, width, width), conv(1, width, outputs)]
                      if bottleneck else [conv(3, channels, width), conv(3, width, width)])
            shortcut = conv(1, channels, outputs) if stride > 1 or channels != outputs else None
            parameters.append((layers, shortcut))
            channels = outputs
    head = jax.random.normal(next(keys), (channels, classes)) * channels**-0.5
    return parameters + [(head, jnp.zeros(classes))]


def convolve(x, weights, stride, kind):
    side = weights.shape[0] // 2
    return lax.conv_general_dilated(
        x.astype(kind), weights.astype(kind), (stride, stride), [(side, side)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"))


def normalise(x, scale, shift):
    wide = x.astype(jnp.float32)
    mean = wide.mean((0, 1, 2))
    variance = jnp.square(wide - mean).mean((0, 1, 2))
    return ((wide - mean) * lax.rsqrt(variance + 1e-5) * scale + shift).astype(x.dtype)


def layer(x, parameters, stride, kind):
    weights, norm = parameters
    return normalise(convolve(x, weights, stride, kind), *norm)


def logits(arch, kind, parameters, images):
    stem, *blocks, (head, offset) = parameters
    x = jax.nn.relu(layer(images, stem, 2, kind))
    x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1),
                          [(0, 0), (1, 1), (1, 1), (0, 0)])
    firsts = [sum(STAGES[arch][:stage]) for stage in (1, 2, 3)]
    for number, (layers, shortcut) in enumerate(blocks):
        stride = 2 if number in firsts else 1
        # The second convolution of a bottleneck has the stride, the first of a basic block.
        strides = [1, stride, 1] if len(layers) == 3 else [stride, 1]
        y = x
        for place, (parameters, by) in enumerate(zip(layers, strides)):
            y = layer(y, parameters, by, kind)
            if place + 1 < len(layers):
                y = jax.nn.relu(y)
        x = jax.nn.relu(y + (layer(x, shortcut, stride, kind) if shortcut else x))
    return x.astype(jnp.float32).mean((1, 2)) @ head + offset


def cross_entropy(z, labels):
    return -jnp.take_along_axis(jax.nn.log_softmax(z), labels[:, None], 1).mean()


def soft_quantile(rows, q, temperature=0.1):
    ordered, n = jnp.sort(rows, -1), rows.shape[1]
    distance = jnp.abs(jnp.arange(n) - q * (n - 1))
    return (ordered * jax.nn.softmax(-distance / temperature)).sum(-1, keepdims=True)


def s_ib_loss(arch, kind, parameters, images, labels):
    def scalar(images):
        z = logits(arch, kind, parameters, images)
        return jnp.square(jax.nn.softmax(z)).sum() / 2, z

    r, z = jax.grad(scalar, has_aux=True)(images)
    batch, side = r.shape[0], r.shape[1]
    g = jnp.abs(r.mean(-1)).reshape(batch, -1)
    low, high = soft_quantile(g, 0.05), soft_quantile(g, 0.95)
    g = (g - low) / (high - low + 1e-8)
    strong = jax.nn.sigmoid(10 * (g - soft_quantile(g, 0.8))).reshape(batch, side, side)
    window = max(3, 2 * round((31 * side / 224 - 1) / 2) + 1)
    sums = lax.reduce_window(strong, 0.0, lax.add, (1, window, window), (1, 1, 1), "SAME")
    density = (sums / window**2).reshape(batch, -1)
    mask = jax.nn.sigmoid(10 * (density - soft_quantile(density, 0.8))).reshape(batch, side, side, 1)
    rows = [(t * mask).reshape(batch, -1) for t in (r, images)]
    rows = [t / jnp.maximum(jnp.linalg.norm(t, axis=1, keepdims=True), 1e-12) for t in rows]
    centre = jnp.eye(batch) - 1 / batch
    k, l = (t @ t.T for t in rows)
    hsic = jnp.trace(k @ centre @ l @ centre) / (batch - 1) ** 2
    background = (r * (1 - mask)).reshape(batch, -1).var(1, ddof=1).mean()
    return cross_entropy(z, labels) + 1000 * background - 0.01 * hsic


def plain_loss(arch, kind, parameters, images, labels):
    return cross_entropy(logits(arch, kind, parameters, images), labels)


@functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=(3,))
def step(loss, arch, kind, state, images, labels):
    parameters, first, second, count = state
    value, gradients = jax.value_and_grad(loss, argnums=2)(arch, kind, parameters, images, labels)
    count = count + 1
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradients)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradients)
    def moved(p, m, v):
        update = m / (1 - 0.9**count) / (jnp.sqrt(v / (1 - 0.999**count)) + 1e-8)
        return p * (1 - 1e-8) - 1e-4 * update
    parameters = jax.tree.map(moved, parameters, first, second)
    return value, (parameters, first, second, count)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archs", nargs="+", choices=list(STAGES), default=list(STAGES))
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--size-px", type=int, default=224)
    parser.add_argument("--precision", choices=["f32", "tf32", "bf16"], default="f32")
    parser.add_argument("--repeat", type=int, default=7)
    options = parser.parse_args()
    jax.config.update("jax_default_matmul_precision",
                      "tensorfloat32" if options.precision == "tf32" else "highest")
    kind = jnp.bfloat16 if options.precision == "bf16" else jnp.float32
    print("work,seconds,q1,q3,loss,compiled_in_s")
    for arch in options.archs:
        size = (options.batch_size, options.size_px, options.size_px, 3)
        images = jax.random.normal(jax.random.PRNGKey(1), size)
        labels = jnp.arange(options.batch_size) % 1000
        for name, loss in [("plain", plain_loss), ("S-IB", s_ib_loss)]:
            parameters = new_network(arch)
            zeros = jax.tree.map(jnp.zeros_like, parameters)
            state = parameters, zeros, jax.tree.map(jnp.zeros_like, parameters), jnp.zeros(())
            seconds = []
            for _ in range(options.repeat + 2):
                started = time.perf_counter()
                value, state = step(loss, arch, kind, state, images, labels)
                value.block_until_ready()
                jax.block_until_ready(state)
                seconds.append(time.perf_counter() - started)
            q1, median, q3 = statistics.quantiles(seconds[2:], n=4)
            print(f"{name} step in {options.precision} by JAX {arch} B {options.batch_size},"
                  f"{median:.4f},{q1:.4f},{q3:.4f},{float(value):.4f},{seconds[0]:.0f}", flush=True)


if __name__ == "__main__":
    main()
