#!/usr/bin/env bash
# One run for each row, with an agent-server of its own:
#
#   export LLM_MODEL=… LLM_API_KEY=…
#   sbatch --array=0-7 slurm.sh task.md rows.csv results
#   openhands-runner batch report results
#
# Submit it again to run only the rows that have not completed. `results` is a folder that all nodes share.
#SBATCH --job-name=openhands
#SBATCH --output=openhands-%A-%a.log
#SBATCH --cpus-per-task=1
# The runner gets SIGTERM two minutes before the time limit, and reports.
#SBATCH --time=01:00:00
#SBATCH --signal=B:TERM@120
set -euo pipefail

# Several rows may run on one node: each server needs a port of its own.
port=$((20000 + SLURM_JOB_ID % 40000))
workspace=$(mktemp -d)
export AGENT_SERVER_PORT=$port WORKSPACE_BASE=$workspace

exec openhands-runner run "$1" --rows "$2" --row auto --out "$3" --server-command "agent-server --port $port"
