"""Prints the requirements of an app that has no requirements.txt.

Knows Pipfile.lock and the [project] table of pyproject.toml.
"""
import json
import os
import sys

app = sys.argv[1]


def pipfile_lock(path):
    with open(path, encoding="utf-8") as f:
        for name, what in sorted(json.load(f).get("default", {}).items()):
            extras = "[%s]" % ",".join(what["extras"]) if what.get("extras") else ""
            marker = "; " + what["markers"] if what.get("markers") else ""
            yield name + extras + what.get("version", "") + marker


def pyproject(path):
    try:
        import tomllib
    except ImportError:
        sys.exit("pyproject.toml can be read by Python 3.11 and later; add a requirements.txt")
    with open(path, "rb") as f:
        yield from tomllib.load(f).get("project", {}).get("dependencies", [])


for name, read in (("Pipfile.lock", pipfile_lock), ("pyproject.toml", pyproject)):
    path = os.path.join(app, name)
    if os.path.isfile(path):
        for line in read(path):
            print(line)
        break
