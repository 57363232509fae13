"""The communicator over MPI.  Its modules import mpi4py when it is used, not before."""

from __future__ import annotations

from distgrad_communicators.mpi.communicator import MPICommunicator, distgrad_communicators

__all__ = ["MPICommunicator", "distgrad_communicators"]
