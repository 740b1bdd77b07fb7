"""Writes fuzz/seeds/TARGET: small files as other software writes them, from which fuzzing begins.

    SIB_CLI=target/debug/sib-cli python fuzz/seeds.py        # torch, numpy, scipy, Pillow, safetensors

The folders of runs, evaluations and explanations are the program's own, of one epoch on built-in data, their files joined
by lines `----`. Seeds are kept in the repository; those that coverage adds are not.
"""

import io
import os
import re
import subprocess
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import scipy.io
import torch
from PIL import Image, features
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent


def write(target, name, content):
    folder = HERE / "seeds" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def saved(value, **options):
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def weights():
    torch.manual_seed(0)
    state = {"fc.weight": torch.randn(2, 3), "fc.bias": torch.zeros(2), "bn1.num_batches_tracked": torch.tensor(4)}
    base = torch.arange(12.0)
    odd = {
        "module.fc.weight": base.view(3, 4).t()[:2, :3],
        "module.fc.bias": torch.nn.Parameter(base[3:5]),
        "module.half": base.half(),
        "module.bf16": base.bfloat16(),
        "module.scalar": torch.tensor(1.5, dtype=torch.float64),
    }
    checkpoint = {"epoch": 3, "arch": "resnet18", "state_dict": odd, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}}
    for name, value in {"plain": state, "nested": checkpoint}.items():
        write("weights", f"{name}.zip", saved(value))
        write("weights", f"{name}.legacy", saved(value, _use_new_zipfile_serialization=False))
    write("weights", "protocol4.legacy", saved(state, _use_new_zipfile_serialization=False, pickle_protocol=4))
    with tempfile.TemporaryDirectory() as folder:
        save_file(state, Path(folder) / "file")
        write("weights", "plain.safetensors", (Path(folder) / "file").read_bytes())


def checkpoint(folder):
    # The header as it is, with tensors of no elements.
    with open(folder / "run/checkpoints/best.safetensors", "rb") as file:
        header = file.read(int.from_bytes(file.read(8), "little"))
    strings = re.match(rb'\{"__metadata__":(\{(?:[^"}]|"(?:\\.|[^"\\])*")*\})', header).group(1)
    tensor = b'"fc.bias":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'
    header = b'{"__metadata__":' + strings + b"," + tensor + b"}"
    write("checkpoint", "best.safetensors", len(header).to_bytes(8, "little") + header + bytes(8))


def picture(mode, size=(9, 7)):
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    return Image.fromarray(pixels, "RGBA").convert("RGB").convert(mode)


def encoded(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def images():
    exif = Image.Exif()
    exif[0x0112] = 6
    jpegs = {
        "baseline": ("RGB", {}),
        "progressive": ("RGB", {"progressive": True, "subsampling": 2}),
        "grey": ("L", {"optimize": True}),
        "cmyk": ("CMYK", {"subsampling": 0}),
        "turned": ("RGB", {"exif": exif, "restart_marker_rows": 1}),
    }
    for name, (mode, options) in jpegs.items():
        write("image", f"{name}.jpg", encoded(picture(mode), "JPEG", **options))
    for mode in ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"]:
        image = picture("L").convert("I;16") if mode == "I;16" else picture(mode)
        write("image", f"{mode.replace(';', '')}.png", encoded(image, "PNG"))
    write("image", "transparent.gif", encoded(picture("P"), "GIF", transparency=3))
    frames = [picture("P", (9, 7)), picture("P", (5, 4))]
    write("image", "frames.gif", encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], interlace=1))
    if features.check("webp"):
        write("image", "lossy.webp", encoded(picture("RGB"), "WEBP"))
        write("image", "lossless.webp", encoded(picture("RGBA"), "WEBP", lossless=True))
    for mode in ["RGB", "P", "1"]:
        write("image", f"{mode}.bmp", encoded(picture(mode), "BMP"))
    for compression in ["raw", "tiff_lzw", "tiff_deflate", "packbits"]:
        write("image", f"{compression}.tiff", encoded(picture("RGB"), "TIFF", compression=compression))
    write("image", "fax.tiff", encoded(picture("1"), "TIFF", compression="group4"))
    for mode in ["RGB", "L", "1"]:
        write("image", f"{mode}.pnm", encoded(picture(mode), "PPM"))
    for mode in ["L", "P", "1", "RGB"]:
        write("mask", f"{mode}.png", encoded(picture(mode, (8, 8)), "PNG"))
    trimap = Image.fromarray((np.arange(64, dtype=np.uint8) % 3 + 1).reshape(8, 8))
    write("mask", "trimap.png", encoded(trimap, "PNG"))


