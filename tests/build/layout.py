#!/usr/bin/env python3
"""Makes an OCI layout of images whose layers are trees. A tree that several images share is packed once.

usage: layout.py LAYOUT (NAME CONFIG-JSON TREE...) -- ...
"""
import hashlib
import json
import os
import subprocess
import sys
import zlib

CREATED = "2024-01-02T03:04:05Z"
MEDIA = "application/vnd.oci.image."


class Layout:
    def __init__(self, folder):
        self.blobs = os.path.join(folder, "blobs", "sha256")
        self.packed = {}
        os.makedirs(self.blobs, exist_ok=True)

    def put(self, data, media):
        digest = hashlib.sha256(data).hexdigest()
        with open(os.path.join(self.blobs, digest), "wb") as out:
            out.write(data)
        return {"mediaType": MEDIA + media, "digest": "sha256:" + digest, "size": len(data)}

    def layer(self, tree):
        """The descriptor of the tree as a compressed layer, and its diff id."""
        if tree not in self.packed:
            words = ["tar", "-C", tree, "--numeric-owner", "--xattrs", "--xattrs-exclude=trusted.*", "--sort=name", "-cf", "-", "."]
            packer = subprocess.Popen(words, stdout=subprocess.PIPE)
            press, plain, digest, size = zlib.compressobj(1, wbits=31), hashlib.sha256(), hashlib.sha256(), 0
            part = os.path.join(self.blobs, "part")
            with open(part, "wb") as out:
                for piece in iter(lambda: packer.stdout.read(1 << 20), b""):
                    plain.update(piece)
                    pressed = press.compress(piece)
                    digest.update(pressed)
                    size += out.write(pressed)
                rest = press.flush()
                digest.update(rest)
                size += out.write(rest)
            if packer.wait() != 0:
                raise SystemExit(f"tar failed on {tree}")
            os.rename(part, os.path.join(self.blobs, digest.hexdigest()))
            found = {"mediaType": MEDIA + "layer.v1.tar+gzip", "digest": "sha256:" + digest.hexdigest(), "size": size}
            self.packed[tree] = found, "sha256:" + plain.hexdigest()
        return self.packed[tree]

    def image(self, name, config, trees):
        layers = [self.layer(tree) for tree in trees]
        text = json.dumps({
            "architecture": "arm64" if os.uname().machine == "aarch64" else "amd64",
            "os": "linux",
            "created": CREATED,
            "config": json.loads(config),
            "rootfs": {"type": "layers", "diff_ids": [diff for _, diff in layers]},
            "history": [{"created": CREATED, "created_by": os.path.basename(tree)} for tree in trees],
        })
        manifest = {
            "schemaVersion": 2,
            "mediaType": MEDIA + "manifest.v1+json",
            "config": self.put(text.encode(), "config.v1+json"),
            "layers": [layer for layer, _ in layers],
        }
        found = self.put(json.dumps(manifest).encode(), "manifest.v1+json")
        return found | {"annotations": {"org.opencontainers.image.ref.name": name}}


def main():
    layout, images, group = Layout(sys.argv[1]), [], []
    for word in sys.argv[2:] + ["--"]:
        if word != "--":
            group.append(word)
            continue
        images.append(layout.image(group[0], group[1], group[2:]))
        group = []
    with open(os.path.join(sys.argv[1], "index.json"), "w") as out:
        json.dump({"schemaVersion": 2, "manifests": images}, out)
    with open(os.path.join(sys.argv[1], "oci-layout"), "w") as out:
        json.dump({"imageLayoutVersion": "1.0.0"}, out)


main()
