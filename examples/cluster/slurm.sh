#!/bin/bash
# Four nodes with four GPUs each: sbatch examples/cluster/slurm.sh lambda_grid --preset voc2012 ...
# The home folder must be one that all nodes see: it holds Ray's token. ACTIVATE holds the line that
# finds Python and Ray, and is given to sbatch in its environment:
#   ACTIVATE='. /shared/venv/bin/activate' sbatch examples/cluster/slurm.sh ...
#   ACTIVATE='eval "$(conda shell.bash hook)"; conda activate pixelwise' sbatch ...
#SBATCH --job-name=pixelwise
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --gpus-per-node=4
#SBATCH --exclusive
#SBATCH --time=24:00:00
set -euo pipefail
cd "$SLURM_SUBMIT_DIR"
sweep=$1
shift

set +u # scripts of conda and of modules read variables that are not set
eval "${ACTIVATE:-}"
set -u
command -v ray > /dev/null || { echo "no ray on the PATH: set ACTIVATE as this script says" >&2; exit 2; }

export RAY_AUTH_MODE=token
ray get-auth-token --generate > /dev/null
nodes=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes%%$'\n'*}

# Ray starts on every node, the sweep on the first. The budget ends it cleanly half an hour before
# the job's time is up; the same job again goes on.
srun --nodes="$SLURM_NNODES" --ntasks="$SLURM_NNODES" \
  ray symmetric-run --address "$head:6379" --min-nodes "$SLURM_NNODES" -- \
  python "sweeps/$sweep.py" --address "$head:6379" --time-budget 84600 "$@"
