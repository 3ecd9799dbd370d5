#!/bin/bash
# One node's share of a run on several; start it on each of them with the same words:
#
#     NODES=2 GPUS=8 HEAD=node0:29500 docs/torchrun.sh image.train \
#         --config configs/image/world_gpu.yaml --out runs/image
#
# HEAD is the first node's name and a free port there. One node alone needs neither NODES nor HEAD.
set -eu

exec "${PYTHON:-python}" -m torch.distributed.run --nnodes "${NODES:-1}" \
    --nproc-per-node "${GPUS:-8}" --rdzv-id unison --rdzv-backend c10d \
    --rdzv-endpoint "${HEAD:-localhost:29500}" \
    -m "$@" --trainer.num_nodes "${NODES:-1}" --trainer.devices "${GPUS:-8}"
