#!/bin/bash
# Training on Slurm:  sbatch launch/slurm.sh train.py --epochs 10
# One rank a task, cores (and a GPU) for each.  Adapt the #SBATCH lines, or override them: sbatch --nodes=4 ...
#SBATCH --job-name=distgrad
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=01:00:00
#SBATCH --signal=B:USR1@120
##SBATCH --gpus-per-node=4
# (--signal: SIGUSR1 two minutes before the time is up, to this script, which by then is srun or mpirun: both hand it on
# to the ranks.  launch/train.py saves a checkpoint and ends with code 75; a script that does not handle SIGUSR1 is ended
# by it, and needs this line out.  The GPU line is off; a rank takes the GPU of its number on its node, so ask for as
# many GPUs a node as tasks.)
set -euo pipefail

# The environment that distgrad is installed in; by default the python on PATH.
PYTHON=${PYTHON:-python}

# BLAS threads: the cores that Slurm gave each rank.
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
export OPENBLAS_NUM_THREADS=$OMP_NUM_THREADS MKL_NUM_THREADS=$OMP_NUM_THREADS

# srun speaks PMIx (Open MPI; MPI_TYPE=pmix) or PMI-2 (MPICH, Intel MPI; MPI_TYPE=pmi2): `srun --mpi=list` tells which.
# Where it speaks neither, LAUNCH=mpirun uses the mpirun of this Python's MPI, which reads the allocation itself.
if [ "${LAUNCH:-srun}" = mpirun ]; then
    exec "$PYTHON" -m distgrad run -n "$SLURM_NTASKS" "$@"
fi
# Slurm 22.05 and later do not hand cpus-per-task on to srun by themselves.
exec srun --mpi="${MPI_TYPE:-pmix}" --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --kill-on-bad-exit=1 "$PYTHON" "$@"
