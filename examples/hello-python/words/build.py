"""Builds ../vendor/hello_words-1.0.0-py3-none-any.whl, the same bytes each time.

A pure wheel is a zip with three small files of metadata; this needs nothing
but Python itself.
"""
import base64
import hashlib
import os
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
NAME, VERSION = "hello_words", "1.0.0"
INFO = f"{NAME}-{VERSION}.dist-info"

with open(os.path.join(HERE, NAME, "__init__.py"), "rb") as f:
    files = {f"{NAME}/__init__.py": f.read()}
files[f"{INFO}/METADATA"] = f"Metadata-Version: 2.1\nName: hello-words\nVersion: {VERSION}\n".encode()
files[f"{INFO}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: build.py\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
record = "".join(
    f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n"
    for name, data in files.items()
)
files[f"{INFO}/RECORD"] = (record + f"{INFO}/RECORD,,\n").encode()

target = os.path.join(HERE, "..", "vendor", f"{NAME}-{VERSION}-py3-none-any.whl")
os.makedirs(os.path.dirname(target), exist_ok=True)
with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as z:
    for name, data in files.items():
        entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.external_attr = 0o100644 << 16
        z.writestr(entry, data)
