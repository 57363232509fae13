"""Ways to reduce a bucket of gradients, for ``DistributedDataParallel.register_comm_hook``.

A hook is ``hook(state, bucket)``: it starts what brings the bucket's mean over the ranks and returns its promise.
"""

from __future__ import annotations
