"""Installs wheels from a directory without pip.

Arguments: requirements.txt, the directory of wheels, the target directory.
Only wheels without compiled code are taken; what they require must be there
as well. Ends with status 1 and a sentence if something is missing.

With a fourth argument "sure" it ends with status 3, before it writes anything,
unless pip would without any doubt do the same: it is then there to do it.
"""
import configparser
import email.parser
import os
import platform
import re
import shutil
import stat
import sys
import zipfile

requirements, wheelhouse, target = sys.argv[1:4]
sure = sys.argv[4:] == ["sure"]


def stop(sentence):
    if sure:
        sys.exit(3)
    sys.exit(sentence)


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def numbers(version):
    """A version of numbers alone as something to compare, else None."""
    if not re.fullmatch(r"\d+(\.\d+)*", version):
        return None
    parts = [int(n) for n in version.split(".")]
    while parts and parts[-1] == 0:
        parts.pop()
    return parts


def satisfies(version, specifiers):
    """Does the version satisfy all of the specifiers? None means: who knows."""
    have = numbers(version)
    for spec in filter(None, (s.strip() for s in specifiers.strip("() ").split(","))):
        m = re.fullmatch(r"(==|>=|<=|!=|<|>)\s*([0-9.]+)", spec)
        want = numbers(m[2]) if m else None
        if have is None or want is None:
            return True if spec.replace(" ", "") == "==" + version else None
        if not {"==": have == want, ">=": have >= want, "<=": have <= want, "!=": have != want, "<": have < want, ">": have > want}[m[1]]:
            return False
    return True


def parse(line):
    """Name and version specifiers of a requirement line, or None."""
    line = re.split(r"\s+#|\s--hash", line.strip())[0].strip()
    if not line or line.startswith("#"):
        return None
    if line.startswith("-") or line.endswith("\\"):
        stop(f'"{line}" of the requirements needs pip, and this Python has none')
    wheel = re.fullmatch(r"\S*?([^/\s]+)-([^-/\s]+)-[^-\s]+-none-any\.whl", line)
    if wheel:
        return normal(wheel[1]), "==" + wheel[2]
    requirement, _, marker = line.partition(";")
    if re.fullmatch(r"\s*extra\s*==.*", marker):
        return None  # of an extra nobody asked for
    m = re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^]]*\])?\s*(.*)", requirement.strip())
    if not m or sure and (marker or m[2]):
        stop(f'"{line}" of the requirements needs pip, and this Python has none')
    if marker and "python_version" in marker:
        return None  # for other versions of Python, most often
    return normal(m[1]), m[3]


wheels = {}
for name in sorted(os.listdir(wheelhouse)):
    m = re.fullmatch(r"([^-]+)-([^-]+)(?:-\d[^-]*)?-[^-]*py3[^-]*-none-any\.whl", name)
    if m:
        wheels.setdefault(normal(m[1]), {})[m[2]] = os.path.join(wheelhouse, name)
    elif sure:
        stop("a wheel with compiled code, or an archive")


def choose(name, specifiers):
    """The newest wheel that satisfies the specifiers."""
    fitting = {}
    for version, wheel in wheels.get(name, {}).items():
        fits = satisfies(version, specifiers)
        if sure and (fits is None or numbers(version) is None):
            stop("a version that only pip can compare")
        if fits or fits is None:
            fitting[version] = wheel
    if not fitting:
        stop(f"{name}{specifiers} is not among the wheels in {os.path.basename(wheelhouse)}, and this Python has no pip to fetch it")
    version = max(fitting, key=lambda v: (numbers(v) or [], v))
    return version, fitting[version]


def required_by(wheel):
    """The requirements a wheel states itself."""
    with zipfile.ZipFile(wheel) as z:
        for name in z.namelist():
            if name.endswith(".dist-info/METADATA"):
                metadata = email.parser.Parser().parsestr(z.read(name).decode())
                if sure and metadata.get("Requires-Python") and not satisfies(platform.python_version(), metadata["Requires-Python"]):
                    stop("a wheel for another Python")
                return metadata.get_all("Requires-Dist", [])
    return []


def script(text_of, name, module, function):
    path = os.path.join(target, "bin", name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text_of.format(python=sys.executable, module=module, name=function.split(".")[0], function=function))
    os.chmod(path, 0o755)


ENTRY = """#!{python}
import sys
from {module} import {name}
if __name__ == "__main__":
    sys.exit({function}())
"""


def install(wheel):
    """Unpacks a wheel."""
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
                        if not re.fullmatch(r"[\w.-]+", command) or not re.fullmatch(r"[\w.]+:[\w.]+", f"{module.strip()}:{function.strip()}"):
                            sys.exit(f"{os.path.basename(wheel)} has an entry point nobody can run: {command}")
                        script(ENTRY, command, module.strip(), function.strip())


with open(requirements, encoding="utf-8-sig") as f:
    queue = [r for r in map(parse, f) if r]
chosen = {}
while queue:
    name, specifiers = queue.pop(0)
    if name in chosen:
        if sure and not satisfies(chosen[name][0], specifiers):
            stop("two requirements that do not agree")
        continue
    chosen[name] = choose(name, specifiers)
    try:
        queue += [r for r in map(parse, required_by(chosen[name][1])) if r]
    except zipfile.BadZipFile as e:
        stop(f"{os.path.basename(chosen[name][1])} is not a wheel: {e}")
for name, (version, wheel) in chosen.items():
    print(f"{name} {version}")
    install(wheel)
