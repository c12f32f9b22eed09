#!/bin/bash
# Four nodes with four GPUs each: sbatch examples/cluster/slurm.sh lambda_grid --preset voc2012 ...
# The home folder must be one that all nodes see: it holds Ray's token.
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

export RAY_AUTH_MODE=token
ray get-auth-token --generate > /dev/null
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

# Ray starts on every node, the sweep on the first. The budget ends it cleanly half an hour before
# the job's time is up; the same job again goes on.
srun --nodes="$SLURM_NNODES" --ntasks="$SLURM_NNODES" \
  ray symmetric-run --address "$head:6379" --min-nodes "$SLURM_NNODES" -- \
  python "sweeps/$sweep.py" --address "$head:6379" --time-budget 84600 "$@"
