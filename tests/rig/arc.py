"""A machine of Azure Arc: where its agent's key files are, without touching those of this host.

The daemon takes key files from one directory only, and there is no switch for another. So a program
that is to find them there is run in a mount namespace of its own, which needs root.
"""

import os
import pathlib

KEY_DIRECTORY = pathlib.Path("/var/opt/azcmagent/tokens")

# Nothing is mounted outside of the namespace, and all of it goes with the program.
MOUNT = f"""
mount -t tmpfs -o mode=0755 tmpfs /var/opt
mkdir -p {KEY_DIRECTORY}
mount --bind "$0" {KEY_DIRECTORY}
exec "$@"
"""


def can_be_arc():
    return os.geteuid() == 0


def arc_machine(directory):
    """What to run a program by, so that it finds that directory in the place of the agent's."""
    inside = ["sh", "-ec", MOUNT, str(directory)]
    return ["unshare", "--mount", "--propagation", "private", *inside]
