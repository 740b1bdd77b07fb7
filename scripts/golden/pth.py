"""Small PyTorch files of every container and element kind, what PyTorch reads from them, and files
that a reader must refuse."""

import argparse
import datetime
import enum
import io
import os
import pathlib
import struct
import zipfile
from collections import Counter, OrderedDict, defaultdict, deque

import numpy as np
import torch
from safetensors.torch import save_file


def tensors(seed: int) -> OrderedDict:
    generator = torch.Generator().manual_seed(seed)

    def random(*shape, dtype=torch.float32):
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    base = random(4, 6)
    return OrderedDict(
        float=base,
        double=random(3, 2, dtype=torch.float64),
        half=random(5, dtype=torch.float16),
        bfloat16=random(5, dtype=torch.bfloat16),
        long=torch.tensor([-3, 2**40]),
        int=torch.tensor([7, -8], dtype=torch.int32),
        short=torch.tensor([-300], dtype=torch.int16),
        char=torch.tensor([-100, 100], dtype=torch.int8),
        byte=torch.tensor([200, 3], dtype=torch.uint8),
        bool=torch.tensor([True, False, True]),
        # Views of one storage.
        row=base[1],
        column=base[:, 2],
        transposed=base.t(),
        steps=base[1::2, ::3],
        expanded=base[:1, :1].expand(3, 4),
        counter=torch.tensor(12),
        empty=torch.zeros(0, 3),
        parameter=torch.nn.Parameter(random(2, 2)),
    )


def saved(value, **options) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def nested(state: OrderedDict) -> dict:
    """A training checkpoint, as from DataParallel."""
    wrapped = OrderedDict((f"module.{key}", value) for key, value in state.items())
    return {"epoch": 3, "lr": 0.1, "best": None, "done": True, "notes": ["a", (1, 2)], "state_dict": wrapped}


class Interpolation(enum.Enum):
    BILINEAR = "bilinear"


class Settings(dict):
    """A configuration as many libraries have it: a dict with attributes."""

    def __init__(self, **items):
        super().__init__(**items)
        self.frozen = True


def training(state: OrderedDict) -> dict:
    """What training scripts save beside the weights."""
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[2, 2, 3])
    marked = torch.nn.Parameter(state["double"])
    marked.is_expert = True
    options = dict(
        path=pathlib.PurePosixPath("/data"), started=datetime.datetime(2024, 1, 2), seed=2**200,
        size=torch.Size([3, 224]), device=torch.device("cpu"), dtype=torch.bfloat16,
        interpolation=Interpolation.BILINEAR,
    )  # fmt: skip
    return {
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": scheduler.state_dict(),
        "args": argparse.Namespace(**options),
        "hyper_parameters": Settings(**options),
        "best": np.float64(0.5),
        "history": np.arange(3),
        "random": torch.get_rng_state(),
        "tags": {"a"},
        "labels": frozenset([1, 2]),
        "counts": defaultdict(list, a=[1]),
        "last": deque([1.0], maxlen=3),
        "votes": Counter("aab"),
        "raw": b"bytes",
        "state_dict": OrderedDict(state, double=marked),
    }


class Evil:
    """Runs a program where it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch opened-by-a-pickle",)


def rewritten(archive: bytes, change, compression=zipfile.ZIP_STORED) -> bytes:
    """The zip file with `change(name, data)` in place of each member's data."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            # A ZipInfo of its own has a fixed date.
            new.writestr(zipfile.ZipInfo(name), change(name, old.read(name)), compression)
    return buffer.getvalue()


def big_endian(archive: bytes) -> bytes:
    """A file of f32 only, as a big-endian machine writes it."""

    def change(name: str, data: bytes) -> bytes:
        if name.endswith("/byteorder"):
            return b"big"
        if "/data/" in name:
            return b"".join(data[i : i + 4][::-1] for i in range(0, len(data), 4))
        return data

    return rewritten(archive, change)


