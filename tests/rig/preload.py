"""Small libraries that are loaded into a program before its own, each built from a file beside this."""

import atexit
import functools
import pathlib
import shutil
import subprocess
import tempfile


@functools.lru_cache(maxsize=None)
def library(name):
    """The path of it, built once for each process of tests."""
    source = pathlib.Path(__file__).parent / f"{name}.c"
    directory = pathlib.Path(tempfile.mkdtemp(prefix="mrtokend-preload-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    built = directory / f"{name}.so"
    command = ["gcc", "-std=gnu11", "-O1", "-Wall", "-Werror", "-shared", "-fPIC"]
    subprocess.run([*command, "-o", built, source, "-ldl"], check=True)
    return str(built)