def annotations():
    bounds = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30.5</xmax><ymax>40</ymax></bndbox>"
    objects = "".join(f"<object><name>dog &amp; cat</name><truncated>{i}</truncated>{bounds}</object>" for i in range(2))
    size = "<size><width>50</width><height>60</height><depth>3</depth></size>"
    write("voc", "two.xml", f'<?xml version="1.0"?><annotation><folder>a</folder>{size}{objects}</annotation>')
    write("voc", "utf16.xml", f"<annotation>{objects}</annotation>".encode("utf-16"))
    for compressed in [False, True]:
        file = io.BytesIO()
        names = np.array(["n1-a/b_1.jpg", "n2-c/d_2.jpg"], dtype=object)
        names = {"file_list": names.reshape(2, 1), "labels": np.array([[1.0], [2.0]])}
        names["annotation_list"] = np.array([["n1-a/b_1"], ["n2-c/d_2"]], dtype=object)
        scipy.io.savemat(file, names, do_compression=compressed)
        write("mat", "compressed.mat" if compressed else "plain.mat", file.getvalue())
    write("cifar", "one.bin", bytes([3, 77]) + bytes(range(256)) * 12)
    write("lists", "splits.csv", "image,split\ncats/a.jpg,train\ncats/b.jpg,val\ndogs/c d.jpg,test\n")
    write("lists", "boxes.csv", 'image,x0,y0,x1,y1\ncats/a.jpg,1,2,30.5,4e1\n"dogs/c, d.jpg",0,0,5,5\n')
    write("lists", "names.txt", "1 001.Black_footed_Albatross\n2 002.Laysan Albatross\n")
    write("lists", "bounding_boxes.txt", "1 60.0 27.0 325.0 304.0\n2 139.0 30.0 153.0 264.0\n")
    write("lists", "trainval.txt", "#Image CLASS-ID SPECIES BREED ID\nAbyssinian_100 1 1 1\nbasset_hound_2 5 2 4\n")
    write("classes", "names.txt", "\ufeffcat\r\n  black dog \n\nB\u00e4r\n")


def arrays():
    values = np.linspace(0, 1, 16).reshape(4, 4)
    for name in ["f4", ">f8", "f2", "i8", ">u2", "?"]:
        file = io.BytesIO()
        np.save(file, np.asarray(values * 3, dtype=name))
        write("npy", f"{name.replace('>', 'big-').replace('?', 'bool')}.npy", file.getvalue())
    for version in [(2, 0), (3, 0)]:
        file = io.BytesIO()
        np.lib.format.write_array(file, np.asfortranarray(values), version)
        write("npy", f"version-{version[0]}.npy", file.getvalue())


def without_machine(text):
    """Without what would be of the machine that the seeds were made on."""
    return re.sub(r'"(/[^"]*)"', '"/path"', text)


def folders(folder):
    program = os.environ["SIB_CLI"]
    program = program if os.path.isabs(program) else REPOSITORY / program

    def run(*arguments):
        subprocess.run([program, "-q", *arguments], cwd=folder, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})

    def joined(target, name, files, lines):
        parts = (without_machine((folder / file).read_text()).splitlines(keepends=True)[:lines] for file in files)
        write(target, name, "----\n".join("".join(part) + "\n" for part in parts))

    sizes = ["data.synthetic.train_images=20", "data.synthetic.test_images=10"]
    pixels = ["data.preprocessing.resize_px=32", "data.preprocessing.crop_px=32"]
    settings = [f"--set={it}" for it in [*sizes, *pixels, "train.epochs=1", "train.batch_size=10"]]
    run("train", "--data", "synthetic", "--arch", "resnet18", "--sib", "--output", "run", *settings)
    run("evaluate", "--checkpoint", "run", "--data", "synthetic", "--output", "evaluation", "--suite", "accuracy,localization", "--method", "saliency")
    run("data", "export", "--data", "synthetic", "--split", "test", "--output", "images", "--limit", "2")
    run("explain", "--checkpoint", "run", "--image", "images", "--method", "saliency", "--output", "explanation")
    joined("run", "run", ["run/environment.toml", "run/metrics.csv", "run/status.toml"], 100)
    joined("evaluation", "all", [f"evaluation/{it}" for it in ("evaluation.toml", "summary.csv", "per_image.csv")], 150)
    joined("explanation", "all", [f"explanation/{it}" for it in ("explanation.toml", "manifest.csv")], 150)
    write("config", "reference.toml", (REPOSITORY / "configs/reference.toml").read_bytes())
    write("config", "stored.toml", without_machine((folder / "run/config.toml").read_text()))
    checkpoint(folder)


if __name__ == "__main__":
    weights()
    images()
    annotations()
    arrays()
    with tempfile.TemporaryDirectory() as place:
        folders(Path(place))
