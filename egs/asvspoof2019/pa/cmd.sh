# shellcheck shell=bash
# How the stages' jobs are run. Each is called as `$train_cmd [options] JOB=1:N log/x.JOB.log command ...`. On a Slurm
# cluster (docs/cluster.md; conf/slurm.conf maps the options):
#   train_cmd="utils/slurm.sh --mem 2G"
#   cuda_cmd="utils/slurm.sh --mem 8G --time 12:00:00 --max-retries 2"
# Kaldi's own run.pl, queue.pl and slurm.pl work in their place too, such as train_cmd="queue.pl --mem 4G".
export train_cmd="utils/run.sh"   # jobs on a CPU: features, scores
export cuda_cmd="utils/run.sh"    # training and scoring, on GPUs with --ngpu
