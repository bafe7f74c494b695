"""Installs wheels from a directory where there is no pip.

Arguments: requirements.txt, the directory of wheels, the target directory.
Only wheels without compiled code are taken; what they require must be there
as well. Ends with status 1 and a sentence if something is missing.
"""
import configparser
import email.parser
import os
import re
import shutil
import stat
import sys
import zipfile

requirements, wheelhouse, target = sys.argv[1:4]


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def parse(line):
    """Name and exact version (or None) of a requirement line, or None."""
    line = re.split(r"\s+#|\s--hash", line.strip())[0].strip()
    if not line or line.startswith("#"):
        return None
    if line.startswith("-"):
        sys.exit(f'"{line}" of the requirements needs pip, and this Python has none')
    wheel = re.fullmatch(r"\S*?([^/\s]+)-([^-/\s]+)-[^-\s]+-none-any\.whl", line)
    if wheel:
        return normal(wheel[1]), wheel[2]
    m = re.match(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^]]*\])?\s*(?:==\s*([^\s;,]+))?", line)
    return (normal(m[1]), m[2]) if m else None


wheels = {}
for name in sorted(os.listdir(wheelhouse)):
    m = re.fullmatch(r"([^-]+)-([^-]+)(?:-\d[^-]*)?-[^-]*py3[^-]*-none-any\.whl", name)
    if m:
        wheels.setdefault(normal(m[1]), {})[m[2]] = os.path.join(wheelhouse, name)


def script(text_of, name, module, function):
    path = os.path.join(target, "bin", name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text_of.format(python=sys.executable, module=module, function=function))
    os.chmod(path, 0o755)


ENTRY = """#!{python}
import sys
from {module} import {function}
if __name__ == "__main__":
    sys.exit({function}())
"""


def install(wheel):
    """Unpacks a wheel and returns the requirements it states itself."""
    wanted = []
    with zipfile.ZipFile(wheel) as z:
        for info in z.infolist():
            parts = info.filename.split("/")
            if info.is_dir():
                continue
            if ".." in parts or info.filename.startswith("/"):
                sys.exit(f"{os.path.basename(wheel)} holds a path that leaves the target: {info.filename}")
            executable = False
            if parts[0].endswith(".data") and len(parts) > 2:
                kind, parts = parts[1], parts[2:]
                if kind == "scripts":
                    parts, executable = ["bin"] + parts, True
                elif kind not in ("purelib", "platlib"):
                    continue
            path = os.path.join(target, *parts)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with z.open(info) as src, open(path, "wb") as dst:
                if executable:
                    first = src.readline()
                    dst.write(b"#!" + sys.executable.encode() + b"\n" if first.startswith(b"#!python") else first)
                shutil.copyfileobj(src, dst)
            if executable:
                os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
        for name in z.namelist():
            if name.endswith(".dist-info/entry_points.txt"):
                entries = configparser.ConfigParser(delimiters=("=",), interpolation=None)
                entries.optionxform = str
                entries.read_string(z.read(name).decode())
                if entries.has_section("console_scripts"):
                    for command, where in entries.items("console_scripts"):
                        module, _, function = where.split("[")[0].strip().partition(":")
                        script(ENTRY, command, module.strip(), function.strip())
            if name.endswith(".dist-info/METADATA"):
                metadata = email.parser.Parser().parsestr(z.read(name).decode())
                wanted = [r for r in metadata.get_all("Requires-Dist", []) if ";" not in r]
    return wanted


with open(requirements, encoding="utf-8-sig") as f:
    queue = [r for r in map(parse, f) if r]
done = set()
while queue:
    name, version = queue.pop(0)
    if name in done:
        continue
    done.add(name)
    have = wheels.get(name, {})
    if version is None and have:
        version = sorted(have)[-1]
    if version not in have:
        asked = name + ("==" + version if version else "")
        sys.exit(f"{asked} is not among the wheels in {os.path.basename(wheelhouse)}, and this Python has no pip to fetch it")
    print(f"{name} {version}")
    queue += [r for r in map(parse, install(have[version])) if r]
