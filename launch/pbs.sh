#!/bin/bash
# Training on PBS:  qsub -v SCRIPT=train.py,ARGUMENTS="--epochs 10" launch/pbs.sh
# select: nodes; ncpus: cores a node; mpiprocs: ranks a node; ompthreads: threads a rank, which PBS puts into
# OMP_NUM_THREADS (left out, it puts ncpus there: too many by a factor of mpiprocs).  Add :ngpus=4 for GPUs.
#PBS -N distgrad
#PBS -l select=2:ncpus=32:mpiprocs=4:ompthreads=8
#PBS -l walltime=01:00:00
set -euo pipefail
cd "$PBS_O_WORKDIR"

# The environment that distgrad is installed in; by default the python on PATH.
PYTHON=${PYTHON:-python}

# PBS lists a node once for each of its ranks.
RANKS=$(wc -l < "$PBS_NODEFILE")
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

# ARGUMENTS is split into words on purpose: qsub -v hands over one string.
read -r -a WORDS <<< "${ARGUMENTS:-}"
# distgrad finds the mpirun of this Python's MPI; the node file goes with it, since not every MPI is built to read PBS.
exec "$PYTHON" -m distgrad run -n "$RANKS" --hostfile "$PBS_NODEFILE" "$SCRIPT" "${WORDS[@]}"
