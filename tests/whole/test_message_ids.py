"""The events that deserve an alert: what the code, the catalogue and the manual say is the same."""

import pathlib
import re
import shutil
import subprocess

import pytest

TREE = pathlib.Path(__file__).parent.parent.parent
CATALOG = TREE / "systemd" / "mrtokend.catalog"
ID = re.compile(r"\b[0-9a-f]{32}\b")


def defined():
    """{name: id} of the header."""
    header = (TREE / "src" / "base" / "message_id.h").read_text()
    found = re.findall(r'^#define (MESSAGE_\w+)\s+"(\S+)"$', header, re.MULTILINE)
    assert len(found) == header.count("#define MESSAGE_")
    return dict(found)


def entries():
    """{id: {key: value, "text": ...}} of the catalogue."""
    found = {}
    for entry in re.split(r"^-- ", CATALOG.read_text(), flags=re.MULTILINE)[1:]:
        head, _, text = entry.partition("\n\n")
        number, *lines = head.splitlines()
        assert number not in found, f"{number} is there twice"
        found[number] = dict(line.split(": ", 1) for line in lines) | {"text": text.strip()}
    return found


def test_ids_are_unlike_each_other_and_of_128_bits():
    ids = list(defined().values())
    assert len(ids) >= 10
    assert len(set(ids)) == len(ids)
    assert all(ID.fullmatch(number) for number in ids), ids


def test_every_id_is_in_the_catalogue_and_the_reverse():
    assert sorted(entries()) == sorted(defined().values())


def test_every_id_is_in_the_manual_and_the_reverse():
    manual = (TREE / "man" / "mrtokend.8").read_text()
    table = re.findall(r"^\.It ([0-9a-f]{32}) Ta ", manual, re.MULTILINE)
    assert sorted(table) == sorted(defined().values())
    assert set(ID.findall(manual)) == set(table)


def test_every_id_is_used_in_the_code():
    code = "".join(
        path.read_text() for path in (TREE / "src").rglob("*.c") if "emulator" not in path.parts
    )
    unused = [name for name in defined() if not re.search(rf"\b{name}\b", code)]
    assert unused == []
    assert ID.findall(code) == [], "an id stands in the code and not in base/message_id.h"


@pytest.mark.parametrize("number", sorted(entries()))
def test_an_entry_says_all_that_the_journal_shows(number):
    entry = entries()[number]
    assert set(entry) == {"Subject", "Defined-By", "Support", "Documentation", "text"}
    assert entry["Defined-By"] == "mrtokend"
    assert entry["text"]
    # What is put in is a field that the event has.
    fields = set(re.findall(r"@(\w+)@", entry["Subject"] + entry["text"]))
    assert fields <= {"ACCOUNT", "ERROR_CODE", "KEY", "THREAD", "UPSTREAM"}


@pytest.mark.skipif(not shutil.which("journalctl"), reason="needs journalctl")
def test_journalctl_takes_the_catalogue(tmp_path):
    place = tmp_path / "usr" / "lib" / "systemd" / "catalog"
    place.mkdir(parents=True)
    shutil.copy(CATALOG, place)
    (tmp_path / "var" / "lib" / "systemd" / "catalog").mkdir(parents=True)
    done = subprocess.run(
        ["journalctl", f"--root={tmp_path}", "--update-catalog"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    shown = subprocess.run(
        ["journalctl", f"--root={tmp_path}", "--list-catalog"], capture_output=True, text=True
    )
    listed = {}
    for line in shown.stdout.splitlines():
        number, _, rest = line.partition(" mrtokend: ")
        listed[number] = rest
    assert listed == {number: entry["Subject"] for number, entry in entries().items()}
