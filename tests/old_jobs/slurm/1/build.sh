#!/bin/bash
#SBATCH --job-name=sharedenv-build-20261130-125459
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@60
#SBATCH --chdir=@PROJECT@/.sharedenv/runs/20261130-125459/slurm/1
#SBATCH --output=build-%j.out
#SBATCH --time=10
#SBATCH --comment=x

cd -- @PROJECT@ || exit
exec @PYTHON@ -EP -c 'import sys; sys.path.append(sys.argv.pop(1)); from sharedenv.fast import main; sys.exit(main())' @PACKAGES@ --pool @PROJECT@/.sharedenv build --from-file @PROJECT@/.sharedenv/runs/20261130-125459/slurm/1/build.list -0
