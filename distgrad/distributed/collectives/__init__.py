"""PyTorch's collectives on tensors and objects, and what carries them out."""

from __future__ import annotations

from distgrad.distributed.collectives.gather_scatter import (
    all_gather,
    all_gather_into_tensor,
    all_to_all,
    all_to_all_single,
    gather,
    reduce_scatter,
    reduce_scatter_tensor,
    scatter,
)
from distgrad.distributed.collectives.in_place import (
    all_reduce,
    barrier,
    broadcast,
    monitored_barrier,
    raw,
    reduce,
    run,
)
from distgrad.distributed.collectives.object_codec import decode, encode
from distgrad.distributed.collectives.objects import (
    all_gather_object,
    broadcast_object_list,
    gather_object,
    recv_object_list,
    scatter_object_list,
    send_object_list,
)
from distgrad.distributed.collectives.point_to_point import (
    P2POp,
    batch_isend_irecv,
    irecv,
    isend,
    receive_from_any,
    recv,
    send,
)
from distgrad.distributed.collectives.work import (
    Work,
    broadcast_array,
    gather_array,
    incoming,
    outgoing,
    start_all_reduce,
    transferable,
)

__all__ = [
    "P2POp",
    "Work",
    "all_gather",
    "all_gather_into_tensor",
    "all_gather_object",
    "all_reduce",
    "all_to_all",
    "all_to_all_single",
    "barrier",
    "batch_isend_irecv",
    "broadcast",
    "broadcast_array",
    "broadcast_object_list",
    "decode",
    "encode",
    "gather",
    "gather_array",
    "gather_object",
    "incoming",
    "irecv",
    "isend",
    "monitored_barrier",
    "outgoing",
    "raw",
    "receive_from_any",
    "recv",
    "recv_object_list",
    "reduce",
    "reduce_scatter",
    "reduce_scatter_tensor",
    "run",
    "scatter",
    "scatter_object_list",
    "send",
    "send_object_list",
    "start_all_reduce",
    "transferable",
]
