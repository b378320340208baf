# shellcheck shell=bash
# How the stages' jobs are run. Each is called as `$train_cmd [options] JOB=1:N log/x.JOB.log command ...`, so that
# Kaldi's own run.pl, queue.pl and slurm.pl work in the place of utils/run.sh, such as
#   train_cmd="queue.pl --mem 4G"
export train_cmd="utils/run.sh"   # jobs on a CPU: features, scores
export cuda_cmd="utils/run.sh"    # training, on a GPU with --ngpu 1
