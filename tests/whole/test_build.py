"""What the build promises: hardened programs, and a clear word about what is missing."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

from rig.daemon import binary

TREE = pathlib.Path(__file__).parents[2]
PACKAGES = {
    "libmicrohttpd": "libmicrohttpd-dev",
    "libcurl": "libcurl4-openssl-dev",
    "json-c": "libjson-c-dev",
    "libsystemd": "libsystemd-dev",
    "inih": "libinih-dev",
    "libcrypto": "libssl-dev",
    "libssl": "libssl-dev",
    "check": "check",
}


def output(*command, **options):
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options
    ).stdout


@pytest.mark.parametrize("library", PACKAGES)
def test_configure_names_the_debian_package_of_a_missing_library(library, tmp_path):
    # A pkg-config that knows everything but this one.
    described = tmp_path / "pkgconfig"
    described.mkdir()
    for directory in output("pkg-config", "--variable", "pc_path", "pkg-config").strip().split(":"):
        for file in pathlib.Path(directory).glob("*.pc"):
            if file.stem != library:
                shutil.copy(file, described)
    environment = {**os.environ, "PKG_CONFIG_LIBDIR": str(described)}
    printed = output(TREE / "configure", cwd=tmp_path, env=environment)
    assert re.search(f"{library} .*is missing or too old: apt-get install {PACKAGES[library]}$",
                     printed, re.MULTILINE), printed


@pytest.mark.plain_build
@pytest.mark.parametrize("name", ["mrtokend", "mrtoken", "mrtoken-emulator"])
class TestHardening:
    def test_is_position_independent_and_bound_before_it_runs(self, name):
        assert "DYN (Position-Independent Executable file)" in output("readelf", "-hW", binary(name))
        dynamic = output("readelf", "-dW", binary(name))
        assert "BIND_NOW" in dynamic
        assert "NOW PIE" in dynamic

    def test_has_a_read_only_relocation_table_and_no_executable_stack(self, name):
        segments = output("readelf", "-lW", binary(name))
        assert "GNU_RELRO" in segments
        stack = next(line for line in segments.splitlines() if "GNU_STACK" in line)
        assert " RW " in stack

    def test_is_fortified_and_guards_its_stack(self, name):
        symbols = output("nm", "-D", binary(name))
        assert "__stack_chk_fail" in symbols
        assert re.search(r"__\w+_chk@", symbols)

    @pytest.mark.skipif(os.uname().machine != "x86_64", reason="only x86-64 has CET")
    def test_marks_the_targets_of_indirect_branches(self, name):
        assert "endbr64" in output("objdump", "-d", "--disassemble=main", binary(name))
