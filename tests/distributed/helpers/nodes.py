"""Training as if each so many ranks were a node of their own: what they take for their node is told, not found."""

from __future__ import annotations

import os
import sys
import warnings

from training import run_all  # beside this file, which runs as a script

from distgrad import registry

if __name__ == "__main__":
    warnings.simplefilter("ignore", RuntimeWarning)  # more ranks than cores
    rank = int(os.environ.get("OMPI_COMM_WORLD_RANK") or os.environ["PMI_RANK"])
    name = f"node{rank // int(sys.argv[1])}"
    registry.get("communicator", "shared").identity = staticmethod(lambda: name)
    lines = list(run_all(None if sys.argv[2] == "default" else sys.argv[2]))
    sys.stdout.write("".join(f"equal {line}\n" for line in lines))
