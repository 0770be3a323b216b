#!/bin/bash
#SBATCH --job-name=sharedenv-20261130-125459
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@60
#SBATCH --chdir=@PROJECT@/.sharedenv/runs/20261130-125459/slurm/1
#SBATCH --output=%A_%a.out
#SBATCH --array=1-2
#SBATCH --dependency=afterok:4711
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --time=10
#SBATCH --comment=x

cd -- @PROJECT@ || exit
exec @PYTHON@ -EP -c 'import sys; sys.path.append(sys.argv.pop(1)); from sharedenv.cli.task import main; sys.exit(main())' @PACKAGES@ @PROJECT@/.sharedenv/runs/20261130-125459 1
