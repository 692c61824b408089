"""A name server that does not answer: only the accounts behind it wait."""

import subprocess

import pytest

from rig.daemon import account_section

OTHER_ID = "7f1c3c5e-0000-4000-8000-0000000000ff"

# getaddrinfo() that never comes back for one host, as with a name server that drops everything.
RESOLVER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
	struct addrinfo **result)
{
	int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
		dlsym(RTLD_NEXT, "getaddrinfo");
	while (node != NULL && strcmp(node, "slow.invalid") == 0)
		pause();
	return next(node, service, hints, result);
}
"""


@pytest.fixture
def slow_resolver(tmp_path):
    source = tmp_path / "resolver.c"
    source.write_text(RESOLVER)
    library = tmp_path / "resolver.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


@pytest.mark.plain_build  # a preloaded library would have to come after the sanitizers' own
def test_a_name_that_does_not_resolve_holds_up_no_other_account(
    make_daemon, emulator, key_file, slow_resolver
):
    emulator.change_settings(token_lifetime_s=5)
    slow = account_section("slow", emulator, key_file, OTHER_ID, endpoint="https://slow.invalid")
    config = account_section("anchors", emulator, key_file) + slow[slow.index("[account") :]
    daemon = make_daemon(config, environment={"LD_PRELOAD": str(slow_resolver)}).start()
    # The time-out of the name, with its thread still in getaddrinfo().
    daemon.wait_for_log("account slow (")
    emulator.clear_requests()
    emulator.wait_for_requests(2)
    assert daemon.token()["token"]
    assert daemon.account("slow")["last_error"]["code"] == "timeout"
    # And neither a reload nor the end waits for it.
    daemon.reload()
    assert daemon.stop() == 0
