#!/usr/bin/env python3
"""Writes what an image in a docker-registry's storage is: OUT.tree, one line for each file of the merged layers, and
OUT.config, its configuration and history without what differs from run to run.

usage: image.py STORAGE NAME:TAG OUT CACHE START --buildkit|--classic
START: seconds; what was changed later is only "new". CACHE: a folder that keeps what is known of layers.
--classic: the classic builder's history has words of its own and no layer for a WORKDIR that is there, so that neither is
compared; nor is what BuildKit says without meaning.
"""
import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import tarfile

KINDS = {tarfile.DIRTYPE: "dir", tarfile.SYMTYPE: "link", tarfile.CHRTYPE: "char", tarfile.BLKTYPE: "block",
         tarfile.FIFOTYPE: "fifo"}


class Storage:
    def __init__(self, folder):
        self.root = os.path.join(folder, "docker", "registry", "v2")

    def digest(self, name):
        repository, tag = name.rsplit(":", 1)
        with open(os.path.join(self.root, "repositories", repository, "_manifests", "tags", tag, "current", "link")) as link:
            return link.read().strip()

    def path(self, digest):
        text = digest.split(":")[1]
        return os.path.join(self.root, "blobs", "sha256", text[:2], text, "data")

    def document(self, digest):
        with open(self.path(digest), "rb") as file:
            return json.load(file)


def opened(path):
    """The layer's plain bytes, whatever it is compressed with."""
    with open(path, "rb") as file:
        magic = file.read(4)
    if magic == b"\x28\xb5\x2f\xfd":
        return io.BytesIO(subprocess.run(["zstd", "-dc", path], check=True, stdout=subprocess.PIPE).stdout)
    return open(path, "rb")


def members(path):
    """A layer's members in their order, as dictionaries."""
    found = []
    with opened(path) as file, tarfile.open(fileobj=file, mode="r|*", errorlevel=2) as archive:
        for member in archive:
            sum256 = ""
            if member.isreg():
                digest = hashlib.sha256()
                data = archive.extractfile(member)
                for piece in iter(lambda: data.read(1 << 20), b""):
                    digest.update(piece)
                sum256 = digest.hexdigest()
            xattrs = {key[13:]: value for key, value in member.pax_headers.items() if key.startswith("SCHILY.xattr.")}
            found.append({
                "name": os.path.normpath("/" + member.name).replace("//", "/"),
                "kind": "hard" if member.islnk() else KINDS.get(member.type, "file"),
                "mode": member.mode, "owner": f"{member.uid}:{member.gid}", "size": member.size, "sum": sum256,
                "target": member.linkname, "mtime": int(member.mtime), "xattrs": xattrs,
                "device": f"{member.devmajor}:{member.devminor}",
            })
    return found


def layer(storage, cache, digest):
    kept = os.path.join(cache, digest.replace(":", "-"))
    if os.path.exists(kept):
        with open(kept, "rb") as file:
            return pickle.load(file)
    found = members(storage.path(digest))
    with open(kept, "wb") as file:
        pickle.dump(found, file)
    return found


def remove(tree, name, itself=True):
    below = name.rstrip("/") + "/"
    for path in [path for path in tree if path.startswith(below) or (itself and path == name)]:
        del tree[path]


def apply(tree, entries):
    """Lays a layer on the tree: first what it takes away, then what it brings."""
    for entry in entries:
        folder, base = os.path.split(entry["name"])
        if base == ".wh..wh..opq":
            remove(tree, folder, itself=False)
        elif base.startswith(".wh.") and not base.startswith(".wh..wh."):
            remove(tree, os.path.join(folder, base[4:]))
    for entry in entries:
        name = entry["name"]
        if os.path.basename(name).startswith(".wh."):
            continue
        if entry["kind"] == "hard":
            target = os.path.normpath("/" + entry["target"]).replace("//", "/")
            if target not in tree:
                raise SystemExit(f"{name}: a hard link to {target}, which is not there")
            entry = tree[target]
        elif entry["kind"] != "dir" or name in tree and tree[name]["kind"] != "dir":
            remove(tree, name)
        tree[name] = entry


def lines(tree, start):
    names = {}
    for path in sorted(tree):
        names.setdefault(id(tree[path]), []).append(path)
    for path in sorted(tree):
        entry = tree[path]
        same = names[id(entry)]
        words = [path.encode("unicode_escape").decode() if path.isascii() else repr(path), entry["kind"],
                 f"{entry['mode'] & 0o7777:o}", entry["owner"]]
        if entry["kind"] == "file":
            words += [str(entry["size"]), entry["sum"][:16]]
        elif entry["kind"] == "link":
            words.append("-> " + entry["target"])
        elif entry["kind"] in ("char", "block"):
            words.append(entry["device"])
        words.append(f"at {entry['mtime']}" if entry["mtime"] < start else "new")
        words += [f"{key}={value!r}" for key, value in sorted(entry["xattrs"].items())]
        if len(same) > 1:
            words.append("same as " + same[0])
        yield " ".join(words)


def filled(value):
    return value not in (None, False, "", [], {})


def configuration(document, manifest, classic):
    config = {key: value for key, value in (document.get("config") or {}).items() if filled(value)}
    for key in ("Image", "Hostname"):  # the classic builder's containers
        config.pop(key, None)
    history = document.get("history") or []
    said = [{key: entry[key] for key in ("created_by", "empty_layer", "comment", "author") if filled(entry.get(key))}
            for entry in history]
    diffs = document["rootfs"]["diff_ids"]
    if len(diffs) != len(manifest["layers"]):
        raise SystemExit("layers of the manifest and of the configuration differ in number")
    if classic:
        said = None
        config.pop("ArgsEscaped", None)  # BuildKit says it of every CMD
    elif len(diffs) != sum(1 for entry in history if not entry.get("empty_layer")):
        raise SystemExit("layers and the history's lines that made one differ in number")
    return {"architecture": document.get("architecture"), "os": document.get("os"), "author": document.get("author"),
            "variant": document.get("variant"), "config": config, "history": said,
            "layers": None if classic else len(diffs)}


def main():
    folder, name, out, cache, start = sys.argv[1:6]
    storage = Storage(folder)
    manifest = storage.document(storage.digest(name))
    if "manifests" in manifest:
        manifest = storage.document(manifest["manifests"][0]["digest"])
    document = storage.document(manifest["config"]["digest"])
    with open(out + ".config", "w") as file:
        json.dump(configuration(document, manifest, "--classic" in sys.argv), file, indent=1, sort_keys=True)
        file.write("\n")
    tree = {}
    for each in manifest["layers"]:
        apply(tree, layer(storage, cache, each["digest"]))
    with open(out + ".tree", "w", errors="backslashreplace") as file:
        file.writelines(line + "\n" for line in lines(tree, int(start)))


main()