def overlapping(archive: bytes, copies: int) -> bytes:
    """A zip file whose directory lists the bytes of one member many times over."""
    with zipfile.ZipFile(io.BytesIO(archive)) as old:
        info = next(i for i in old.infolist() if i.filename.endswith("/data/0"))
        start = old.start_dir
    name = info.filename
    directory = b""
    for i in range(copies):
        entry = f"{name[: name.rindex('/')]}/{i}".encode()
        directory += struct.pack(
            "<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 0, 0, 0, info.CRC, info.file_size, info.file_size,
            len(entry), 0, 0, 0, 0, 0, info.header_offset,
        ) + entry  # fmt: skip
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, copies, copies, len(directory), start, 0)
    return archive[:start] + directory + end


def make(out, seed) -> None:
    torch.manual_seed(seed)
    state = tensors(seed)
    files = {
        "flat_zip": saved(state),
        "nested_zip": saved(nested(state)),
        "flat_legacy": saved(state, _use_new_zipfile_serialization=False),
        "nested_legacy": saved(nested(state), _use_new_zipfile_serialization=False),
        "protocol4_zip": saved(state, pickle_protocol=4),
    }
    files["average_zip"] = saved({"epoch": 3, "state_dict_ema": state})
    beside = training(state)
    files["training_zip"] = saved(beside)
    files["training_legacy"] = saved(beside, _use_new_zipfile_serialization=False)
    files["training_protocol5_zip"] = saved(beside, pickle_protocol=5)
    floats = OrderedDict((key, state[key]) for key in ["float", "column"])
    files["big_endian_zip"] = big_endian(saved(floats))
    for name, data in files.items():
        read = torch.load(io.BytesIO(data), weights_only=False)
        read = read.get("state_dict", read.get("state_dict_ema", read))
        for key, value in read.items():
            assert torch.equal(value, state[key.removeprefix("module.")]), (name, key)

    strange = {
        "sparse": torch.eye(3).to_sparse(),
        "quantised": torch.quantize_per_tensor(state["float"], 0.1, 0, torch.qint8),
        "complex": torch.complex(state["float"], state["float"]),
        "meta": torch.empty(2, 3, device="meta"),
        "numpy": state["float"].numpy(),
        "float8": state["float"].to(torch.float8_e4m3fn),
    }
    for name, value in strange.items():
        files[f"{name}_zip"] = saved(OrderedDict(bias=state["float"], weight=value))
    files["module_zip"] = saved(torch.nn.Linear(2, 2))
    # Its members with code are compressed.
    script, exported = io.BytesIO(), io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), script)
    torch.export.save(torch.export.export(torch.nn.Linear(2, 2), (torch.ones(1, 2),)), exported)
    files.update(script_zip=script.getvalue(), exported_zip=exported.getvalue())

    evil = OrderedDict(state, hook=Evil())
    files["evil_zip"] = saved(evil)
    files["evil_legacy"] = saved(evil, _use_new_zipfile_serialization=False)
    large = saved({"weight": torch.zeros(2**21)})
    files["compressed_zip"] = rewritten(large, lambda _, data: data, zipfile.ZIP_DEFLATED)
    files["overlapping_zip"] = overlapping(saved({"weight": torch.ones(1024)}), copies=100)
    endless = torch.zeros(1).expand(10**12, 512)
    files["endless_zip"] = saved({"fc.weight": endless})
    files["endless_legacy"] = saved({"fc.weight": endless}, _use_new_zipfile_serialization=False)
    for name, data in files.items():
        (out / f"pth_{name}.pth").write_bytes(data)

    def as_read(value: torch.Tensor) -> torch.Tensor:
        value = value.detach().float() if value.is_floating_point() else value
        return value.contiguous().clone()

    expected = {key: as_read(value) for key, value in state.items()}
    save_file(expected, out / "pth_expected.safetensors", metadata={"torch": torch.__version__})
