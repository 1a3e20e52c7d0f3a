#!/usr/bin/env python3
"""An image of one program, as an archive that `ctr images import` takes.

    image.py NAME:TAG PROGRAM ARCHIVE [PATH...]

PATHs are where the image has the program: /program by default.
"""
import hashlib
import io
import json
import sys
import tarfile


def add(archive, name, content, mode=0o644):
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))


def main():
    name, program, path = sys.argv[1:4]
    paths = sys.argv[4:] or ["/program"]
    layer = io.BytesIO()
    with open(program, "rb") as file, tarfile.open(fileobj=layer, mode="w") as archive:
        content = file.read()
        for each in paths:
            add(archive, each.lstrip("/"), content, 0o755)
    layer = layer.getvalue()
    config = json.dumps({
        "architecture": "amd64", "os": "linux", "config": {"Entrypoint": [paths[0]], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
    }).encode()
    config_name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": ["layer.tar"]}]
    with tarfile.open(path, "w") as archive:
        add(archive, "manifest.json", json.dumps(manifest).encode())
        add(archive, config_name, config)
        add(archive, "layer.tar", layer)


if __name__ == "__main__":
    main()
